"""One question to servers, one after another, until one of them knows the answer: in a thread or on the event loop."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

LONGEST_WAIT_SECONDS = 0.5
"""The longest wait for a server's answer: the others can answer as well."""

Address = tuple[str, int]


class Question(NamedTuple):
    """The question for the address of a server that is in charge."""

    command: str
    servers: Iterable[Address]
    options: Mapping[str, Any]
    learn: Callable[[Address, Any], Address | str]
    """The address by the answer of a server, or why this one does not know it."""
    unanswered: Callable[[str], Exception]
    """The error where none knows it, from what each of them said."""


def ask(question: Question) -> Address:
    """The address that the first server that knows it names."""
    problems: list[str] = []
    for server in question.servers:
        host, port = server
        try:
            # not cached: connections are made seldom
            with Redis(host=host, port=port, retry=Retry(NoBackoff(), 0), **question.options) as redis:
                answer: Any = redis.execute_command(question.command)
        except (RedisError, OSError) as error:
            answer = error
        found = _heard(question, server, answer, problems)
        if found is not None:
            return found
    raise question.unanswered("; ".join(problems))


async def ask_async(question: Question) -> Address:
    """The same on the event loop."""
    problems: list[str] = []
    for server in question.servers:
        host, port = server
        try:
            async with AsyncRedis(host=host, port=port, retry=AsyncRetry(NoBackoff(), 0), **question.options) as redis:
                answer: Any = await redis.execute_command(question.command)  # type: ignore[no-untyped-call]  # redis-py has no types
        except (RedisError, OSError) as error:
            answer = error
        found = _heard(question, server, answer, problems)
        if found is not None:
            return found
    raise question.unanswered("; ".join(problems))


def _heard(question: Question, server: Address, answer: Any, problems: list[str]) -> Address | None:
    """The address by a server's answer or error; else adds why there is none to the problems."""
    found = str(answer) if isinstance(answer, Exception) else question.learn(server, answer)
    if not isinstance(found, str):
        return found
    problems.append(f"{address_text(server)}: {found}")
    return None


def address_text(address: Address) -> str:
    """The address in one word."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
