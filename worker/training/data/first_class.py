"""Writes a first transaction class from the columns of a file, for a team to edit."""

import keyword
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from riskline.shared.domain.transaction import BESIDE, TransactionModel
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.csv_files import lines_problem, separator_of
from riskline.worker.training.data.dataset import ENDINGS
from riskline.worker.training.data.labelled import DEFAULT_LABEL, truth_of

SAMPLE_ROWS = 100_000
"""The rows of the file's beginning from which types, bounds and categories are taken."""

MOST_CATEGORIES = 30
"""A text with more different values is no column: names, cards and addresses mean something only by their history."""

MOST_COLUMNS_OF_ONE = 8
"""A text with so few values becomes a column for each; one with more a number for each."""

LONGEST_CATEGORY = 60

CODE = re.compile(r"(?:^|_)(?:code|mcc|category|type|zip|postcode|bin|id)\d*$", re.IGNORECASE)
"""The end of a name whose whole numbers are codes."""

ROW_NUMBERS = ("", "index", "Unnamed: 0")
"""The names of a column of row numbers, as pandas writes it."""

SMALL_CODES = 1_000_000
"""A larger whole number is taken for an identifier, not for a code."""


class Written(NamedTuple):
    """The class as a module's text, and what the person who edits it must know."""

    source: str
    notes: list[str]


class _Field(NamedTuple):
    """A field's annotation and its arguments."""

    annotation: str
    arguments: dict[str, Any]


def from_rows(path: Path, *, label: str | None, name: str, id_column: str | None = None) -> Written:
    """A class for the rows of a file: bounds by their numbers, categories by their texts, examples of a fraud.

    Raises:
        DatasetError: the file cannot be read, or has no such label.
    """
    frame = _beginning(path)
    if label is None and DEFAULT_LABEL in frame.columns:
        label = DEFAULT_LABEL
    if label is not None and label not in frame.columns:
        raise DatasetError(f"{path} has no column {label}; it has {', '.join(frame.columns)}")
    if id_column is not None and id_column not in frame.columns:
        raise DatasetError(f"{path} has no column {id_column}; it has {', '.join(frame.columns)}")
    fields: dict[str, _Field] = {}
    renamed = {} if id_column in (None, TransactionModel.ID_FIELD) else {id_column: TransactionModel.ID_FIELD}
    notes = [] if label is not None else ["no --label was named: take the field of the label out"]
    example = _example(frame, label)
    for column in frame.columns:
        if column in (TransactionModel.ID_FIELD, id_column, label):
            continue
        found = _field(frame[column], example[column])
        if isinstance(found, str):
            notes.append(f"{column or 'the column without a name'} is left out: {found}")
            continue
        given = _identifier(column, fields)
        if given != column:
            renamed[column] = given
        missing = frame[column].null_count()
        if missing:
            notes.append(f"{column} is missing in {missing:,} of {frame.height:,} rows, which are refused: fill it")
        fields[given] = found
    if not fields:
        raise DatasetError(f"{path} has no column that can be a field: {'; '.join(notes)}")
    return Written(_module(name, fields, f"A row of {path.name}.", renamed), notes)


def from_names(names: Sequence[str], *, of: str, name: str) -> Written:
    """A class for the columns of a model, of which nothing is known but the names."""
    fields: dict[str, _Field] = {}
    renamed: dict[str, str] = {}
    notes = ["give each field its type, its bounds and an example: the model tells only their names"]
    for column in names:
        given = _identifier(column, fields)
        if given != column:
            renamed[column] = given
        fields[given] = _Field("float", {"examples": [0.0]})
    return Written(_module(name, fields, f"The columns of {of}.", renamed), notes)


def _beginning(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file")
    if not path.name.endswith(ENDINGS):
        raise DatasetError(f"{path}: the name must end in {', '.join(ENDINGS)}")
    try:
        if path.name.endswith(".parquet"):
            return pl.scan_parquet(path).head(SAMPLE_ROWS).collect()
        if path.name.endswith(".ndjson"):
            with path.open("rb") as file:
                problem = lines_problem(path, file.readline())
            if problem is not None:
                raise DatasetError(problem)
            return pl.scan_ndjson(path, infer_schema_length=SAMPLE_ROWS).head(SAMPLE_ROWS).collect()
        separator = separator_of(path, (), (TransactionModel.ID_FIELD,))
        return pl.read_csv(path, n_rows=SAMPLE_ROWS, infer_schema_length=SAMPLE_ROWS, separator=separator)
    except (PolarsError, OSError, EOFError) as error:
        raise DatasetError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from error


def _example(frame: pl.DataFrame, label: str | None) -> dict[str, Any]:
    """The first fraud without a gap, else the first row without one, else the first row."""
    whole = frame.drop_nulls()
    frauds = [] if label is None else [at for at, cell in enumerate(whole[label]) if truth_of(cell) == 1][:1]
    rows: dict[str, Any] = (whole if whole.height else frame).row(frauds[0] if frauds else 0, named=True)
    return rows


def _field(column: pl.Series, example: Any) -> _Field | str:
    """The field of a column, or why it is none."""
    values, kind = column.drop_nulls(), column.dtype
    if values.is_empty() or not (kind.is_numeric() or kind in (pl.Boolean, pl.String)):
        return "it is empty" if values.is_empty() else f"it is no number and no text ({kind})"
    if kind == pl.Boolean:
        return _Field("bool", {"examples": [bool(example)]})
    if kind == pl.String:
        return _text(values, example)
    if kind.is_integer():
        return _whole(column, values, example)
    least = float(values.min())  # type: ignore[arg-type]  # polars cannot say of which type it is
    return _Field("float", {**({"ge": 0} if least >= 0 else {}), "examples": [float(example)]})


def _whole(column: pl.Series, values: pl.Series, example: int) -> _Field | str:
    least, most = int(values.min()), int(values.max())  # type: ignore[arg-type]  # same
    if column.name in ROW_NUMBERS or (CODE.search(column.name) and most > SMALL_CODES):
        return "it tells rows or cards apart, which is no column of a model"
    if (least, most) in ((0, 1), (0, 0), (1, 1)):
        return _Field("int", {"ge": 0, "le": 1, "examples": [example]})
    bounds = {"ge": 0} if least >= 0 else {}
    return _Field("Annotated[int, Nominal]" if CODE.search(column.name) else "int", {**bounds, "examples": [example]})


def _text(values: pl.Series, example: str) -> _Field | str:
    kinds = sorted(values.unique().to_list())
    if len(kinds) > MOST_CATEGORIES:
        return f"it is a text of {len(kinds):,} values: what a model may see of it is for a column of history"
    # a category is a part of its column's name
    plain = all(len(kind) <= LONGEST_CATEGORY and kind.isprintable() for kind in kinds)
    if plain and len(kinds) <= MOST_COLUMNS_OF_ONE:
        return _Field(
            f"Annotated[str, OneHot({', '.join(map(_quoted, kinds))}, others_as_zeros=True)]", {"examples": [example]}
        )
    codes = ", ".join(f"{_quoted(kind)}: {number}" for number, kind in enumerate(kinds))
    return _Field(f"Annotated[str, Encoded({{{codes}}}, other={len(kinds)})]", {"examples": [example]})


def _identifier(column: str, taken: dict[str, _Field]) -> str:
    """The column's own name where a field can have it, else one made of it."""
    made = column if column.isidentifier() and column.isascii() else re.sub(r"\W+", "_", column.lower(), flags=re.ASCII)
    made = made.strip("_") or "field"
    if made[0].isdigit():
        made = f"field_{made}"
    if keyword.iskeyword(made) or hasattr(TransactionModel, made) or made in (BESIDE, TransactionModel.ID_FIELD):
        made = f"{made}_"
    while made in taken:
        made = f"{made}_"
    return made


def _module(name: str, fields: dict[str, _Field], what: str, renamed: dict[str, str]) -> str:
    return "\n".join(_lines(name, fields, what, renamed)) + "\n"


def _lines(name: str, fields: dict[str, _Field], what: str, renamed: dict[str, str]) -> Iterator[str]:
    annotations = " ".join(field.annotation for field in fields.values())
    yield '"""The transaction class, as `riskline class` wrote it: a beginning, to be edited."""'
    yield ""
    typing = ["Annotated"] * ("Annotated" in annotations) + ["ClassVar"] * bool(renamed)
    if typing:
        yield from (f"from typing import {', '.join(typing)}", "")
    used = [each for each in ("Encoded", "Nominal", "OneHot") if re.search(rf"\b{each}\b", annotations)]
    yield from ("from pydantic import Field", "", f"from riskline import {', '.join([*used, 'TransactionModel'])}")
    told = re.sub(r"[^\w. -]", "_", what)
    yield from ("", "", f"class {name}(TransactionModel):", f'    """{told}"""', "")
    if renamed:
        pairs = (f"        {_quoted(column)}: {_quoted(field)}," for column, field in renamed.items())
        yield from ("    FILE_COLUMNS: ClassVar[dict[str, str]] = {", *pairs, "    }", "")
    for given, field in fields.items():
        arguments = ", ".join(f"{argument}={_shown(value)}" for argument, value in field.arguments.items())
        yield f"    {given}: {field.annotation} = Field({arguments})"


def _shown(value: Any) -> str:
    return f"[{', '.join(map(_shown, value))}]" if isinstance(value, list) else _quoted(value)


def _quoted(value: Any) -> str:
    """As Python writes it, with double quotes where that is possible."""
    shown = repr(value)
    return f'"{shown[1:-1]}"' if isinstance(value, str) and shown[0] == "'" and '"' not in shown else shown
