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

EPOCH, LOST, ACCEPTED = "epoch", "lost", "accepted"
"""A text that is drawn when the history begins, by which its end is seen; when that was seen, in microseconds; and the
epoch that is used though what came before it was lost."""

WAS_LOST = (
    "it was emptied, came back without its file, or another Redis answers: `riskline history backfill` gives it the "
    "past of a file, `riskline history accept-loss` uses it as it is"
)

TRY_US, SILENCE_US = 86_400_000_000, 7 * 86_400_000_000
"""Where no more than a day was observed, and then nothing for longer than a week and than the columns look back, that
was a try, with the time of an example: live transactions begin anew. What was before is in no window any more, so that
it makes no difference where a backfill counts it twice."""

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
        mark = marks.get(plan.fingerprint, Mark(plan.name))
        to_us = max(times_us) if mark.live_to_us is None else max(mark.live_to_us, *times_us)
        fields[f"{plan.fingerprint}:{LIVE_TO}"] = str(to_us)
        tried_until = _tried_until(plan, mark)
        if tried_until is not None and to_us > tried_until:
            fields[f"{plan.fingerprint}:{LIVE_FROM}"] = str(min(each for each in times_us if each > tried_until))
    return fields


def _tried_until(plan: EntityPlan, mark: Mark) -> int | None:
    """The time after which what was observed so far was a try; None where it is the service's."""
    if mark.live_from_us is None or mark.live_to_us is None or mark.live_to_us - mark.live_from_us > TRY_US:
        return None
    return mark.live_to_us + max(plan.reach_us, SILENCE_US)


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
