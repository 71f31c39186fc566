"""One tree of the errors that Riskline raises on purpose; every message says what to do."""

from collections.abc import Sequence
from typing import Any


class RisklineError(Exception):
    """An error with a message for users: one line that says what is wrong and what to do."""


class SettingsError(RisklineError):
    """A setting has a value that cannot be used."""


class BundleError(RisklineError):
    """A model bundle is missing, damaged, altered or made for another transaction."""


class OutOfFilesError(BundleError):
    """A file cannot be opened because descriptors ran out; the file may be fine."""


class DatasetError(RisklineError):
    """A file of transactions cannot be read or has rows that do not fit."""


class LifecycleError(RisklineError):
    """A transaction was asked to change its status in a way that its status does not allow."""


class ConflictError(RisklineError):
    """The same transaction id was submitted with another body."""


class HistoryRequiredError(RisklineError):
    """A transaction is without its history, and the model has no twin that decides without one."""


class InstallationError(RisklineError):
    """Something that Riskline needs on this machine is missing or already in use."""


class StoreUnavailableError(RisklineError):
    """Redis cannot be reached or refuses to write; nothing was changed, or the call may be repeated safely."""

    began: float | None = None
    """Start of the failed call, by the monotonic clock: a call that hangs fails much later."""


class HistoryUnavailableError(StoreUnavailableError):
    """The history cannot be read or added to in time; the call may be repeated safely."""


class HistoryLostError(HistoryUnavailableError):
    """The history was emptied: what it does not know is no zero. What is observed is added to it all the same."""

    seen: Sequence[Any] = ()
    """What `observe` would have returned: it has to be packed all the same."""


class OutcomeUnknownError(StoreUnavailableError):
    """Redis did not answer a write, which may have happened; the call may be repeated safely."""


class UnreadableStateError(StoreUnavailableError):
    """The submission is safe in Redis, but its state cannot be read now."""


class HistoryUnreadableError(RisklineError):
    """The bytes that are kept of an entity are damaged, or of another release."""


class QueueFullError(StoreUnavailableError):
    """The number of transactions waiting for a decision has reached the queue limit."""

    def __init__(self, message: str, retry_after_seconds: int = 1) -> None:
        super().__init__(message, retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return str(self.args[0])
