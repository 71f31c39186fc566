"""The values that no history can be made of, though their types are right."""

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.markers import MOST_UNITS

YEARS = (1900, 2200)
"""Event times before and after are mistakes, and no cell has a number for them."""

Wrong = Callable[[Any], list[tuple[str, str]]]
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
    time_field = history.time_field
    get_time = attrgetter(time_field)
    names = {number.field for plan in history.entities for number in plan.numbers}
    integers = [(name, attrgetter(name)) for name in names if cls.model_fields[name].annotation is int]

    def wrong(transaction: Any) -> list[tuple[str, str]]:
        moment: datetime = get_time(transaction)
        found = [] if YEARS[0] <= moment.year < YEARS[1] else [(OUT_OF_TIME, time_field)]
        for name, get in integers:
            if abs(get(transaction)) > MOST_UNITS:
                found.append((TOO_LARGE, name))
        return found

    return wrong
