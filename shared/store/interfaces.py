"""The store's interfaces for the HTTP service and the workers."""

from collections.abc import Mapping, Sequence
from enum import Enum, StrEnum
from typing import Final, NamedTuple, Protocol

from riskline.shared.store.records import Outcome, Record, Submission
from riskline.shared.store.status.counts import Counts


class Acceptance(Enum):
    """The answers of `accept` and `record` that are no record."""

    ACCEPTED = "accepted"
    """The id was new."""
    NO_ROOM = "no room"
    """Nothing was stored: the queue limit is reached, or the id is known and its record not wanted."""


ACCEPTED: Final = Acceptance.ACCEPTED
NO_ROOM: Final = Acceptance.NO_ROOM

Stored = Acceptance | Record
"""The answer of `accept` and `record`: an Acceptance, or the record that a known id has."""


NOBODY = "nobody"
"""A worker name that no worker has."""


LOST_OF_LATE_SECONDS = 60
"""After a worker was lost, batches are first tried in a child process for this long; each then costs about twice."""


class Erasure(StrEnum):
    """The outcome of erasing a transaction."""

    DONE = "done"
    QUEUED = "queued"
    """It is not decided yet: nothing was erased."""
    UNKNOWN = "unknown"


class Claim(NamedTuple):
    """A worker's claim: ids in their order and their records.

    A record is None where it is missing, and empty where it cannot be read.
    """

    rows: list[tuple[str, Record | None]]
    losses: int = 0
    """Workers lost with each of these rows, which may have ended them; 0 for any other claim.

    With more than one loss a row comes alone.
    """
    lost_of_late: bool = False
    """True where a worker was lost in the last minute: its cause may be in this claim, too."""


NOTHING = Claim([])


class SweepResult(NamedTuple):
    """The result of a sweep: transactions waiting (0 where another worker sweeps), and each lost worker's claims."""

    waiting: int
    gone: dict[str, int]


class TransactionIntake(Protocol):
    """The store as the HTTP service uses it; every method raises StoreUnavailableError where Redis fails."""

    async def accept(self, submissions: Sequence[Submission]) -> list[Stored]:
        """Stores and queues new transactions: ACCEPTED, NO_ROOM or the record that the id already has."""

    async def get(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """The records; None where there is none, or it has expired."""

    async def callback(self, transaction_id: str) -> Mapping[bytes, bytes] | None:
        """The stored fields of a transaction's callback; None where there is none, or it has expired."""

    async def record(self, outcomes: Sequence[Outcome], *, wanted: bool = False) -> list[Stored]:
        """Stores synchronous decisions: ACCEPTED, or for a known id its record if `wanted`."""

    async def decide_queued(self, outcome: Outcome) -> bool:
        """Decides a queued transaction; True where it was undecided until now."""

    async def erase(self, transaction_id: str, *, erased_at: str) -> Erasure:
        """Erases a decided or failed transaction, its callback and its entry in the feed.

        The record says "erased" for as long as a result is stored; erasing it again changes nothing.
        """

    async def count(self) -> Counts:
        """The counts of transactions now and in total, at one moment."""


class TransactionQueue(Protocol):
    """The store as a worker uses it; every method raises StoreUnavailableError where Redis fails."""

    def claim(self, worker: str, *, count: int, lease_seconds: float, wait_seconds: float = 0.0) -> Claim:
        """Claims up to `count` transactions, those that the worker already holds first, and renews its lease.

        Where none waits, it waits up to `wait_seconds` for one.
        """

    def decide(self, worker: str, outcomes: Sequence[Outcome]) -> int:
        """Writes outcomes of undecided transactions and releases their claims; returns how many it decided."""

    def decide_and_claim(
        self, worker: str, outcomes: Sequence[Outcome], *, count: int, lease_seconds: float
    ) -> tuple[int, Claim]:
        """`decide`, then `claim`, in one round trip."""

    def sweep(self, worker: str, *, lease_seconds: float, turn_seconds: float) -> SweepResult:
        """Renews the worker's lease and, if it is its turn, gives back the claims of workers whose lease is over.

        After an outage the others first get half a lease to renew theirs.
        """

    def leave(self, worker: str, *, ends: bool = False, last: bool = False) -> int:
        """Gives back a live worker's claims, to the front of the queue or `last`; returns how many.

        With `ends` the worker is also unregistered.
        """
