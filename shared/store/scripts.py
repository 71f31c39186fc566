"""Lua scripts, called by their digest and sent where Redis does not have them yet; see `Keys.never`."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.client import Pipeline
from redis.exceptions import NoScriptError

from riskline.shared.store.connect.outcomes import also_noted
from riskline.shared.store.keys import Keys

Arg = str | bytes | int
Call = tuple[str, list[str], list[Arg]]
"""A script's name, its keys and its arguments."""


def _text(name: str) -> str:
    return files("riskline.shared.store").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


@cache
def source_of(name: str) -> tuple[str, str]:
    """A script and its digest."""
    source = _text(name)
    if "bump(" in source:
        source = _text("bump") + source
    return source, sha1(source.encode(), usedforsecurity=False).hexdigest()


@cache
def _never(key: str) -> str:
    """The `never` key of this key's shard."""
    return Keys(key[key.index("{") + 1 : key.index("}")]).never


def _words(keys: list[str], args: list[Arg]) -> tuple[Any, ...]:
    """The arguments of EVALSHA after the digest: the number of keys, the keys, the arguments."""
    return (len(keys) + 1, *keys, _never(keys[0]), *args)


def run(redis: Redis, name: str, keys: list[str], args: list[Arg]) -> Any:
    """Runs one script atomically."""
    source, digest = source_of(name)
    try:
        return redis.evalsha(digest, *_words(keys, args))
    except NoScriptError:
        return redis.eval(source, *_words(keys, args))


def run_all(pipeline: Pipeline, calls: Sequence[Call]) -> list[Any]:
    """Runs scripts behind whatever else is in the pipeline, which may fail, each atomically, in one round trip.

    Each must be safe to run once more: where Redis does not have it yet it runs again by itself.
    """
    for name, keys, args in calls:
        pipeline.evalsha(source_of(name)[1], *_words(keys, args))
    answers = pipeline.execute(raise_on_error=False)[-len(calls) :]
    if any(isinstance(answer, NoScriptError) for answer in answers):
        for name, _, _ in calls:
            pipeline.script_load(source_of(name)[0])
        pipeline.execute()
        return run_all(pipeline, calls)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def run_each_async(redis: AsyncRedis, calls: Sequence[Call]) -> list[Any]:
    """Runs scripts one after the other, each atomically, in one round trip and one write to disk; each just once."""
    async with redis.pipeline(transaction=False) as pipeline:
        for name, keys, args in calls:
            pipeline.evalsha(source_of(name)[1], *_words(keys, args))
        answers = await pipeline.execute(raise_on_error=False)
    for number, (call, answer) in enumerate(zip(calls, answers, strict=True)):
        if isinstance(answer, NoScriptError):
            answers[number] = await run_async(redis, *call)
        elif isinstance(answer, Exception):
            raise answer
    return answers


async def run_acknowledged_async(
    redis: AsyncRedis, call: Call, *, mark: str, replicas: int, seconds: float
) -> tuple[Any, int]:
    """Runs one script atomically; its answer, and how many replicas have what it wrote, which are waited for.

    WAIT asks for what its own connection wrote last. Where the script found all known it wrote nothing, and an attempt
    before wrote by another connection, so the mark is written behind it: a replica that has it has all before it.
    """
    name, keys, args = call
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.evalsha(source_of(name)[1], *_words(keys, args))
        pipeline.set(mark, 1)
        pipeline.wait(replicas, int(seconds * 1000))
        answer, _, acknowledged = await pipeline.execute(raise_on_error=False)
    if isinstance(answer, NoScriptError):
        await load_async(redis, name)
        return await run_acknowledged_async(redis, call, mark=mark, replicas=replicas, seconds=seconds)
    for each in (answer, acknowledged):
        if isinstance(each, Exception):
            raise each
    return answer, int(acknowledged)


async def load_async(redis: AsyncRedis, *names: str) -> None:
    """Gives Redis scripts before they are needed."""
    for name in names:
        await redis.script_load(source_of(name)[0])


async def run_async(redis: AsyncRedis, name: str, keys: list[str], args: list[Arg]) -> Any:
    """Runs one script atomically."""
    source, digest = source_of(name)
    try:
        return await redis.evalsha(digest, *_words(keys, args))
    except NoScriptError as missing:
        # an attempt before, at a server that had the script, may have run it
        with also_noted(missing):
            return await redis.eval(source, *_words(keys, args))
