"""Whether a call of Redis that failed may have been done is known, and said right."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from riskline.shared.errors import OutcomeUnknownError, StoreUnavailableError
from riskline.shared.store import scripts
from riskline.shared.store.connect.connection import connect_async, redis_faults_named
from riskline.shared.store.connect.outcomes import changed_nothing
from riskline.shared.store.keys import Keys

Answers = Callable[[bytes], bytes | None]
"""What a server answers a command; None closes the connection without an answer, and b"" never answers."""


@asynccontextmanager
async def server(answers: Answers) -> AsyncIterator[str]:
    """A Redis that answers as it is told to; gives its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int((await reader.readline())[1:])
                words.append((await reader.readexactly(length + 2))[:-2])
            answer = answers(words[0].upper())
            if answer is None:
                break
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0?protocol=2"


async def failure(url: str) -> StoreUnavailableError:
    redis = connect_async(url, timeout_seconds=0.3)
    try:
        with pytest.raises(StoreUnavailableError) as failed, redis_faults_named():
            await redis.set("a", "b")
    finally:
        await redis.aclose()
    return failed.value


def unless_set(answer: bytes | None) -> Answers:
    return lambda word: answer if word == b"SET" else b"+OK\r\n"


@pytest.mark.parametrize("answer", [b"", None])
async def test_a_command_that_was_sent_and_not_answered_may_have_been_done(answer: bytes | None) -> None:
    async with server(unless_set(answer)) as url:
        assert isinstance(await failure(url), OutcomeUnknownError)


@pytest.mark.parametrize(
    "refusal",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "READONLY You can't write against a read only replica.",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Errors writing to the AOF file",
        "LOADING Redis is loading the dataset in memory",
        "CLUSTERDOWN The cluster is down",
        "MOVED 3999 127.0.0.1:6381",
        "ERR Error running script (call to f_1): @user_script:16: -OOM command not allowed",
    ],
)
async def test_a_command_that_redis_refuses_was_not_done(refusal: str) -> None:
    async with server(unless_set(f"-{refusal}\r\n".encode())) as url:
        assert not isinstance(await failure(url), OutcomeUnknownError)


async def test_a_script_that_failed_in_its_midst_may_have_written() -> None:
    async with server(unless_set(b"-WRONGTYPE Operation against a key\r\n")) as url:
        assert isinstance(await failure(url), OutcomeUnknownError)


async def test_a_command_for_which_there_was_no_connection_was_not_done() -> None:
    async with server(unless_set(b"")) as url:
        pass

    assert not isinstance(await failure(url), OutcomeUnknownError)


async def test_a_command_whose_connection_was_never_made_ready_was_not_done() -> None:
    async with server(lambda _: b"") as url:
        assert not isinstance(await failure(url), OutcomeUnknownError)


async def test_a_refusal_after_an_attempt_without_an_answer_does_not_say_that_nothing_was_done() -> None:
    attempts = iter([None, b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"])
    async with server(lambda word: next(attempts) if word == b"SET" else b"+OK\r\n") as url:
        assert isinstance(await failure(url), OutcomeUnknownError)


async def test_a_script_that_one_server_may_have_run_and_the_next_has_not_may_have_been_run() -> None:
    """As at a failover: the new master has no scripts."""
    attempts = iter([None, b"-NOSCRIPT No matching script.\r\n"])
    answers = {b"EVALSHA": lambda: next(attempts), b"EVAL": lambda: b"-READONLY You can't write against a replica.\r\n"}
    async with server(lambda word: answers.get(word, lambda: b"+OK\r\n")()) as url:
        redis = connect_async(url, timeout_seconds=0.3)
        with pytest.raises(OutcomeUnknownError), redis_faults_named():
            await scripts.run_async(redis, "accept", [Keys().undecided], [])
        await redis.aclose()


def test_a_refusal_for_which_a_connection_was_left_is_one() -> None:
    error = RedisConnectionError("not the master: READONLY")
    error.__cause__ = ResponseError("READONLY You can't write against a read only replica.")

    assert changed_nothing(error)
    assert not changed_nothing(RedisConnectionError("Connection closed by server."))
