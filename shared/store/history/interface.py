"""The interface of a history, which Redis and the memory of a process both have."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from riskline.shared.domain.history.observation import Observation, SeenBefore

LARGEST_CALL = 64
"""Transactions in one call: more would keep Redis from everything else for longer than a millisecond or two."""


class Replacement(NamedTuple):
    """The first bytes of an entity, and the packed state to put in their place."""

    entity_index: int
    """The position in `History.entities`."""
    entity: str
    """The keyed hash, as in `Part`."""
    old: bytes
    """Empty, to put the state in front of events that have none before them, or where nothing is kept."""
    new: bytes


class Mark(NamedTuple):
    """What is known of an entity's history as a whole."""

    name: str
    """The fields, as `EntityPlan.name` has them."""
    live_from_us: int | None = None
    """The event time of the first transaction that was observed, in microseconds since 1970."""
    backfilled_from_us: int | None = None
    backfilled_to_us: int | None = None
    progress: str = ""
    """How far the backfill has come, in its own words."""
    live_to_us: int | None = None
    """The latest event time that a process has observed, as it was a minute ago."""


class Size(NamedTuple):
    """The number of entities that are kept, and the bytes that they take; about, where `is_exact` is False."""

    entities: int
    size_bytes: int
    is_exact: bool


Progress = Callable[[int, int], None]
"""Called with how many keys were looked at, and how many there are, about."""


def unwatched(_done: int, _of: int) -> None:
    """The progress of what nobody watches."""


class HistoryStore(Protocol):
    """The history of one transaction class; every method raises HistoryUnavailableError where its store is away.

    For those who decide by it, `observe` and `look` raise HistoryLostError while it lacks what it once had.
    """

    async def observe(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        """Adds transactions, each once, and returns what was kept before each of them.

        Of one call the later ones see the earlier ones. Repeating a call is harmless: an id that is known is not
        added again.
        """

    async def look(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        """Returns what is kept of the entities of transactions, and adds nothing."""

    async def compact(self, replacements: Sequence[Replacement]) -> int:
        """Puts packed states in the place of what they were made of; returns how many.

        An entity whose first bytes are not the same any more is left as it is.
        """

    async def erase(self, field: str, digest: str, *, progress: Progress = unwatched) -> int:
        """Forgets the entity of this field whose value has this hash, alone and together with others.

        Returns how many entities were kept of it.
        """

    async def erase_all(self, *, progress: Progress = unwatched) -> int:
        """Forgets all entities and marks, of this class and others, whatever secret they were hashed with."""

    async def marks(self) -> dict[str, Mark]:
        """The marks by the fingerprint of the entity, also of earlier classes."""

    async def mark_backfill(self, entity_index: int, *, from_us: int, to_us: int, progress: str = "") -> None:
        """Notes the event times that a backfill has covered, and how far it has come."""

    async def accept_loss(self) -> None:
        """Uses the history again although it lost what it had, however little it knows by now."""

    async def recovered(self) -> bool:
        """True where the history has lost nothing, or has enough of the past again: it is used again then."""

    async def sizes(self) -> dict[str, Size]:
        """The sizes by the fingerprint of the entity, from a sample where there are many."""

    async def warm(self) -> None:
        """Connects, and checks the secret, with more patience than the other calls have."""

    async def close(self) -> None:
        """Closes the connections."""
