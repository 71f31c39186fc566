"""What a card transaction is: the one definition from which validation, feature order, OpenAPI and training derive.

A team that has other columns subclasses `TransactionModel` and names its class in `RISKLINE_TRANSACTION`.
No other file names a field.
"""

from functools import cache
from importlib import import_module
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from shared.errors import SettingsError

TRANSACTION_ID_PATTERN = r"^[A-Za-z0-9._~:-]{1,128}$"

TransactionId = Annotated[
    str,
    Field(
        pattern=TRANSACTION_ID_PATTERN,
        description="Chosen by the client and unique: the same id with the same body is the same transaction.",
        examples=["TXN-99827364"],
    ),
]


BESIDE = "callback_url"
"""What a submission may have beside its transaction; the name of no field."""


class TransactionModel(BaseModel):
    """A frozen, strictly typed transaction; the fields that a subclass adds are its features, in their order.

    Every field but `transaction_id` must be a number (int, float or bool): each is one column of the model's input.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    transaction_id: TransactionId

    ID_FIELD: ClassVar[str] = "transaction_id"

    @classmethod
    def feature_names(cls) -> tuple[str, ...]:
        """The names of the features, in the order of the model's input."""
        return tuple(name for name in cls.model_fields if name != cls.ID_FIELD)

    def features(self) -> tuple[float, ...]:
        """The feature vector: one number a feature, in the order of `feature_names`."""
        values: tuple[float, ...] = _feature_getter(type(self))(self)
        return values

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
            return cls._parse_again(from_json, body, refused)
        return built

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """Builds a transaction from a mapping of Python values, by the same rules as `parse`."""
        try:
            built: Self = cls.__pydantic_validator__.validate_python(row)
        except ValidationError as refused:
            return cls._parse_again(dict, row, refused)
        return built

    @classmethod
    def _parse_again(cls, load: Any, source: Any, refused: ValidationError) -> Self:
        integral = [error for error in refused.errors(include_url=False) if _is_integral_float(error)]
        if not integral:
            raise refused
        data = load(source)
        for error in integral:
            data[error["loc"][0]] = int(error["input"])
        built: Self = cls.__pydantic_validator__.validate_python(data)
        return built

    def to_json(self) -> bytes:
        """The transaction as one JSON object."""
        return self.__pydantic_serializer__.to_json(self)


def _is_integral_float(error: ErrorDetails) -> bool:
    value = error["input"]
    return error["type"] == "int_type" and len(error["loc"]) == 1 and isinstance(value, float) and value.is_integer()


@cache
def _feature_getter(cls: type[TransactionModel]) -> Any:
    names = cls.feature_names()
    if len(names) > 1:
        return attrgetter(*names)
    return lambda transaction: (getattr(transaction, names[0]),)


class Transaction(TransactionModel):
    """A card transaction as the built-in model reads it."""

    amount: float = Field(gt=0, description="Amount in the card's currency.", examples=[4500.0])
    merchant_category_code: int = Field(
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


def load_transaction_class(path: str) -> type[TransactionModel]:
    """The transaction class that `package.module:Class` names.

    Raises:
        SettingsError: there is no such class, or it is not a TransactionModel with at least one numeric field.
    """
    module_name, _, class_name = path.partition(":")
    try:
        found = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"RISKLINE_TRANSACTION={path!r} cannot be imported ({error}); "
            "write it as package.module:Class (default shared.transaction:Transaction)"
        ) from error
    if not (isinstance(found, type) and issubclass(found, TransactionModel)):
        raise SettingsError(f"RISKLINE_TRANSACTION={path!r} is not a subclass of shared.transaction.TransactionModel")
    for name, field in found.model_fields.items():
        if BESIDE in (name, field.alias, field.validation_alias):
            raise SettingsError(
                f"RISKLINE_TRANSACTION={path!r}: the name {BESIDE} is taken: it says where a decision is to be sent"
            )
    for name in found.feature_names():
        if found.model_fields[name].annotation not in (int, float, bool):
            raise SettingsError(f"RISKLINE_TRANSACTION={path!r}: field {name} must be an int, a float or a bool")
    if not found.feature_names():
        raise SettingsError(f"RISKLINE_TRANSACTION={path!r} has no field besides transaction_id")
    return found
