"""Sentences about a Redis that cannot be used."""

import re

from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError


def without_redis(url: str, error: BaseException | None, *, variable: str = "REDIS_URL") -> str:
    """The reason why the Redis at a URL cannot be used, and the remedy; the URL has no password."""
    if isinstance(error, AuthenticationError) or "NOAUTH" in str(error) or "HELLO must be called" in str(error):
        return f"Redis at {url} wants another user or password: correct {variable}"
    if isinstance(error, ResponseError):
        return f"Redis at {url} refuses us ({error}): correct {variable}"
    if isinstance(error, RedisTimeoutError):
        return f"Redis does not answer in time at {url} ({error}): see whether it hangs, or correct {variable}"
    return f"no Redis answers at {url} ({error}): start it, or correct {variable}"


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    # by hand: several hosts, or a / in a password that should have been encoded, are beyond urlsplit
    url = re.sub(r"(?<=://)([^:@/]*):.*@", r"\1:***@", url)
    return re.sub(r"(?<=[?&])(\w*password)=[^&]*", r"\1=***", url)
