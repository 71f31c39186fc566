"""One tree of the errors that Riskline raises on purpose; every message says what to do."""


class RisklineError(Exception):
    """What went wrong and what to do about it, in one line fit for a user."""


class SettingsError(RisklineError):
    """A setting has a value that cannot be used."""


class BundleError(RisklineError):
    """A model bundle is missing, damaged, altered or made for another transaction."""


class OutOfFilesError(BundleError):
    """A file cannot be opened for want of descriptors, which says nothing of the file."""


class DatasetError(RisklineError):
    """A file of transactions cannot be read or has rows that do not fit."""


class LifecycleError(RisklineError):
    """A transaction was asked to change its status in a way that its status does not allow."""


class ConflictError(RisklineError):
    """The same transaction id was submitted with another body."""


class InstallationError(RisklineError):
    """Something that Riskline needs on this machine is missing or already in use."""


class StoreUnavailableError(RisklineError):
    """Redis cannot be reached or refuses to write; nothing was changed, or the call may be repeated safely."""

    began: float | None = None
    """When the call began that failed, by the monotonic clock: one that hangs fails much later."""


class OutcomeUnknownError(StoreUnavailableError):
    """Redis was asked to write and did not answer: whether it did is not known; the call may be repeated safely."""


class UnreadableStateError(StoreUnavailableError):
    """What was taken is safe in Redis, and what became of it cannot be read now."""


class QueueFullError(StoreUnavailableError):
    """More transactions wait for a decision than the queue limit allows."""

    def __init__(self, message: str, retry_after_seconds: int = 1) -> None:
        super().__init__(message, retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return str(self.args[0])
