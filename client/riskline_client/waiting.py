"""Operations of several calls as generators: the sync or async client sends each call and returns its answer."""

from collections.abc import Generator
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from riskline_client import protocol
from riskline_client.answers import State
from riskline_client.errors import StillQueued
from riskline_client.protocol import Call
from riskline_client.retrying import Deadline

T = TypeVar("T")

NO_PLACE_SECONDS = 1.0
"""The pause where the service has no place for one more waiting call: its `Retry-After` then."""

LAST_ANSWER_SECONDS = 1.0
"""Beyond the time given, for the answer that it is over to arrive."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds in which nothing is sent."""

    seconds: float


Steps = Generator[Call[Any] | Pause, Any, T]


def until_decided(transaction_id: str, *, timeout: float) -> Steps[State]:
    """Asks, each time with the longest wait, until the transaction is decided or has failed.

    Raises:
        StillQueued: it is not in time.
    """
    deadline = Deadline(timeout)
    while True:
        wait = min(deadline.left, protocol.LONGEST_WAIT_SECONDS)
        started = monotonic()
        beside = max(deadline.left - wait, LAST_ANSWER_SECONDS)
        state: State = yield protocol.get(transaction_id, wait=wait, timeout=beside, request_id=None, persistent=True)
        if not state.is_queued:
            return state
        if not deadline.left:
            break
        if monotonic() - started < wait / 2:
            yield Pause(min(NO_PLACE_SECONDS, deadline.left))
    raise StillQueued(
        f"{transaction_id} is not decided after {timeout:g} s; it is safe in the queue: wait for it again", state=state
    )
