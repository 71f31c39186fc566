"""What the HTTP service and the workers ask of the store, whatever it is made of."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from riskline.shared.store.records import Outcome, Record, Submission
from riskline.shared.store.status.counts import Counts

ACCEPTED: Record = {}
"""What `accept` answers for a transaction that is new: there was no record."""

NO_ROOM: Record = {"full": True}
"""What `accept` answers where the queue limit is reached."""


NOBODY = "nobody"
"""A worker's name that no worker has."""


LOST_OF_LATE_SECONDS = 60
"""After a worker was lost: for so long batches are tried in processes of their own, which costs each about twice."""


class Erasure(StrEnum):
    """What became of the wish to erase a transaction."""

    DONE = "done"
    QUEUED = "queued"
    """It is not decided yet: nothing was erased."""
    UNKNOWN = "unknown"


class Claimed(NamedTuple):
    """What a worker has claimed: ids in their order and their records.

    A record is None where there is none, and has no members where it cannot be read.
    """

    rows: list[tuple[str, Record | None]]
    losses: int = 0
    """How many workers were lost with each of the rows, which then may be what ended them; 0 for any other claim.

    With more than one loss a row comes alone.
    """
    lost_of_late: bool = False
    """Whether a worker was lost in the last minute: what ended it may be in this claim, too."""


NOTHING = Claimed([])


class Swept(NamedTuple):
    """What a sweep found: how many wait (0 where another sweeps), and what each worker held that is gone."""

    waiting: int
    gone: dict[str, int]


class TransactionIntake(Protocol):
    """What the HTTP service asks of the store; every method raises StoreUnavailableError where Redis fails it."""

    async def accept(self, submissions: Sequence[Submission]) -> list[Record]:
        """Makes new transactions known, undecided and waiting: ACCEPTED, NO_ROOM or the record an id already has."""

    async def get(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """The records; None where there is none (any more)."""

    async def callback(self, transaction_id: str) -> Mapping[bytes, bytes] | None:
        """What is kept of a transaction's callback; None where there is none (any more)."""

    async def record(self, outcomes: Sequence[Outcome], *, wanted: bool = False) -> list[Record]:
        """Keeps what the synchronous door decided: ACCEPTED, or for an id that is known its record if `wanted`."""

    async def decide_queued(self, outcome: Outcome) -> bool:
        """Decides a transaction that is queued; whether it was undecided until now."""

    async def erase(self, transaction_id: str, *, erased_at: str) -> Erasure:
        """Removes what is kept of a decided or failed transaction, also its callback and its place in the feed.

        That it was erased is kept for as long as a result is; to erase it again changes nothing.
        """

    async def count(self) -> Counts:
        """How many there are and ever were, at one moment."""


class TransactionQueue(Protocol):
    """What a worker asks of the store; every method raises StoreUnavailableError where Redis fails it."""

    def claim(self, worker: str, *, count: int, lease_seconds: float, wait_seconds: float = 0.0) -> Claimed:
        """Takes up to `count` waiting transactions, after what the worker already holds, and renews its lease.

        With `wait_seconds` it waits so long for one to come, if none waits.
        """

    def decide(self, worker: str, outcomes: Sequence[Outcome]) -> int:
        """Writes outcomes of undecided transactions and lets go of their claims; how many this call decided."""

    def decide_and_claim(
        self, worker: str, outcomes: Sequence[Outcome], *, count: int, lease_seconds: float
    ) -> tuple[int, Claimed]:
        """`decide`, then `claim`, in one round trip."""

    def sweep(self, worker: str, *, lease_seconds: float, turn_seconds: float) -> Swept:
        """Renews the worker's lease and, if it is its turn, gives back what others hold whose lease is over.

        After an outage, in which nobody could renew theirs, the others first get half a lease to do so.
        """

    def leave(self, worker: str, *, ends: bool = False, last: bool = False) -> int:
        """Gives back what a worker that lives holds, to come first or `last`; how many that were.

        Where it ends it is forgotten.
        """
