"""What runs beside the requests ends when the server does."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from structlog.testing import capture_logs

from riskline.ingest import lifespan
from riskline.ingest.lifespan import Background, end
from riskline.shared.errors import StoreUnavailableError
from tests.integration.running import PATIENCE_SECONDS


async def test_a_task_that_misses_its_cancellation_is_cancelled_again() -> None:
    missed = 0

    async def misses() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                # as a client does whose answer came at the same moment
                if missed == 2:
                    raise
                missed += 1

    tasks = [asyncio.create_task(misses()), asyncio.create_task(asyncio.sleep(10))]
    await asyncio.sleep(0)

    async with asyncio.timeout(PATIENCE_SECONDS):
        await end(tasks)

    assert missed == 2
    assert all(task.cancelled() for task in tasks)


async def test_decisions_are_recorded_while_a_commit_waits_for_a_shard_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifespan, "FINISH_SECONDS", 0.05)
    recorder, fleet, history, close = AsyncMock(), AsyncMock(), AsyncMock(), AsyncMock()
    others: dict[str, Any] = {
        name: Mock()
        for name in (
            "serving",
            "waiting",
            "feed",
            "backlog",
            "scaling",
            "gate",
            "limiter",
            "watch",
            "store_watch",
            "subscriber",
        )
    }

    def background(commit: Any) -> Background:
        submitter: Any = Mock(close=commit)
        beside = {"recorder": recorder, "strict": None, "fleet": fleet, "history": history, "warm": (), "close": close}
        return Background(submitter=submitter, **beside, **others)

    await background(lambda: asyncio.sleep(10)).process_shutdown({}, {})
    assert (recorder.flush.await_count, close.await_count) == (1, 1)

    await background(AsyncMock(side_effect=StoreUnavailableError("Redis: away"))).process_shutdown({}, {})
    assert (recorder.flush.await_count, close.await_count) == (2, 2)
    assert fleet.leave.await_count == 0

    await background(AsyncMock(return_value=None)).process_shutdown({}, {})
    assert fleet.leave.await_count == 1
    # what was answered since the last second is in the figures all the same
    assert history.tell.await_count == 3


@pytest.mark.parametrize(("pending", "level"), [(7, "error"), (0, "warning")])
async def test_what_a_process_takes_with_it_is_said_as_it_is(pending: int, level: str) -> None:
    """It once said that recordings were lost, 0 of them, where only the figures of the last second were."""
    names = (
        "serving",
        "waiting",
        "feed",
        "backlog",
        "scaling",
        "gate",
        "limiter",
        "watch",
        "store_watch",
        "subscriber",
    )
    away = AsyncMock(side_effect=StoreUnavailableError("Redis: away"))
    background = Background(
        submitter=AsyncMock(),
        recorder=Mock(flush=away if pending else AsyncMock(), pending=pending),
        strict=None,
        fleet=AsyncMock(),
        history=Mock(tell=AsyncMock() if pending else away),
        warm=(),
        close=AsyncMock(),
        **{name: Mock() for name in names},
    )

    with capture_logs() as logs:
        await background.process_shutdown({}, {})

    assert [each["log_level"] for each in logs] == [level]
    assert logs[0].get("lost", 0) == pending
