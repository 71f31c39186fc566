"""Riskline puts a team's own fraud model into production.

What a team's own code needs is here; every other module is private and may change with any release. Names are imported
when they are first used, so that the command line starts without pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from riskline.shared.domain.class_check import check_class
    from riskline.shared.domain.features import Encoded, InputOnly, Nominal, OneHot, feature
    from riskline.shared.domain.history.markers import (
        Count,
        Distinct,
        Entity,
        EventTime,
        Exact,
        Largest,
        Last,
        Mean,
        Seen,
        SinceLast,
        Smallest,
        Spread,
        Total,
    )
    from riskline.shared.domain.transaction import Transaction, TransactionModel
    from riskline.shared.errors import RisklineError, SettingsError

__all__ = [
    "Count",
    "Distinct",
    "Encoded",
    "Entity",
    "EventTime",
    "Exact",
    "InputOnly",
    "Largest",
    "Last",
    "Mean",
    "Nominal",
    "OneHot",
    "RisklineError",
    "Seen",
    "SettingsError",
    "SinceLast",
    "Smallest",
    "Spread",
    "Total",
    "Transaction",
    "TransactionModel",
    "check_class",
    "feature",
]

_MODULES = {
    "riskline.shared.domain.features": ("Encoded", "InputOnly", "Nominal", "OneHot", "feature"),
    "riskline.shared.domain.history.markers": (
        "Count",
        "Distinct",
        "Entity",
        "EventTime",
        "Exact",
        "Largest",
        "Last",
        "Mean",
        "Seen",
        "SinceLast",
        "Smallest",
        "Spread",
        "Total",
    ),
    "riskline.shared.domain.class_check": ("check_class",),
    "riskline.shared.domain.transaction": ("Transaction", "TransactionModel"),
    "riskline.shared.errors": ("RisklineError", "SettingsError"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'riskline' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
