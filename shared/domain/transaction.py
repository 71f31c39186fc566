"""The card transaction: the one definition for validation, feature order, OpenAPI and training.

A team that has other columns subclasses `TransactionModel` and names its class in `RISKLINE_TRANSACTION`.
No other file names a field.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema, from_json, to_json

from riskline.shared.domain.columns import Layout, computed, derive, layout, needs_computing, raised_by_class
from riskline.shared.domain.features import Columns, Nominal
from riskline.shared.domain.history.declared import declared, naming_columns, take_columns
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.schema_notes import add_notes
from riskline.shared.domain.wrong_fields import MOST_LISTED

TRANSACTION_ID_PATTERN = r"^(?:\.{0,2}[A-Za-z0-9_~:-]|\.{3})[A-Za-z0-9._~:-]*$"
"""Not `.` and `..`: URLs resolve them as path segments (RFC 3986, 5.2.4), so such a transaction could not be read."""
MOST_ID_CHARACTERS = 128

TransactionId = Annotated[
    str,
    Field(
        pattern=TRANSACTION_ID_PATTERN,
        max_length=MOST_ID_CHARACTERS,
        description="Chosen by the client and unique: the same id with the same body is the same transaction. Up to "
        "128 of A-Z a-z 0-9 . _ ~ : -, but neither . nor .. alone.",
        examples=["TXN-99827364"],
    ),
]


BESIDE = "callback_url"
"""A submission's member beside the transaction's; no field may have this name."""


NATIVE = (int, float, bool, str)
"""The types that are the same in JSON and in Python."""

KEPT = "_columns"
"""The attribute with the columns computed in validation; pydantic ignores it, since it is no field."""

PARTS = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
"""What pydantic keeps beside a model's fields."""

LACKS = "lacks_history"
"""The attribute by which a transaction with its history differs from its class."""

ORDER = "history_order"
"""The attribute that says when the entities of a transaction with its history observed it."""


class TransactionModel(BaseModel):
    """A frozen, strictly typed transaction; a subclass adds the features, in their order.

    Each field but `transaction_id` is a column of the model's input: an int, a float or a bool, or a str with an
    encoding. The other markers for columns are in `riskline.shared.domain.features`.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    transaction_id: TransactionId

    ID_FIELD: ClassVar[str] = "transaction_id"

    FILE_COLUMNS: ClassVar[Mapping[str, str]] = {}
    """The fields of columns that have other names in files and in model files, such as `{"Amount (USD)": "price"}`."""

    lacks_history: ClassVar[bool] = False
    """True of a transaction whose columns of history are not known (yet): it is without them until `with_history`."""

    history_order: ClassVar[tuple[int | None, ...]] = ()
    """By entity, which of its events the transaction was, from 1; empty where that is not known."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Computes the columns as the last step of validation where they may turn out not to be numbers."""
        take_columns(cls)
        cls.lacks_history = bool(declared(cls).columns)
        schema = handler(source)
        if needs_computing(cls):
            _compute_last(handler.resolve_ref_schema(schema))
        return schema

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Says in descriptions what clients must know and JSON Schema cannot say."""
        described = handler(schema)
        add_notes(cls, handler.resolve_ref_schema(described))
        return described

    @classmethod
    def feature_names(cls) -> tuple[str, ...]:
        """The names of the columns, in the order of the model's input: those of the fields, then the derived ones.

        The columns of history stand where the class declares them, among the fields.
        """
        return _layout(cls).columns

    @classmethod
    def twin_feature_names(cls) -> tuple[str, ...]:
        """The names of the columns that are known without history: what a model works with when the history is away."""
        return _twin_layout(cls).columns

    @classmethod
    def nominal_features(cls) -> frozenset[str]:
        """The columns whose size means nothing: flags, codes and categories."""
        return _layout(cls).nominal

    def features(self) -> Columns:
        """The feature vector: one number a column, in the order of `feature_names`.

        Of a transaction that lacks history in the order of `twin_feature_names`.
        """
        values: Columns = _getter(type(self))(self)
        return values

    def with_history(self, values: Sequence[float], order: tuple[int | None, ...] = ()) -> Self:
        """A copy that has its columns of history as attributes, given in the order of `history_of(cls).columns`.

        `order` becomes `history_order`.

        Raises:
            pydantic.ValidationError: a derived feature makes no number of them.
        """
        merging = _merging(type(self))
        known = self.features() if self.lacks_history else computed(self, merging.twin)
        typed = [kind(value) for value, kind in zip(values, merging.kinds, strict=True)]
        made = type(self).__new__(type(self))
        attributes = made.__dict__
        attributes.update(self.__dict__)
        attributes.update(zip(merging.names, typed, strict=True))
        attributes[LACKS], attributes[ORDER] = False, order
        for name in PARTS:
            object.__setattr__(made, name, getattr(self, name))
        attributes[KEPT] = merging.in_order((*known, *typed, *derive(made, merging.later)))
        return made

    def history_values(self) -> dict[str, float]:
        """The columns of history by name, each an int or a float; nothing where it has none."""
        if self.lacks_history:
            return {}
        # a plus makes an int of a bool
        return {name: +self.__dict__[name] for name in declared(type(self)).columns}

    def shown_values(self) -> tuple[float | str, ...]:
        """For each column the value to show a person: the number, or the text that it encodes."""
        texts = _layout_of(self).texts
        values = self.features()
        if not texts:
            return values
        shown: list[float | str] = list(values)
        for at, name in texts:
            shown[at] = getattr(self, name)
        return tuple(shown)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Builds a transaction from JSON.

        A number with an integral value is an integer (24.0 is 24, as JSON Schema has it), whatever its spelling.

        Raises:
            pydantic.ValidationError: with all the fields that are wrong, or one error of type `json_invalid`.
        """
        try:
            built: Self = cls.__pydantic_validator__.validate_json(body)
        except ValidationError as refused:
            return cls._mend(from_json, body, refused)
        except MemoryError:
            raise
        except Exception as error:
            raise raised_by_class(cls, error) from error
        return built

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """Builds a transaction from a mapping of Python values, by the same rules as `parse`."""
        # the body of parse again: one that both call would make parse a sixth slower
        try:
            built: Self = _row_validator(cls)(row)
        except ValidationError as refused:
            return cls._mend(dict, row, refused)
        except MemoryError:
            raise
        except Exception as error:
            raise raised_by_class(cls, error) from error
        return built

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]]) -> list[Self]:
        """Builds many in one call, in half the time of as many calls; gives up at the first wrong one."""
        validator = many(cls)
        built: Any = validator.validate_python(rows) if _is_native(cls) else validator.validate_json(to_json(rows))
        return list(built)

    @classmethod
    def _mend(cls, load: Callable[[Any], Any], source: Any, refused: ValidationError) -> Self:
        """Builds it after all where nothing but the spelling of integers was wrong; else says what is."""
        try:
            return cls._parse_again(load, source, refused)
        except ValidationError as error:
            raise naming_columns(error, declared(cls).columns) from None

    @classmethod
    def _parse_again(cls, load: Callable[[Any], Any], source: Any, refused: ValidationError) -> Self:
        if refused.error_count() > max(MOST_LISTED, len(cls.model_fields)):
            # not all values belong to fields of the class; other errors stay
            raise refused
        integral = [error for error in refused.errors(include_url=False) if _is_integral_float(error)]
        if not integral:
            raise refused
        try:
            data = _with_integers(load(source), integral)
            built: Self | None = None if data is None else _row_validator(cls)(data)
        except (ValidationError, MemoryError):
            raise
        except Exception as error:
            raise raised_by_class(cls, error) from error
        if built is None:
            raise refused
        return built

    def to_json(self) -> bytes:
        """The transaction as one JSON object."""
        return self.__pydantic_serializer__.to_json(self)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with other values where they are given; see pydantic."""
        copied = super().model_copy(update=update, deep=deep)
        # another transaction has another history
        for name in (KEPT, LACKS, ORDER, *declared(type(self)).columns) if update else ():
            copied.__dict__.pop(name, None)
        return copied


def _is_integral_float(error: ErrorDetails) -> bool:
    value = error["input"]
    return error["type"] == "int_type" and len(error["loc"]) == 1 and isinstance(value, float) and value.is_integer()


def _with_integers(data: Any, errors: list[ErrorDetails]) -> dict[str, Any] | None:
    """The data with whole numbers as integers; None where a team's validator replaced the data."""
    if not isinstance(data, dict) or any(error["loc"][0] not in data for error in errors):
        return None
    return {**data, **{str(error["loc"][0]): int(error["input"]) for error in errors}}


@cache
def _layout(cls: type[TransactionModel]) -> Layout:
    return layout(cls, cls.ID_FIELD)


@cache
def _twin_layout(cls: type[TransactionModel]) -> Layout:
    return layout(cls, cls.ID_FIELD, with_history=False) if declared(cls).columns else _layout(cls)


def _layout_of(transaction: TransactionModel) -> Layout:
    cls = type(transaction)
    return _twin_layout(cls) if transaction.lacks_history else _layout(cls)


class _Merging(NamedTuple):
    """How the columns known without history, those of history, and the derived ones that use them become one vector."""

    twin: Layout
    names: tuple[str, ...]
    kinds: tuple[Callable[[float], float], ...]
    """The types that the class gives the columns of history."""
    later: dict[str, Callable[[Any], Any]]
    in_order: Callable[[Columns], Columns]


@cache
def _merging(cls: type[TransactionModel]) -> _Merging:
    history, full, twin = history_of(cls), _layout(cls), _twin_layout(cls)
    names = () if history is None else history.names
    kinds: list[Any] = [declared(cls).columns[name].annotation for name in names]
    later = {name: method for name, method in full.derived.items() if name not in twin.derived}
    place = {name: at for at, name in enumerate((*twin.columns, *names, *later))}
    order = [place[name] for name in full.columns]
    in_order = itemgetter(*order) if len(order) > 1 else tuple
    return _Merging(twin, names, tuple(kinds), later, in_order)


@cache
def _is_native(cls: type[TransactionModel]) -> bool:
    return all(field.annotation in NATIVE for field in cls.model_fields.values())


@cache
def _row_validator(cls: type[TransactionModel]) -> Callable[[Mapping[str, Any]], Any]:
    validator = cls.__pydantic_validator__
    # a date is a text in JSON, and strictly none in Python
    return validator.validate_python if _is_native(cls) else lambda row: validator.validate_json(to_json(row))


@cache
def _getter(cls: type[TransactionModel]) -> Callable[[TransactionModel], Columns]:
    laid = _layout(cls)
    if not needs_computing(cls):
        return laid.of_fields

    def get(transaction: TransactionModel) -> Columns:
        kept: Columns | None = transaction.__dict__.get(KEPT)
        return computed(transaction, _layout_of(transaction)) if kept is None else kept

    return get


def _compute_last(schema: Any) -> None:
    """Wraps the model's schema in the computation of the columns, under the model's own reference."""
    if schema["type"] != "function-after" or schema["function"]["function"] is not _keep:
        inner: Any = dict(schema)
        outer = core_schema.no_info_after_validator_function(_keep, inner, ref=inner.pop("ref"))
        schema.clear()
        schema.update(outer)


def _keep(transaction: TransactionModel) -> TransactionModel:
    # as functools.cached_property does in a frozen model
    transaction.__dict__[KEPT] = computed(transaction, _layout_of(transaction))
    return transaction


class Transaction(TransactionModel):
    """A card transaction with the built-in model's features."""

    amount: float = Field(gt=0, description="Amount in the card's currency.", examples=[4500.0])
    merchant_category_code: Annotated[int, Nominal] = Field(
        ge=1, le=9999, description="Merchant category code (ISO 18245).", examples=[5942]
    )
    customer_age: int = Field(ge=18, le=130, description="Age of the customer in years.", examples=[24])
    distance_from_home: float = Field(
        ge=0, description="Distance from the customer's home, in the unit the model was trained on.", examples=[1250.5]
    )
    is_online_transaction: int = Field(ge=0, le=1, description="1 if online, 0 if in a store.", examples=[1])


@cache
def many(transaction_class: type[TransactionModel]) -> TypeAdapter[list[TransactionModel]]:
    """Validates many transactions in one call, in half the time of as many calls; gives up at the first wrong one."""
    return TypeAdapter(Annotated[list[transaction_class], FailFast()])  # type: ignore[arg-type, valid-type]  # made at run time
