"""The cells of a column as the values that their field takes: a text says what JSON would say otherwise."""

from collections.abc import Collection, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import polars as pl
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import from_json

from riskline.shared.domain.columns import NUMBERS
from riskline.worker.training.data.rows import Cells

BOOLEANS = {"true": True, "1": True, 1: True, "false": False, "0": False, 0: False}
"""How a cell says yes or no."""

FLOATS = (pl.Float32, pl.Float64)


def cells_of(column: pl.Series, field: FieldInfo) -> Cells:
    """The column as its field wants it; a cell that cannot be that stays as it is, for the message."""
    if column.dtype.is_decimal():
        column = column.cast(pl.String)
    kinds = list(_kinds(field.annotation))
    if len(kinds) != 1 or kinds[0] not in NUMBERS:
        return _as_json(column, kinds) if column.dtype == pl.String else _packed(column)
    if kinds[0] is bool and (column.dtype == pl.String or column.dtype.is_numeric()):
        spelled = ((cell, cell.lower() if isinstance(cell, str) else cell) for cell in column.to_list())
        return [BOOLEANS.get(said, cell) for cell, said in spelled]
    if kinds[0] is bool or column.dtype not in (pl.String, *FLOATS):
        return _packed(column)
    return _integers(column) if kinds[0] is int else _first(column.cast(pl.Float64, strict=False), column)


def _integers(column: pl.Series) -> Cells:
    """Those that are written as integers to the last digit, which a float does not have."""
    exact = column.cast(pl.Int64, strict=False) if column.dtype == pl.String else column.clear(len(column))
    if exact.null_count() == column.null_count():
        return _packed(exact)
    floats = column.cast(pl.Float64, strict=False)
    whole = floats.cast(pl.Int64, strict=False)
    integral = pl.select(pl.when(whole.cast(pl.Float64) == floats).then(whole)).to_series()
    return _first(exact.cast(pl.Int64).fill_null(integral), floats, column)


def _first(*readings: pl.Series) -> Cells:
    """Of each cell the first reading that there is; the last one is the cell itself."""
    if readings[0].null_count() == readings[-1].null_count():
        return _packed(readings[0])
    rows = zip(*(each.to_list() for each in readings), strict=True)
    return [next((each for each in row if each is not None), None) for row in rows]


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types, and the literal values, that a field takes besides none."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for each in get_args(annotation):
            yield from _kinds(each)
    elif origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin is Literal:
        yield from get_args(annotation)
    elif annotation is not NoneType and annotation is not None:
        yield origin or annotation


def _as_json(column: pl.Series, kinds: list[Any]) -> Cells:
    """Texts where the field takes them; where it takes numbers, lists or objects only, what JSON makes of the text."""
    texts = {each for each in kinds if isinstance(each, str)}
    takes_others = kinds and all(_is_json(each) for each in kinds if each not in texts)
    cells = column.to_list()
    return [cell if cell is None or cell in texts else _read(cell) for cell in cells] if takes_others else cells


def _is_json(kind: Any) -> bool:
    if not isinstance(kind, type):
        return isinstance(kind, NUMBERS)
    return issubclass(kind, (*NUMBERS, BaseModel, Collection)) and not issubclass(kind, str | bytes)


def _read(cell: str) -> Any:
    try:
        return from_json(cell, allow_inf_nan=False)
    except ValueError:
        return cell


def _packed(column: pl.Series) -> Cells:
    if column.dtype in (pl.Float64, pl.Int64) and column.null_count() == 0:
        return column.to_numpy()
    cells: list[Any] = column.to_list()
    return cells
