"""A finding of `riskline doctor`, and how serious it is."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis."""

    check: str
    verdict: Verdict
    detail: str
