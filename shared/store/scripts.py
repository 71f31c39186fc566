"""Lua scripts, called by their digest and sent only where Redis does not have them yet."""

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoScriptError

Arg = str | bytes | int


@cache
def _source(name: str) -> tuple[str, str]:
    source = files("shared.store").joinpath(f"{name}.lua").read_text(encoding="utf-8")
    return source, sha1(source.encode(), usedforsecurity=False).hexdigest()


def run(redis: Redis, name: str, keys: list[str], args: list[Arg]) -> Any:
    """Runs one script atomically."""
    source, digest = _source(name)
    try:
        return redis.evalsha(digest, len(keys), *keys, *args)
    except NoScriptError:
        return redis.eval(source, len(keys), *keys, *args)


async def run_async(redis: AsyncRedis, name: str, keys: list[str], args: list[Arg]) -> Any:
    """Runs one script atomically."""
    source, digest = _source(name)
    try:
        return await redis.evalsha(digest, len(keys), *keys, *args)
    except NoScriptError:
        return await redis.eval(source, len(keys), *keys, *args)
