"""The marks of a history: one hash for all classes that were ever served, a few fields for each entity."""

from collections.abc import Mapping, Sequence
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

SILENCE_US = 7 * 86_400_000_000
"""Longer than this, and than the columns look back, nothing was observed: then live transactions begin anew. What was
before is in no window any more, so that it makes no difference where a backfill counts it twice."""

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


def live_fields(
    entities: tuple[EntityPlan, ...], marks: Mapping[str, Mark], *, times_us: Sequence[int]
) -> dict[str, str]:
    """What each minute's transactions, of these times, leave beside the marks that are there."""
    fields = {}
    for plan in entities:
        mark = marks.get(plan.fingerprint)
        before_us = None if mark is None else mark.live_to_us
        to_us = max(times_us) if before_us is None else max(before_us, *times_us)
        fields[f"{plan.fingerprint}:{LIVE_TO}"] = str(to_us)
        if before_us is not None and to_us > (silent_until := before_us + max(plan.reach_us, SILENCE_US)):
            # a try with an old time, or a service that was not used: what is between them was not observed
            fields[f"{plan.fingerprint}:{LIVE_FROM}"] = str(min(each for each in times_us if each > silent_until))
    return fields


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
