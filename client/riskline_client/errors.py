"""One tree of errors: refusals of the service, and failures of the connection."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from riskline_client.answers import State
from riskline_client.refusals import BatchResult, FieldProblem


class RisklineError(Exception):
    """Any error of this client; its text is one line that says what to do, and never has the API key.

    `submitted` is what became of the rows before, where `submit_many` was stopped by it; else None.
    """

    submitted: BatchResult | None = None


class ConnectionFailed(RisklineError):
    """The service cannot be reached, or the connection broke before its answer: it may have done what was asked."""

    def __init__(self, message: str, *, request_id: str) -> None:
        super().__init__(message)
        self.request_id = request_id


class TimedOut(ConnectionFailed, TimeoutError):
    """The answer did not come in the time that the call had."""


class UnexpectedAnswer(RisklineError):
    """An answer that is none of Riskline's: perhaps the URL leads to something else."""

    def __init__(self, message: str, *, request_id: str) -> None:
        super().__init__(message)
        self.request_id = request_id


class StillQueued(RisklineError, TimeoutError):
    """The transaction was not decided in the time given; it is safe in the queue, and `state` is its last one."""

    def __init__(self, message: str, *, state: State) -> None:
        super().__init__(message)
        self.state = state


class CallbackNotVerified(RisklineError):
    """A callback was signed by none of the secrets, was changed, or is too old: answer it with a 401."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error answer (RFC 9457): compare `type`, not the words. `retry_after` is in seconds, None where not said.

    `members` is the whole answer as it came, `rate_limit` the header `RateLimit`, if there was one.
    """

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    instance: str | None = None
    errors: tuple[FieldProblem, ...] = ()
    retry_after: float | None = None
    rate_limit: str | None = None
    members: Mapping[str, Any]


class ProblemError(RisklineError):
    """The service answered with a problem; its members are attributes of the error, too."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(_error_text(problem))
        self.problem = problem

    @property
    def type(self) -> str:
        """The kind of problem: stable, to be compared by programs."""
        return self.problem.type

    @property
    def title(self) -> str:
        """The kind of problem in words."""
        return self.problem.title

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def detail(self) -> str:
        """The cause of this problem and its remedy, for a person."""
        return self.problem.detail

    @property
    def instance(self) -> str | None:
        """The path of the request."""
        return self.problem.instance

    @property
    def errors(self) -> tuple[FieldProblem, ...]:
        """Each field of a transaction that is wrong."""
        return self.problem.errors

    @property
    def request_id(self) -> str:
        """The id by which the service's log knows the request."""
        return self.problem.request_id

    @property
    def retry_after(self) -> float | None:
        """After how many seconds to try again, where the service says so."""
        return self.problem.retry_after


class InvalidTransaction(ProblemError):
    """422: fields of the transaction are wrong; `errors` has all of them."""


class Unauthorized(ProblemError):
    """401: the service wants a valid API key."""


class Forbidden(ProblemError):
    """403: the API key is valid, and has not the scope for this."""


class NotFound(ProblemError):
    """404: no such transaction was submitted, or its result has expired."""


class Conflict(ProblemError):
    """409: the id was used for another transaction."""


class NotDecidedYet(ProblemError):
    """409: a transaction can be erased once it is decided."""


class Erased(ProblemError):
    """410: the transaction was erased."""


class CursorExpired(ProblemError):
    """410: the feed no longer has the cursor, so decisions may be missing: go on with `OLDEST` or `LATEST`."""


class RateLimited(ProblemError):
    """429: too many requests, also after the retries."""


class Unavailable(ProblemError):
    """502, 503 or 504: no model, no Redis, a full queue, or nothing behind the proxy, also after the retries."""


BY_TYPE: Mapping[str, type[ProblemError]] = {
    "urn:riskline:problem:invalid-transaction": InvalidTransaction,
    "urn:riskline:problem:not-decided-yet": NotDecidedYet,
    "urn:riskline:problem:cursor-expired": CursorExpired,
    "urn:riskline:problem:transaction-erased": Erased,
}

BY_STATUS: Mapping[int, type[ProblemError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(problem: Problem) -> ProblemError:
    """The error of its kind: by the type where it says more than the status."""
    return BY_TYPE.get(problem.type, BY_STATUS.get(problem.status, ProblemError))(problem)


def _error_text(problem: Problem) -> str:
    reasons = "; ".join(map(str, problem.errors)) or problem.detail
    return f"{problem.status} {problem.title}: {reasons}" if reasons else f"{problem.status} {problem.title}"
