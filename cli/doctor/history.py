"""`riskline doctor`: the history that a class's columns are made of, and what decides without it."""

from collections.abc import Iterator

from riskline.cli.doctor.finding import Finding, Verdict
from riskline.cli.models.cold_history import coldness
from riskline.shared.settings import Settings
from riskline.shared.store.history.warmth import WARMED_BY

CHECK = "history"

NO_TWIN = (
    "the model has no twin: while the history is away transactions are answered 503; `riskline train FILE` makes a "
    "version that has one"
)


def check_history(settings: Settings, *, has_twin: bool) -> Iterator[Finding]:
    """Checks that the past that the columns look at is there, and that something decides while it is away."""
    if not has_twin and settings.history == "preferred":
        yield Finding(CHECK, Verdict.WARN, NO_TWIN)
    problem = coldness(settings.data)
    if problem is not None:
        yield Finding(CHECK, Verdict.WARN, f"{problem.text}: {WARMED_BY}" if problem.is_certain else problem.text)
    elif has_twin or settings.history == "required":
        yield Finding(CHECK, Verdict.OK, "warm")
