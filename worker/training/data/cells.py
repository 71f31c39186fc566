"""Converts a column's cells to values of their field; text cells are read like JSON."""

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
"""The spellings of yes and no in a cell."""

FLOATS = (pl.Float32, pl.Float64)


def cells_of(column: pl.Series, field: FieldInfo) -> Cells:
    """The column in its field's type; a cell that cannot be converted stays as it is, for the error message."""
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
    """Integers to the last digit, which a float cannot hold."""
    exact = column.cast(pl.Int64, strict=False) if column.dtype == pl.String else column.clear(len(column))
    if exact.null_count() == column.null_count():
        return _packed(exact)
    floats = column.cast(pl.Float64, strict=False)
    whole = floats.cast(pl.Int64, strict=False)
    integral = pl.select(pl.when(whole.cast(pl.Float64) == floats).then(whole)).to_series()
    return _first(exact.cast(pl.Int64).fill_null(integral), floats, column)


def _first(*readings: pl.Series) -> Cells:
    """The first successful reading of each cell; the last reading is the cell itself."""
    if readings[0].null_count() == readings[-1].null_count():
        return _packed(readings[0])
    rows = zip(*(each.to_list() for each in readings), strict=True)
    return [next((each for each in row if each is not None), None) for row in rows]


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types and literal values that a field takes besides None."""
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
    """The text where the field takes text; else, for numbers, lists and objects, its JSON value."""
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
