"""Transaction classes that a team might bring, named in RISKLINE_TRANSACTION by tests of several processes."""

import os
import signal
import time
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from riskline.shared.domain.transaction import Transaction

UNLUCKY_AGE = 113
RAISING_AGE = 114


class Consistent(Transaction):
    """Has a rule over two fields."""

    @model_validator(mode="after")
    def _online_is_at_home(self) -> Self:
        if self.is_online_transaction and self.distance_from_home > 1000:
            raise ValueError(f"online, but {self.distance_from_home} from home")
        return self


class Broken(Transaction):
    """Has a mistake that is no verdict on the row."""

    @field_validator("customer_age")
    @classmethod
    def _fails(cls, age: int) -> int:
        if age == UNLUCKY_AGE:
            raise RuntimeError("no such table")
        return age


class Doomed(Transaction):
    """Takes its process with it, as the system does where memory runs out."""

    @field_validator("customer_age")
    @classmethod
    def _kills(cls, age: int) -> int:
        if age == UNLUCKY_AGE:
            os.kill(os.getpid(), signal.SIGKILL)
        return age


class Slow(Transaction):
    """Takes long enough for a test to come between, and says that it has begun; it has no example to begin with."""

    customer_age: int = Field(ge=18, le=130)

    @field_validator("customer_age")
    @classmethod
    def _waits(cls, age: int) -> int:
        Path(os.environ["BEGUN"]).touch()
        time.sleep(0.1)
        return age


class Poisonous(Transaction):
    """Is validated like any other, and does harm once it is to be scored."""

    def features(self) -> tuple[float, ...]:
        if self.customer_age == UNLUCKY_AGE:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.customer_age == RAISING_AGE:
            raise RuntimeError("no such table")
        return super().features()


class Talkative(Transaction):
    """Puts values into what it raises, as most code does."""

    @field_validator("customer_age")
    @classmethod
    def _fails(cls, age: int, info: ValidationInfo) -> int:
        if age == UNLUCKY_AGE:
            raise RuntimeError(f"no row for {info.data}")
        return age

    def features(self) -> tuple[float, ...]:
        if self.customer_age == RAISING_AGE:
            raise KeyError(self.model_dump_json())
        return super().features()
