"""A client for Riskline: `Client`, and `AsyncClient` for asyncio."""

from riskline_client.answers import (
    Callback,
    CallbackAttempt,
    Decision,
    Event,
    Health,
    Page,
    Readiness,
    Reason,
    State,
)
from riskline_client.async_client import AsyncClient
from riskline_client.callbacks import verify_callback
from riskline_client.client import Client
from riskline_client.errors import (
    CallbackNotVerified,
    Conflict,
    ConnectionFailed,
    CursorExpired,
    Erased,
    Forbidden,
    InvalidTransaction,
    NotDecidedYet,
    NotFound,
    Problem,
    ProblemError,
    RateLimited,
    RisklineError,
    StillQueued,
    TimedOut,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)
from riskline_client.feed import AsyncFeed, Feed
from riskline_client.reading import LATEST, OLDEST
from riskline_client.refusals import BatchResult, FieldProblem, RefusedRow
from riskline_client.retrying import Retries
from riskline_client.version import __version__

__all__ = [
    "LATEST",
    "OLDEST",
    "AsyncClient",
    "AsyncFeed",
    "BatchResult",
    "Callback",
    "CallbackAttempt",
    "CallbackNotVerified",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "CursorExpired",
    "Decision",
    "Erased",
    "Event",
    "Feed",
    "FieldProblem",
    "Forbidden",
    "Health",
    "InvalidTransaction",
    "NotDecidedYet",
    "NotFound",
    "Page",
    "Problem",
    "ProblemError",
    "RateLimited",
    "Readiness",
    "Reason",
    "RefusedRow",
    "Retries",
    "RisklineError",
    "State",
    "StillQueued",
    "TimedOut",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "__version__",
    "verify_callback",
]
