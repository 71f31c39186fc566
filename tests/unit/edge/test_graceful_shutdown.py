"""Told to stop, a process answers on for a while, ends each connection with its answer, and is unready."""

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import uvicorn

from riskline.ingest.edge.graceful_shutdown import GracefulShutdown
from tests.integration.running import PATIENCE_SECONDS
from tests.support.api import Api
from tests.support.factories import transaction_json
from tests.support.wire import request, serving

GOOD = orjson.dumps(transaction_json())
SCORE, QUEUE = request("/score-transaction", GOOD), request("/transactions", GOOD)
READY = request("/health/ready", b"", method="GET")


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "ordinary"])
@pytest.mark.parametrize(
    ("data", "status"),
    [(SCORE, 200), (QUEUE, 202), (request("/nowhere", GOOD), 404), (request("/score-transaction", b"{"), 400)],
    ids=["score", "queue", "unknown", "invalid"],
)
async def test_each_answer_ends_its_connection_and_an_idle_one_stays_open(fast: bool, data: bytes, status: int) -> None:
    api = Api()
    async with serving(api.app) as server:
        used, idle = server.connect(fast=fast), server.connect(fast=fast)
        before = await used.send(SCORE).answers()
        await idle.send(SCORE).answers()

        api.graceful_shutdown.begin()
        assert (used.transport.closed, idle.transport.closed) == (False, False)
        answers = await used.send(data).answers(2)
        [new] = await server.connect(fast=fast).send(SCORE).answers()

    assert "connection" not in before[0].headers
    assert (answers[1].status, answers[1].headers["connection"]) == (status, "close")
    assert used.transport.closed
    assert not idle.transport.closed
    assert (new.status, new.headers["connection"]) == (200, "close")


async def test_of_several_requests_behind_each_other_the_first_is_answered_and_the_others_are_the_next_ones() -> None:
    api = Api()
    async with serving(api.app) as server:
        wire = server.connect(fast=True)
        api.graceful_shutdown.begin()
        wire.send(SCORE + SCORE)
        [answer] = await wire.answers()
        while not wire.transport.closed:  # noqa: ASYNC110  # a transport wakes nobody
            await asyncio.sleep(0.001)

    assert answer.headers["connection"] == "close"
    assert wire.transport.written.count(b"HTTP/1.1 ") == 1


async def test_it_is_unready_and_alive() -> None:
    api = Api()
    async with serving(api.app) as server:
        api.graceful_shutdown.begin()
        [ready] = await server.connect(fast=True).send(READY).answers()
        [live] = await server.connect(fast=True).send(request("/health/live", b"", method="GET")).answers()

    body = orjson.loads(ready.body)
    assert (ready.status, live.status) == (503, 200)
    assert "process" in body["missing"]
    assert "told to stop" in body["checks"]["process"]


@pytest.fixture
def server() -> Iterator[uvicorn.Server]:
    """One that has taken the signals, as uvicorn does before the lifespan begins."""
    before = signal.getsignal(signal.SIGTERM)
    server = uvicorn.Server(uvicorn.Config(lambda: None, log_config=None))
    signal.signal(signal.SIGTERM, server.handle_exit)
    yield server
    signal.signal(signal.SIGTERM, before)


async def begun(departure: GracefulShutdown) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not departure.has_begun:  # noqa: ASYNC110  # nobody is told
            await asyncio.sleep(0.001)


async def test_the_server_is_told_when_the_time_is_over(server: uvicorn.Server) -> None:
    departure = GracefulShutdown(seconds=0.01)
    told: list[bool] = []
    departure.on_begin(lambda: told.append(server.should_exit))
    await departure.process_startup({}, {})

    os.kill(os.getpid(), signal.SIGTERM)
    await begun(departure)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not server.should_exit:  # noqa: ASYNC110  # nobody is told
            await asyncio.sleep(0.001)

    assert told == [False]


async def test_a_second_signal_stops_it_at_once(server: uvicorn.Server) -> None:
    departure = GracefulShutdown(seconds=1000)
    await departure.process_startup({}, {})

    os.kill(os.getpid(), signal.SIGTERM)
    await begun(departure)
    assert not server.should_exit
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0)

    assert server.should_exit


async def test_without_a_delay_the_signal_is_the_servers(server: uvicorn.Server) -> None:
    await GracefulShutdown(seconds=0).process_startup({}, {})

    assert signal.getsignal(signal.SIGTERM) == server.handle_exit


async def test_the_signal_of_another_server_stays_as_it_is() -> None:
    before: Any = signal.getsignal(signal.SIGTERM)
    await GracefulShutdown(seconds=5).process_startup({}, {})

    assert signal.getsignal(signal.SIGTERM) is before
