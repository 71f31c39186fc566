"""The kinds of failures that an operator can retry: their listings, and how each is retried."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from riskline.ingest.console.transaction.callback_view import without_secrets
from riskline.shared.domain.lifecycle import CallbackStatus
from riskline.shared.store.failures import Failure
from riskline.shared.store.listing import Entry, Listings
from riskline.shared.store.operations import AllCallbacks, AllFailures
from riskline.shared.webhooks.event import of_others, operator_view, status_of


class RetriableItem(NamedTuple):
    """A failure that can be retried."""

    transaction_id: str
    at: str | float | None
    reason: str
    times: int
    where: str = ""
    request_id: str = ""

    @property
    def why(self) -> str:
        """The reason by which failures are grouped; that of a callback names its receiver, too."""
        return f"{urlsplit(self.where).netloc}: {self.reason}" if self.where else self.reason


class FailureKind(ABC):
    """A kind of failure; every method raises StoreUnavailableError where Redis fails."""

    name: str
    """The name in URLs."""
    title: str
    noun: str
    among: str
    """The clause that describes all in its listing."""
    when: str = "When"
    """The heading of a row's time."""
    button: str = "Again"
    how: str = "again"
    per_second: int = 1000
    """The units of its listing's scores in a second."""
    is_all_of_its_listing: bool = True

    def __init__(self, listing: Listings) -> None:
        self.listing = listing

    @abstractmethod
    def rows(self, entries: Sequence[Entry]) -> list[RetriableItem | None]:
        """The row of each entry; None where it is not, or no longer, of this kind."""

    @abstractmethod
    def has(self, transaction_id: str) -> bool:
        """True where this one is of the kind."""

    @abstractmethod
    def retry(self, transaction_ids: Sequence[str]) -> int:
        """Retries them; returns how many were."""

    @property
    def may_be_discarded(self) -> bool:
        """True where they can be taken off the list. Those that are still to be tried cannot."""
        return self.is_all_of_its_listing

    def discard(self, transaction_ids: Sequence[str]) -> int:
        """Takes them off the list, and keeps their records; returns how many were."""
        return self.listing.remove(transaction_ids)


class FailedTransactions(FailureKind):
    """Transactions that could not be decided."""

    name, title, noun, among = "transactions", "Failed transactions", "transaction", "that failed"
    per_second = 1

    def __init__(self, failures: AllFailures) -> None:
        super().__init__(failures.listing)
        self._failures = failures

    def rows(self, entries: Sequence[Entry]) -> list[RetriableItem | None]:
        """See FailureKind."""
        return [None if each is None else _failed(each) for each in self._failures.read(entries)]

    def has(self, transaction_id: str) -> bool:
        """See FailureKind."""
        return self._failures.read([Entry(0, transaction_id)]) != [None]

    def retry(self, transaction_ids: Sequence[str]) -> int:
        """Makes them wait for a worker again."""
        return len(self._failures.replay(transaction_ids).replayed)


class _Callbacks(FailureKind):
    """Callbacks in one of their states."""

    noun = "callback"
    status: CallbackStatus

    def __init__(self, records: AllCallbacks, listing: Listings) -> None:
        super().__init__(listing)
        self._records = records

    def has(self, transaction_id: str) -> bool:
        """See FailureKind: one that was delivered meanwhile is not sent a second time."""
        return any(status_of(kept) == self.status for _, kept in self._records.read([transaction_id]))

    def retry(self, transaction_ids: Sequence[str]) -> int:
        """Makes them due at once."""
        return len(self._records.resend(transaction_ids))

    def _read(self, transaction_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        return {
            transaction_id: of_others(without_secrets(operator_view(kept)))
            for transaction_id, kept in self._records.read(transaction_ids)
            if status_of(kept) == self.status
        }


class DeadLetters(_Callbacks):
    """Callbacks that were given up."""

    name, title, among = "callbacks", "Callbacks that were given up", "that were given up"
    status = CallbackStatus.DEAD

    def __init__(self, records: AllCallbacks) -> None:
        super().__init__(records, records.dead_listing)

    def rows(self, entries: Sequence[Entry]) -> list[RetriableItem | None]:
        """See FailureKind."""
        kept = self._read([entry.transaction_id for entry in entries])
        return [self._row(entry, kept.get(entry.transaction_id)) for entry in entries]

    def _row(self, entry: Entry, shown: Mapping[str, Any] | None) -> RetriableItem | None:
        if shown is None:
            return None
        at = shown["attempts"][-1]["at"] if shown["attempts"] else entry.score / self.per_second
        return RetriableItem(
            entry.transaction_id, at, shown.get("error", "given up"), len(shown["attempts"]), shown["url"]
        )


class RetryingCallbacks(_Callbacks):
    """Callbacks of which an attempt failed, and that are tried again by themselves."""

    name, title, among = "retries", "Callbacks that are tried again", "that are pending"
    when, button, how = "Next attempt", "Try now", "now"
    status = CallbackStatus.PENDING
    # those that were not tried yet are pending, too
    is_all_of_its_listing = False

    def __init__(self, records: AllCallbacks) -> None:
        super().__init__(records, records.pending_listing)

    def rows(self, entries: Sequence[Entry]) -> list[RetriableItem | None]:
        """See FailureKind."""
        kept = self._read(self._records.tried([entry.transaction_id for entry in entries]))
        return [_retry(entry.transaction_id, kept.get(entry.transaction_id)) for entry in entries]


def _retry(transaction_id: str, shown: Mapping[str, Any] | None) -> RetriableItem | None:
    if shown is None or not is_retrying(shown):
        return None
    last = shown["attempts"][-1]
    reason = last["error"] or f"status {last['status']}"
    return RetriableItem(transaction_id, shown["next_attempt_at"], reason, len(shown["attempts"]), shown["url"])


def is_retrying(shown: Mapping[str, Any]) -> bool:
    """True where the last attempt to deliver a callback failed, and another is scheduled."""
    if shown["status"] != CallbackStatus.PENDING or not shown["attempts"]:
        return False
    last = shown["attempts"][-1]
    # one that was delivered can be sent again
    return bool(last.get("error")) or not 200 <= (last.get("status") or 0) < 300  # noqa: PLR2004  # HTTP's success


def _failed(failure: Failure) -> RetriableItem:
    record = failure.record
    asked_by = str(record.get("request_id", ""))
    return RetriableItem(failure.transaction_id, failure.failed_at, failure.reason, _tries(record), request_id=asked_by)


def _tries(record: Mapping[str, Any]) -> int:
    replays = record.get("replays", 0)
    return 1 + replays if isinstance(replays, int) else 1
