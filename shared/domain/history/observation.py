"""What a transaction adds to the history of its entities, as bytes.

An event has a fixed size for its entity: `b"E"`, 8 bytes of the transaction's hashed id, its event time in
microseconds since 1970 (int64), each number (int64, in units of its last decimal place), and 8 bytes of each hashed
text; all little-endian. What is kept of an entity is its packed state, if any, and the events after it, in the order in
which they were observed.
"""

from typing import NamedTuple

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
