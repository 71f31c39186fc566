"""What a transaction adds to the history of its entities, as bytes.

An event has a fixed size for its entity: `b"E"`, 8 bytes of the transaction's hashed id, its event time in
microseconds since 1970 (int64), each number (int64, in units of its last decimal place), and 8 bytes of each hashed
text (zeros for a value that names nothing); all little-endian. What is kept of an entity is its packed state, if any,
and the events after it, in the order in which they were observed.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b, sha512
from operator import attrgetter
from struct import Struct
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from riskline.shared.domain.history.markers import units
from riskline.shared.domain.history.plan import HASH_BYTES, ID_BYTES, EntityPlan, History

EVENT_TAG, STATE_TAG = b"E", b"S"
"""The first byte of an event, and of a packed state."""


class Part(NamedTuple):
    """One entity of a transaction, and the event to be added to it."""

    entity: str
    """The keyed hash of its value in hex digits; several fields' hashes are joined by `:`."""
    event: bytes


class Observation(NamedTuple):
    """A transaction as its entities see it."""

    transaction_id: str
    at_us: int
    """The event time, in microseconds since 1970."""
    parts: tuple[Part | None, ...]
    """In the order of `History.entities`; None where the transaction has no such entity, as its value is ignored."""


class Seen(NamedTuple):
    """What was kept of a transaction's entities before it."""

    before: tuple[bytes | None, ...]
    """In the order of `Observation.parts`; empty where nothing was kept, None where there is no such entity."""
    known: bool = False
    """True where the id was there already, so that nothing was added: `before` then has its first event, or has
    forgotten it."""


ENTITY_BYTES = 12
"""The size of the hash of an entity's value: of a billion, no two are taken for one."""

MOST_KEY_BYTES = 64
"""The longest key that BLAKE2b takes."""

NAMES_NOTHING = bytes(HASH_BYTES)
"""The hash of a text that names nothing, such as an unknown device: it is not counted among different ones."""

AHEAD_US = 300_000_000
"""Five minutes: how far another machine's clock may be ahead of ours."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def too_early(observation: Observation, now_us: int) -> bool:
    """True where the event time is more than five minutes ahead of the clock."""
    return observation.at_us > now_us + AHEAD_US


def clock(history: History) -> Callable[[Any], int]:
    """The function that gives a transaction's event time in microseconds since 1970.

    A time that its zone has twice, when clocks are put back, is the first of the two.
    """
    get = attrgetter(history.time_field)
    zone = None if history.zone is None else ZoneInfo(history.zone)

    def at_us(transaction: Any) -> int:
        moment: datetime = get(transaction)
        since = (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)) - EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

    return at_us


class Observing:
    """Makes the observations of a class's transactions; the values themselves are kept nowhere, only keyed hashes."""

    def __init__(self, history: History, secret: bytes) -> None:
        # a longer key than BLAKE2b takes
        key = secret if len(secret) <= MOST_KEY_BYTES else sha512(secret).digest()
        self._history = history
        self._at_us = clock(history)
        self._long = blake2b(digest_size=ENTITY_BYTES, key=key)
        self._short = blake2b(digest_size=HASH_BYTES, key=key)
        # an id is found by its bytes among all that is kept: no text may have the same ones
        self._ids = blake2b(digest_size=ID_BYTES, key=key, person=b"id")
        plans = history.entities
        entities = {f: ignored for plan in plans for f, ignored in zip(plan.fields, plan.ignored, strict=True)}
        texts = {f: ignored for plan in plans for f, ignored in zip(plan.texts, plan.texts_ignored, strict=True)}
        numbers = {number: number.places for plan in plans for number in plan.numbers}
        self._entities = [(name, attrgetter(name), frozenset(ignored)) for name, ignored in entities.items()]
        self._texts = [(name, attrgetter(name), frozenset(ignored)) for name, ignored in texts.items()]
        self._numbers = [(each, attrgetter(each.field), places) for each, places in numbers.items()]
        self._events = [(plan, _event(plan)) for plan in plans]

    def of(self, transaction: Any) -> Observation:
        """The transaction as its entities see it."""
        at_us = self._at_us(transaction)
        names = {
            name: None if (value := get(transaction)) in ignored else self._entity(value)
            for name, get, ignored in self._entities
        }
        texts = {
            name: NAMES_NOTHING if (value := get(transaction)) in ignored else self._text(value)
            for name, get, ignored in self._texts
        }
        numbers = {number: units(get(transaction), places) for number, get, places in self._numbers}
        id_hash = self._id(transaction.transaction_id)
        parts: list[Part | None] = []
        for plan, event in self._events:
            named = [names[field] for field in plan.fields]
            if None in named:
                parts.append(None)
                continue
            carried = [numbers[number] for number in plan.numbers] + [texts[text] for text in plan.texts]
            parts.append(Part(":".join(map(str, named)), event.pack(EVENT_TAG, id_hash, at_us, *carried)))
        return Observation(transaction.transaction_id, at_us, tuple(parts))

    def entity(self, values: Sequence[str | int]) -> str:
        """The name under which the entity with these values, one for each of its fields, is kept."""
        return ":".join(map(self._entity, values))

    def _entity(self, value: str | int) -> str:
        hashed = self._long.copy()
        hashed.update(str(value).encode())
        return hashed.hexdigest()

    def _id(self, transaction_id: str) -> bytes:
        hashed = self._ids.copy()
        hashed.update(transaction_id.encode())
        return hashed.digest()

    def _text(self, value: str | int) -> bytes:
        hashed = self._short.copy()
        hashed.update(str(value).encode())
        return hashed.digest()


def _event(plan: EntityPlan) -> Struct:
    return Struct(f"<c{ID_BYTES}s{1 + len(plan.numbers)}q" + f"{HASH_BYTES}s" * len(plan.texts))
