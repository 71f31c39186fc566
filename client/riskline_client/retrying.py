"""Retries: the errors that may pass, the waits, and the time that is left."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self, TypedDict

from tenacity import RetryCallState, retry_if_exception, stop_after_attempt, stop_never, wait_random_exponential
from tenacity.stop import stop_base

from riskline_client.errors import ConnectionFailed, ProblemError, RisklineError

PASSING = frozenset({429, 502, 503, 504})
"""Statuses that may pass: too many requests, Redis or the model away, a full queue, a proxy without a service."""

LEAST_ATTEMPT_SECONDS = 1.0
"""The least time of an attempt, which is half of the time left as a rule: less would end slow calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """The most attempts of a call, and the waits in between, in seconds.

    Waits are random, up to `first_wait` before the second attempt, up to twice as long before each further one, but
    never longer than `longest_wait` ("full jitter"), so that many clients don't come back at once. A `Retry-After` of
    the service is waited in any case, and such a wait after it. `on_retry` is called before each wait, with the error
    of the attempt and the seconds of the wait.
    """

    attempts: int = 4
    first_wait: float = 0.1
    longest_wait: float = 2.0
    on_retry: Callable[[RisklineError, float], None] | None = None


class Deadline:
    """The end of the time that something has, in seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, 0 where it is over."""
        return max(0.0, self._end - monotonic())


class Policy(TypedDict):
    """The arguments of `tenacity.Retrying` and `AsyncRetrying`."""

    retry: retry_if_exception
    wait: Callable[[RetryCallState], float]
    stop: Callable[[RetryCallState], bool]
    before_sleep: Callable[[RetryCallState], None]
    reraise: bool


def policy(retries: Retries, deadline: Deadline, *, persistent: bool) -> Policy:
    """Repeats a call after an error that may pass while there is time; a persistent call has no other limit.

    A persistent call that is told to come back after the end of its time does so once more before it: there may be
    room earlier than the service expects.
    """
    backoff = wait_random_exponential(multiplier=retries.first_wait, max=retries.longest_wait)
    enough: stop_base = stop_never if persistent else stop_after_attempt(retries.attempts)

    def wait(state: RetryCallState) -> float:
        asked = _asked_seconds(state) or 0.0
        last = deadline.left - LEAST_ATTEMPT_SECONDS
        return last if persistent and asked >= last > 0 else asked + backoff(state)

    def call_on_retry(state: RetryCallState) -> None:
        error = _error(state)
        if retries.on_retry is not None and isinstance(error, RisklineError):
            retries.on_retry(error, state.upcoming_sleep)

    return Policy(
        retry=retry_if_exception(_may_pass),
        wait=wait,
        stop=lambda state: enough(state) or state.upcoming_sleep >= deadline.left,
        before_sleep=call_on_retry,
        reraise=True,
    )


def attempt_seconds(deadline: Deadline, *, wait: float) -> float:
    """The seconds that one attempt may take: its own wait, and half of the time that is left beside it."""
    beside_wait = (deadline.left - wait) / 2
    return min(deadline.left, wait + max(beside_wait, LEAST_ATTEMPT_SECONDS))


class Left(float):
    """The seconds that are left of a deadline, with the deadline, for a step of several reads."""

    deadline: Deadline

    def __new__(cls, deadline: Deadline) -> Self:
        """The seconds that are left now."""
        # 0 would be a socket that does not wait at all, and fails otherwise than by a time-out
        seconds = super().__new__(cls, max(deadline.left, 0.001))
        seconds.deadline = deadline
        return seconds


class TimeLeft(dict[str, Any]):
    """The timeouts of one request, step by step as httpcore asks for them: the rest of the attempt's time.

    httpx has one for each of connecting, sending and reading, and together they would take longer.
    """

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def get(self, key: str, default: Any = None) -> Any:
        """The seconds for the step that begins now."""
        del key, default
        return Left(self._deadline)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, ConnectionFailed) or (isinstance(error, ProblemError) and error.status in PASSING)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _asked_seconds(state: RetryCallState) -> float | None:
    error = _error(state)
    return error.retry_after if isinstance(error, ProblemError) else None
