"""The marks of a history: one hash for all classes that were ever served, a few fields for each entity."""

from collections.abc import Mapping
from typing import NamedTuple

from riskline.shared.domain.history.plan import EntityPlan
from riskline.shared.store.history.interface import Mark

SECRET = "secret"  # noqa: S105  # the field's name
NAME, LIVE_FROM, LIVE_TO, BACKFILLED_FROM, BACKFILLED_TO, PROGRESS = (
    "name",
    "live_from",
    "live_to",
    "from",
    "to",
    "progress",
)

EPOCH, LOST = "epoch", "lost"
"""A text that is drawn when the history begins, by which its end is seen; and when that was seen, in microseconds."""

WAS_LOST = (
    "it was emptied, came back without its file, or another Redis answers: `riskline history backfill` gives it the "
    "past of a file, `riskline history accept-loss` uses it as it is"
)

OLDEST_US = -(1 << 63)
"""Before any event time."""

UNKNOWN_HASHES = (
    "what is kept was hashed with another secret: set RISKLINE_HISTORY_SECRET to that one in all API processes, or "
    "forget the history with `riskline history erase --all`"
)


class LiveMark(NamedTuple):
    """A field of the hash that is set once."""

    field: str
    value: str


def live_marks(entities: tuple[EntityPlan, ...], *, at_us: int) -> list[LiveMark]:
    """What the first transaction of a class leaves: its time."""
    marks = []
    for plan in entities:
        marks += [LiveMark(f"{plan.fingerprint}:{NAME}", plan.name)]
        marks += [LiveMark(f"{plan.fingerprint}:{LIVE_FROM}", str(at_us))]
    return marks


def live_fields(entities: tuple[EntityPlan, ...], *, to_us: int) -> dict[str, str]:
    """What each minute's transactions leave."""
    return {f"{plan.fingerprint}:{LIVE_TO}": str(to_us) for plan in entities}


def backfill_fields(plan: EntityPlan, *, from_us: int, to_us: int, progress: str) -> dict[str, str]:
    """What a backfill leaves."""
    values = {NAME: plan.name, BACKFILLED_FROM: str(from_us), BACKFILLED_TO: str(to_us), PROGRESS: progress}
    return {f"{plan.fingerprint}:{name}": value for name, value in values.items()}


def parsed_marks(kept: Mapping[str, str]) -> dict[str, Mark]:
    """The marks by fingerprint, of the whole hash."""
    found: dict[str, dict[str, str]] = {}
    for field, value in kept.items():
        fingerprint, colon, name = field.partition(":")
        if colon:
            found.setdefault(fingerprint, {})[name] = value
    return {fingerprint: _mark(fields) for fingerprint, fields in found.items()}


def _mark(fields: Mapping[str, str]) -> Mark:
    return Mark(
        name=fields.get(NAME, ""),
        live_from_us=_number(fields.get(LIVE_FROM)),
        live_to_us=_number(fields.get(LIVE_TO)),
        backfilled_from_us=_number(fields.get(BACKFILLED_FROM)),
        backfilled_to_us=_number(fields.get(BACKFILLED_TO)),
        progress=fields.get(PROGRESS, ""),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else None
