"""What runs beside the requests ends when the server does."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from structlog.testing import capture_logs

from riskline.ingest import lifespan
from riskline.ingest.lifespan import Lifespan, end
from riskline.shared.errors import HistoryUnavailableError, StoreUnavailableError
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

    def background(commit: Any) -> Lifespan:
        services: Any = Mock(
            submitter=Mock(close=commit),
            recorder=recorder,
            strict=None,
            observer=None,
            processes=fleet,
            recent_counts=history,
            close=close,
        )
        return Lifespan(services, ())

    await background(lambda: asyncio.sleep(10)).process_shutdown({}, {})
    assert (recorder.flush.await_count, close.await_count) == (1, 1)

    await background(AsyncMock(side_effect=StoreUnavailableError("Redis: away"))).process_shutdown({}, {})
    assert (recorder.flush.await_count, close.await_count) == (2, 2)
    assert fleet.leave.await_count == 0

    await background(AsyncMock(return_value=None)).process_shutdown({}, {})
    assert fleet.leave.await_count == 1
    # what was answered since the last second is in the figures all the same
    assert history.add_own_counts.await_count == 3


@pytest.mark.parametrize(("pending", "level"), [(7, "error"), (0, "warning")])
async def test_what_a_process_takes_with_it_is_said_as_it_is(pending: int, level: str) -> None:
    """It once said that recordings were lost, 0 of them, where only the figures of the last second were."""
    away = AsyncMock(side_effect=StoreUnavailableError("Redis: away"))
    services: Any = Mock(
        submitter=AsyncMock(),
        recorder=Mock(flush=away if pending else AsyncMock(), pending=pending),
        strict=None,
        observer=None,
        processes=AsyncMock(),
        recent_counts=Mock(add_own_counts=AsyncMock() if pending else away),
        close=AsyncMock(),
    )

    with capture_logs() as logs:
        await Lifespan(services, ()).process_shutdown({}, {})

    assert [each["log_level"] for each in logs] == [level]
    assert logs[0].get("lost", 0) == pending


async def test_each_thing_that_is_listed_runs_from_the_servers_start_to_its_end() -> None:
    class Thing:
        state = "new"

        async def run(self) -> None:
            self.state = "runs"
            try:
                await asyncio.Event().wait()
            finally:
                self.state = "ended"

    things = [Thing(), Thing(), Thing()]
    background = Lifespan(AsyncMock(strict=None, serving=Mock()), things)

    await background.process_startup({}, {})
    await asyncio.sleep(0)
    assert [each.state for each in things] == ["runs"] * 3

    await background.process_shutdown({}, {})
    assert [each.state for each in things] == ["ended"] * 3


async def test_a_task_that_fails_is_logged_when_it_does() -> None:
    class Failing:
        async def run(self) -> None:
            raise ValueError("something unforeseen")

    background = Lifespan(AsyncMock(strict=None, serving=Mock()), [Failing()])

    with capture_logs() as logs:
        await background.process_startup({}, {})
        for _ in range(3):
            await asyncio.sleep(0)

    [told] = [each for each in logs if each["log_level"] == "error"]
    assert told["task"] == "Failing"
    assert str(told["exc_info"]) == "something unforeseen"
    await background.process_shutdown({}, {})


async def test_transactions_that_the_history_will_lack_are_counted_when_a_process_ends() -> None:
    away = AsyncMock(side_effect=HistoryUnavailableError("Redis: away"))
    services: Any = Mock(
        submitter=AsyncMock(),
        recorder=Mock(flush=AsyncMock(), pending=0),
        strict=None,
        observer=Mock(close=away, late=12),
        processes=AsyncMock(),
        recent_counts=AsyncMock(),
        close=AsyncMock(),
    )

    with capture_logs() as logs:
        await Lifespan(services, ()).process_shutdown({}, {})

    assert [(each["log_level"], each["lost"]) for each in logs] == [("error", 12)]


async def test_an_error_that_nobody_foresaw_hides_no_loss_and_leaves_no_connection_open() -> None:
    services: Any = Mock(
        submitter=AsyncMock(),
        recorder=Mock(flush=AsyncMock(side_effect=ValueError("something unforeseen")), pending=7),
        strict=None,
        observer=None,
        recent_counts=AsyncMock(),
        close=AsyncMock(),
    )

    with capture_logs() as logs, pytest.raises(ValueError, match="unforeseen"):
        await Lifespan(services, ()).process_shutdown({}, {})

    assert [each["lost"] for each in logs] == [7]
    assert services.close.await_count == 1
