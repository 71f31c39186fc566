"""What a transaction adds to the history of its entities, as bytes.

An event has a fixed size for its entity: `b"E"`, 8 bytes of the transaction's hashed id, its event time in
microseconds since 1970 (int64), each number (int64, in units of its last decimal place), and 8 bytes of each hashed
text (zeros for a value that names nothing); all little-endian. What is kept of an entity is its packed state, if any,
and the events after it, in the order in which they were observed.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from hashlib import blake2b, sha512
from operator import attrgetter, itemgetter
from struct import Struct
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from riskline.shared.domain.history.markers import units
from riskline.shared.domain.history.plan import HASH_BYTES, ID_BYTES, TAG_BYTES, EntityPlan, History

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


class SeenBefore(NamedTuple):
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

_new = tuple.__new__
"""Makes a named tuple in half the time of the tuple itself, which is a function in Python."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_id(event: bytes) -> bytes:
    """The hashed id in an event."""
    return event[TAG_BYTES : TAG_BYTES + ID_BYTES]


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


Hashed = list[str | None]
"""The hashes of the values that name entities; None where one is ignored."""

Carried = list[int | bytes]
"""The numbers in units, and the hashed texts."""

MakePart = Callable[[Hashed, Carried, bytes, int], Part | None]
"""From the hashes, what is carried, the hashed id and the event time."""


class Observing:
    """Makes the observations of a class's transactions; the values themselves are kept nowhere, only keyed hashes."""

    def __init__(self, history: History, secret: bytes) -> None:
        # a longer key than BLAKE2b takes
        key = secret if len(secret) <= MOST_KEY_BYTES else sha512(secret).digest()
        self._at_us = clock(history)
        self._long = blake2b(digest_size=ENTITY_BYTES, key=key)
        self._short = blake2b(digest_size=HASH_BYTES, key=key)
        # an id is found by its bytes among all that is kept: no text may have the same ones
        self._ids = blake2b(digest_size=ID_BYTES, key=key, person=b"id")
        plans = history.entities
        entities = {f: ignored for plan in plans for f, ignored in zip(plan.fields, plan.ignored, strict=True)}
        texts = {f: ignored for plan in plans for f, ignored in zip(plan.texts, plan.texts_ignored, strict=True)}
        numbers = list(dict.fromkeys(number for plan in plans for number in plan.numbers))
        self._entities = _values(entities), [frozenset(ignored) for ignored in entities.values()]
        self._texts = _values(texts), [frozenset(ignored) for ignored in texts.values()]
        self._numbers = _values([number.field for number in numbers]), [number.places for number in numbers]
        self._parts = [_part_maker(plan, list(entities), [*numbers, *texts]) for plan in plans]

    def of(self, transaction: Any) -> Observation:
        """The transaction as its entities see it."""
        transaction_id, at_us = transaction.transaction_id, self._at_us(transaction)
        get, ignored = self._entities
        names = [
            None if value in none else self._entity(value)
            for value, none in zip(get(transaction), ignored, strict=True)
        ]
        get, places = self._numbers
        carried: Carried = list(map(units, get(transaction), places))
        get, ignored = self._texts
        carried += [
            NAMES_NOTHING if value in none else self._text(value)
            for value, none in zip(get(transaction), ignored, strict=True)
        ]
        hashed = self._ids.copy()
        hashed.update(transaction_id.encode())
        id_hash = hashed.digest()
        parts = [make(names, carried, id_hash, at_us) for make in self._parts]
        return Observation(transaction_id, at_us, tuple(parts))

    def entity(self, values: Sequence[str | int]) -> str:
        """The name under which the entity with these values, one for each of its fields, is kept."""
        return ":".join(map(self._entity, values))

    def _entity(self, value: str | int) -> str:
        hashed = self._long.copy()
        hashed.update(str(value).encode())
        return hashed.hexdigest()

    def _text(self, value: str | int) -> bytes:
        hashed = self._short.copy()
        hashed.update(str(value).encode())
        return hashed.digest()


def _values(names: Collection[str]) -> Callable[[Any], tuple[Any, ...]]:
    """The function that gives a transaction's values of these fields."""
    if not names:
        return lambda _transaction: ()
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda transaction: (get(transaction),)


def _part_maker(plan: EntityPlan, names: list[str], carried: list[Any]) -> MakePart:
    """The function that makes the part of one entity; most are of one field."""
    pack = Struct(f"<c{ID_BYTES}s{1 + len(plan.numbers)}q" + f"{HASH_BYTES}s" * len(plan.texts)).pack
    first, *others = [names.index(field) for field in plan.fields]
    places = [carried.index(each) for each in (*plan.numbers, *plan.texts)]
    single = places[0] if len(places) == 1 else None
    get = itemgetter(*places) if len(places) > 1 else None

    def of_one(hashes: Hashed, values: Carried, id_hash: bytes, at_us: int) -> Part | None:
        name = hashes[first]
        if name is None:
            return None
        if get is not None:
            return _new(Part, (name, pack(EVENT_TAG, id_hash, at_us, *get(values))))
        if single is not None:
            return _new(Part, (name, pack(EVENT_TAG, id_hash, at_us, values[single])))
        return _new(Part, (name, pack(EVENT_TAG, id_hash, at_us)))

    def of_several(hashes: Hashed, values: Carried, id_hash: bytes, at_us: int) -> Part | None:
        part = of_one(hashes, values, id_hash, at_us)
        more = [name for place in others if (name := hashes[place]) is not None]
        if part is None or len(more) < len(others):
            return None
        return _new(Part, (":".join([part.entity, *more]), part.event))

    return of_several if others else of_one
