"""The values that no history can be made of, though their types are right."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.markers import MOST_UNITS
from riskline.shared.domain.history.observation import clock

YEARS = (1900, 2200)
"""Event times before and after are mistakes, and no cell has a number for them."""

EARLIEST_US, LATEST_US = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000 for year in YEARS)

Wrong = Callable[[Any], Iterator[tuple[str, str]]]
"""Finds the problems of a transaction: the message, and the field."""

OUT_OF_TIME = f"Input should be a time from {YEARS[0]} to {YEARS[1]}"
TOO_EARLY = "Input should be at most five minutes ahead of the present time"
"""More is a wrong clock or zone. It would make all that follows late."""

TOO_LARGE = f"Input should be at most {MOST_UNITS}, as history counts it"


def wrong_for_history(cls: type[BaseModel]) -> Wrong | None:
    """The check of a class's transactions; None where it has no history."""
    history = history_of(cls)
    if history is None:
        return None
    at_us, time_field = clock(history), history.time_field
    names = {number.field for plan in history.entities for number in plan.numbers}
    integers = [(name, attrgetter(name)) for name in names if cls.model_fields[name].annotation is int]

    def wrong(transaction: Any) -> Iterator[tuple[str, str]]:
        if not EARLIEST_US <= at_us(transaction) <= LATEST_US:
            yield OUT_OF_TIME, time_field
        for name, get in integers:
            if abs(get(transaction)) > MOST_UNITS:
                yield TOO_LARGE, name

    return wrong
