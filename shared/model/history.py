"""The fold of history behind a Python object: what is kept of a transaction's entities to its columns.

docs/reference/history.md has the rules; `history.c` follows them.
"""

import ctypes
import struct
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.history.observation import STATE_TAG, Observation, SeenBefore, event_id
from riskline.shared.domain.history.plan import ID_BYTES, TAG_BYTES, EntityPlan, History
from riskline.shared.errors import HistoryUnreadableError
from riskline.shared.model.build import LIBRARY
from riskline.shared.model.history_layout import LAYOUT, CHistory, CPlan
from riskline.shared.model.library import load

LONGEST_TAIL = 32
"""Raw events: folding more takes longer than reading a packed state, and packing fewer costs Redis more writes."""

STATE_LENGTH = struct.Struct("<I")
STATE_HEAD = TAG_BYTES + STATE_LENGTH.size

_new = tuple.__new__

WAS_FORGOTTEN, WAS_TOO_OLD = 1, 2
"""The C code's flags of an entity."""

KEPT_TAIL = 8
"""Raw events that are left when the ones before are packed: the repeat of one of these gets its first values."""

FARTHEST_US = 1 << 58
"""Event times from 1970 that the C code takes: nine thousand years."""

OUT_OF_TIME = "an event time is thousands of years from 1970"

NO_ID = bytes(ID_BYTES)
"""What is said where the id is of no use."""

Int64s = NDArray[np.int64]
Uint64s = NDArray[np.uint64]


class Folded(NamedTuple):
    """The columns of a transaction, and its place among the events of its entities."""

    values: tuple[float, ...]
    """In the order of `History.columns`."""
    ordinals: tuple[int | None, ...]
    """By entity, the number of its event, from 1; None where it has none: no such entity, too old, or forgotten."""
    forgotten: bool
    """True where the id was there already and its first event was packed since: values are then not the first ones."""
    too_old: tuple[bool, ...]
    """By entity, True where the event is older than `keep` before the newest one, and so is not counted."""


class Compaction(NamedTuple):
    """What may stand for the first bytes that are kept of an entity."""

    old: bytes
    new: bytes


class Kept(NamedTuple):
    """What is kept of an entity."""

    events: int
    """All that were applied, since there was nothing of it."""
    oldest_us: int
    """The smallest event time of these."""
    newest_us: int


class Fold:
    """The columns of a class with history; one thread at a time."""

    def __init__(self, history: History) -> None:
        self._entities = history.entities
        self._calls = _calls(LIBRARY)
        self._plans = [CPlan(entity) for entity in history.entities]
        self._memory = ctypes.create_string_buffer(max(self._calls.memory(plan.address) for plan in self._plans))
        self._memory_address = ctypes.addressof(self._memory)
        self._addresses = (ctypes.c_void_p * len(self._plans))(*(plan.address for plan in self._plans))
        self._history = CHistory(
            plans=ctypes.addressof(self._addresses),
            memory=self._memory_address,
            entities=len(self._plans),
            columns=len(history.columns),
        )
        self._address = ctypes.addressof(self._history)
        self._call = self._calls.columns
        self._ask = struct.Struct(f"<q8sq{len(self._plans)}q").pack
        values, places = struct.Struct(f"{len(history.columns)}d"), struct.Struct(f"{len(self._plans)}q")
        self._values, self._places = values.unpack_from, places.unpack_from
        self._ordinals_at, self._flags_at = values.size, values.size + places.size
        self._out = ctypes.create_string_buffer(values.size + 2 * places.size)
        self._out_address = ctypes.addressof(self._out)
        self._none_too_old = (False,) * len(self._plans)

    def columns(self, observation: Observation, seen: SeenBefore) -> Folded:
        """The columns of a transaction, from what was kept of its entities before it.

        Raises:
            HistoryUnreadableError: the bytes that are kept of an entity are damaged.
        """
        if None in seen.before:
            lengths = [-1 if kept is None else len(kept) for kept in seen.before]
            kept = b"".join(filter(None, seen.before))
        else:
            before = cast("tuple[bytes, ...]", seen.before)
            lengths, kept = [*map(len, before)], b"".join(before)
        ask = self._ask(observation.at_us, _id_hash(observation) if seen.known else NO_ID, seen.known, *lengths)
        flagged = self._call(self._address, ask, kept, self._out_address)
        if flagged < 0:
            raise self._refused(flagged)
        values, ordinals = self._values(self._out), self._places(self._out, self._ordinals_at)
        if not flagged:
            # half a microsecond less than by Folded itself, which is a function in Python
            return _new(Folded, (values, ordinals, False, self._none_too_old))
        return Folded(
            values,
            tuple([ordinal or None for ordinal in ordinals]),
            flagged & WAS_FORGOTTEN != 0,
            tuple([flag & WAS_TOO_OLD != 0 for flag in self._places(self._out, self._flags_at)]),
        )

    def compaction(self, entity: int, before: bytes, event: bytes) -> Compaction | None:
        """The bytes that may stand for the first ones of `before`; None while few raw events stand there.

        `event` was appended to `before`.

        Raises:
            HistoryUnreadableError: the bytes that are kept of the entity are damaged.
        """
        size, state = self._entities[entity].event_bytes, state_bytes(before)
        events = (len(before) + len(event) - state) // size
        if events <= LONGEST_TAIL:
            return None
        old = before[: state + (events - KEPT_TAIL) * size]
        return Compaction(old, self.packed(entity, old))

    def _refused(self, result: int) -> Exception:
        if -result > len(self._entities):
            return ValueError(OUT_OF_TIME)
        return _unreadable(self._entities[-result - 1])

    def packed(self, entity: int, kept: bytes) -> bytes:
        """The bytes that are kept of an entity, as one packed state: all columns stay the same.

        Raises:
            HistoryUnreadableError: they are damaged, or none.
        """
        address = self._plans[entity].address
        room = ctypes.create_string_buffer(self._calls.room(address))
        length = self._calls.pack(address, self._memory_address, kept, len(kept), ctypes.addressof(room))
        if length <= 0:
            raise _unreadable(self._entities[entity])
        return room.raw[:length]

    def describe(self, entity: int, kept: bytes) -> Kept | None:
        """What the bytes that are kept of an entity say; None where there are none.

        Raises:
            HistoryUnreadableError: they are damaged.
        """
        out, address = (ctypes.c_int64 * 3)(), self._plans[entity].address
        if self._calls.describe(address, self._memory_address, kept, len(kept), ctypes.addressof(out)):
            raise _unreadable(self._entities[entity])
        return Kept(*out) if kept else None

    def replay(self, entity: int, groups: Int64s, times: Int64s, numbers: Int64s, texts: Uint64s) -> Rows:
        """The columns of an entity for the rows of a file, shape (rows, its columns), as `columns` has them.

        Rows are in the order in which they were observed, without those of a repeated id.

        Args:
            entity: The position in `History.entities`.
            groups: A number for each value of the entity; negative where a row has no such entity.
            times: The event times, in microseconds since 1970.
            numbers: Those of `EntityPlan.numbers`, in their units; shape (rows, numbers).
            texts: Hashes of those of `EntityPlan.texts`, 0 for one that names nothing; shape (rows, texts).
        """
        rows, plan = len(groups), self._entities[entity]
        if (times.shape, numbers.shape, texts.shape) != ((rows,), (rows, len(plan.numbers)), (rows, len(plan.texts))):
            raise ValueError(f"{rows} rows want as many times, {len(plan.numbers)} numbers and {len(plan.texts)} texts")
        if rows and max(int(times.max()), -int(times.min())) > FARTHEST_US:
            raise ValueError(OUT_OF_TIME)
        order = np.argsort(groups, kind="stable")
        arrays = [np.ascontiguousarray(each, np.int64) for each in (order, groups, times, numbers)]
        hashes, out = np.ascontiguousarray(texts, np.uint64), np.empty((rows, len(plan.columns)))
        address = self._plans[entity].address
        # of its own: the call below lets other threads go on
        memory = ctypes.create_string_buffer(self._calls.memory(address))
        pointers = [each.ctypes.data for each in (*arrays, hashes, out)]
        self._calls.replay(address, ctypes.addressof(memory), rows, *pointers)
        return out


class _Calls(NamedTuple):
    """The calls of the C code."""

    columns: Any
    pack: Any
    describe: Any
    replay: Any
    memory: Any
    room: Any


@cache
def _calls(path: Path) -> _Calls:
    holding, releasing = load(path, layout="riskline_history_layout", version=LAYOUT)
    address, count, whole, text = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_char_p

    def call(function: Any, result: Any, *arguments: Any) -> Any:
        function.argtypes, function.restype = arguments, result
        return function

    return _Calls(
        columns=call(holding.riskline_history_columns, whole, address, text, text, address),
        pack=call(holding.riskline_history_pack, count, address, address, text, count, address),
        describe=call(holding.riskline_history_describe, whole, address, address, text, count, address),
        replay=call(releasing.riskline_history_replay, None, address, address, count, *[address] * 6),
        memory=call(holding.riskline_history_memory, count, address),
        room=call(holding.riskline_history_room, count, address),
    )


def _id_hash(observation: Observation) -> bytes:
    """All parts have the same."""
    part = next((part for part in observation.parts if part is not None), None)
    return NO_ID if part is None else event_id(part.event)


def state_bytes(kept: bytes) -> int:
    """The length of the packed state in front of the events; 0 where there is none."""
    return STATE_LENGTH.unpack_from(kept, TAG_BYTES)[0] if kept.startswith(STATE_TAG) and len(kept) >= STATE_HEAD else 0


def _unreadable(entity: EntityPlan) -> HistoryUnreadableError:
    return HistoryUnreadableError(
        f"the history of a {entity.name} is damaged, or of another release: forget it by `riskline history erase`"
    )
