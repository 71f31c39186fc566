"""Few lines of what comes and goes, and the right times of what hung."""

from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.outage import SETTLED_SECONDS, Outage
from riskline.shared.store.connect.connection import redis_faults_named


class Watched:
    """An outage with a clock of its own, and what it said."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.outage = Outage(get_logger(__name__), failing="away", back="back", clock=lambda: self.now)
        self.lines: list[Any] = []

    def after(self, seconds: float, *, works: bool, problem: object = "refused") -> None:
        self.now += seconds
        with capture_logs() as lines:
            if works:
                self.outage.over()
            else:
                self.outage.failed(problem)
        self.lines += lines

    @property
    def said(self) -> list[tuple[Any, ...]]:
        return [(line["event"], line.get("lasted_seconds"), line.get("times")) for line in self.lines]


def test_connections_that_flap_are_four_lines_however_often() -> None:
    watched = Watched()

    for _ in range(60):
        watched.after(0.1, works=False)
        watched.after(0.1, works=True)
    for _ in range(12):
        watched.after(1, works=True)

    assert watched.said == [("away", None, None), ("back", 0.1, None), ("away", None, None), ("back", 11.7, 59)]


def test_an_outage_that_follows_on_another_and_stays_is_told_at_once_and_its_end_once_it_has_settled() -> None:
    watched = Watched()
    for seconds, works in ((1, False), (1, True), (1, False), (30, False), (1, True), (1, True)):
        watched.after(seconds, works=works)
    assert [line["event"] for line in watched.lines] == ["away", "back", "away"]

    watched.after(SETTLED_SECONDS, works=True)

    assert watched.said[-1] == ("back", 31.0, None)
    watched.after(SETTLED_SECONDS, works=False)
    watched.after(1, works=True)
    assert [line["event"] for line in watched.lines[4:]] == ["away", "back"]


def test_whether_it_fails_now_is_known_whatever_was_said() -> None:
    watched = Watched()
    for works in (False, True, False, True, False):
        watched.after(0.1, works=works)
        assert watched.outage.lasts is not works


def test_what_hung_has_failed_since_its_call_began() -> None:
    watched = Watched()
    hung = StoreUnavailableError("Redis: Timeout reading from socket")
    hung.began = watched.now

    watched.after(20, works=False, problem=hung)
    watched.after(4, works=True)

    assert watched.lines[0]["failing_for_seconds"] == 20.0
    assert watched.said[1] == ("back", 24.0, None)


def test_a_fault_of_redis_knows_when_its_call_began(monkeypatch: pytest.MonkeyPatch) -> None:
    # the module's own name alone: threads of other tests ask the time, too
    monkeypatch.setattr("riskline.shared.store.connect.connection.time", SimpleNamespace(monotonic=lambda: 5.0))

    with pytest.raises(StoreUnavailableError) as raised, redis_faults_named():
        raise OSError("gone")

    assert raised.value.began == 5.0
