"""An entity's plan as the C code of the fold takes it."""

import ctypes
from collections.abc import Sequence
from math import gcd
from typing import Any, NamedTuple

from riskline.shared.domain.history.plan import CELLS, EntityPlan, HistoryColumn, Kind

LAYOUT = 2
"""The version of the structs below."""

OF_COUNT, OF_SUM, OF_SQUARES, OF_LARGEST, OF_SMALLEST = range(5)
"""The C code's kinds of lanes: what a window's cells hold."""

LANES = {
    Kind.TOTAL: (OF_SUM,),
    Kind.MEAN: (OF_SUM,),
    Kind.LARGEST: (OF_LARGEST,),
    Kind.SMALLEST: (OF_SMALLEST,),
    Kind.SPREAD: (OF_SUM, OF_SQUARES),
}
"""The lanes of a number that a kind reads, beside the count."""

WINDOWED = frozenset({Kind.COUNT, Kind.SEEN, *LANES})
TIMED = frozenset({Kind.SINCE_LAST, Kind.LAST})


class _CWindow(ctypes.Structure):
    _fields_ = (
        ("times", ctypes.c_int64),
        ("per", ctypes.c_int64),
        ("each", ctypes.c_double),
        ("first", ctypes.c_int32),
        ("end", ctypes.c_int32),
    )


class _CLane(ctypes.Structure):
    _fields_ = (("what", ctypes.c_int32), ("number", ctypes.c_int32))


class _CDistinct(ctypes.Structure):
    _fields_ = (
        ("times", ctypes.c_int64),
        ("per", ctypes.c_int64),
        ("each", ctypes.c_double),
        ("text", ctypes.c_int32),
        ("up_to", ctypes.c_int32),
    )


class _CColumn(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int32),
        ("place", ctypes.c_int32),
        ("of", ctypes.c_int32),
        ("first", ctypes.c_int32),
        ("second", ctypes.c_int32),
        ("unused", ctypes.c_int32),
        ("unit", ctypes.c_int64),
        ("empty", ctypes.c_double),
    )


class _CPlan(ctypes.Structure):
    _fields_ = (
        ("windows", ctypes.c_void_p),
        ("lanes", ctypes.c_void_p),
        ("distincts", ctypes.c_void_p),
        ("columns", ctypes.c_void_p),
        ("kept", ctypes.c_void_p),
        ("keep", ctypes.c_int64),
        ("windows_count", ctypes.c_int32),
        ("lanes_count", ctypes.c_int32),
        ("distincts_count", ctypes.c_int32),
        ("columns_count", ctypes.c_int32),
        ("kept_count", ctypes.c_int32),
        ("timed", ctypes.c_int32),
        ("numbers", ctypes.c_int32),
        ("texts", ctypes.c_int32),
        ("up_to", ctypes.c_int32),
        ("unused", ctypes.c_int32),
    )


class CHistory(ctypes.Structure):
    """The plans of all entities."""

    _fields_ = (
        ("plans", ctypes.c_void_p),
        ("memory", ctypes.c_void_p),
        ("entities", ctypes.c_int32),
        ("columns", ctypes.c_int32),
    )


class _Lane(NamedTuple):
    """What each cell of a window holds."""

    window_us: int
    what: int
    number: int


class _Distinct(NamedTuple):
    window_us: int
    text: int
    up_to: int


class CPlan:
    """An entity's plan in the C code's layout.

    Lanes and all else that is packed have an order of their own, so that no byte depends on the order of the columns.
    """

    def __init__(self, entity: EntityPlan) -> None:
        self._entity = entity
        self._lanes = sorted({lane for each in entity.columns for lane in _lanes(each)})
        self._windows = sorted({lane.window_us for lane in self._lanes})
        self._distincts = sorted({_distinct(each) for each in entity.columns if each.kind is Kind.DISTINCT})
        self._kept = sorted({each.number for each in entity.columns if each.kind is Kind.LAST})
        # what the plan's addresses point to
        self._parts = (
            _array(_CWindow, [self._window(each) for each in self._windows]),
            _array(_CLane, [(each.what, each.number) for each in self._lanes]),
            _array(_CDistinct, [(*_cells(each.window_us), each.text, each.up_to) for each in self._distincts]),
            _array(_CColumn, [self._column(*each) for each in zip(entity.columns, entity.places, strict=True)]),
            (ctypes.c_int32 * len(self._kept))(*self._kept),
        )
        self._plan = _CPlan(
            *map(ctypes.addressof, self._parts),
            keep=entity.keep_us,
            windows_count=len(self._windows),
            lanes_count=len(self._lanes),
            distincts_count=len(self._distincts),
            columns_count=len(entity.columns),
            kept_count=len(self._kept),
            timed=any(each.kind in TIMED for each in entity.columns),
            numbers=len(entity.numbers),
            texts=len(entity.texts),
            up_to=max((each.up_to for each in self._distincts), default=0),
        )
        self.address = ctypes.addressof(self._plan)

    def _window(self, window_us: int) -> tuple[float, ...]:
        places = [place for place, lane in enumerate(self._lanes) if lane.window_us == window_us]
        return *_cells(window_us), places[0], places[-1] + 1

    def _column(self, column: HistoryColumn, place: int) -> tuple[float, ...]:
        of, lanes = 0, [self._lanes.index(lane) for lane in _lanes(column)][1:]
        match column.kind:
            case Kind.DISTINCT:
                of = self._distincts.index(_distinct(column))
            case Kind.LAST:
                of = self._kept.index(column.number)
            case kind if kind in WINDOWED:
                of = self._windows.index(column.window_us)
        first, second, *_ = (*lanes, 0, 0)
        places = self._entity.numbers[column.number].places if column.number >= 0 else 0
        unit = column.unit_us if column.kind is Kind.SINCE_LAST else 10**places
        return column.kind, place, of, first, second, 0, unit, column.empty


def _lanes(column: HistoryColumn) -> list[_Lane]:
    """The lanes that a column reads, the count first."""
    if column.kind not in WINDOWED:
        return []
    numbers = [_Lane(column.window_us, what, column.number) for what in LANES.get(column.kind, ())]
    return [_Lane(column.window_us, OF_COUNT, 0), *numbers]


def _distinct(column: HistoryColumn) -> _Distinct:
    return _Distinct(column.window_us, column.text, column.up_to)


def _cells(window_us: int) -> tuple[int, int, float]:
    """The cell of a time t is t * times / per, rounded down: smaller numbers than 60 and the window's length."""
    common = gcd(CELLS, window_us)
    return CELLS // common, window_us // common, common / window_us


def _array(struct: Any, items: Sequence[tuple[float, ...]]) -> Any:
    return (struct * len(items))(*(struct(*item) for item in items))
