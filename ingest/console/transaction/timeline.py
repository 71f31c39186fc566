"""The timeline of a transaction, and its values, as its page shows them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from riskline.ingest.console.frame.rendering import moment
from riskline.shared.domain.lifecycle import CallbackStatus, Status
from riskline.shared.store.records import Record


class TimelineEvent(NamedTuple):
    """An event: its time (None where it is not known), its name, and details."""

    at: str | float | None
    what: str
    about: str = ""


def timeline_of(
    record: Record, callback: Mapping[str, Any] | None, *, failed_at: float | None, given_up_at: float | None
) -> list[TimelineEvent]:
    """All that is known, the first that happened first; times as the sorted sets have them, in s."""
    steps = [*_steps(record, callback, failed_at, given_up_at)]
    # by the time as shown: within a second they are already in the order of events
    return sorted(steps, key=lambda step: "~" if step.at is None else moment(step.at))


def _steps(
    record: Record, callback: Mapping[str, Any] | None, failed_at: float | None, given_up_at: float | None
) -> Iterator[TimelineEvent]:
    decision = record.get("decision")
    if decision and decision["scored_at"] == record["submitted_at"]:
        yield TimelineEvent(decision["scored_at"], "decided", f"{decision['action']}, at once: by the synchronous door")
    else:
        yield TimelineEvent(
            record["submitted_at"], "submitted", "" if record["status"] == Status.ERASED else "to the queue"
        )
        if decision:
            yield TimelineEvent(decision["scored_at"], "decided", decision["action"])
    if record["status"] == Status.FAILED:
        yield TimelineEvent(failed_at, "failed", record.get("error", ""))
    for attempt in () if callback is None else callback["attempts"]:
        answer = attempt["error"] if attempt.get("status") is None else f"status {attempt['status']}"
        took = "" if attempt.get("latency_ms") is None else f" after {attempt['latency_ms']:.0f} ms"
        yield TimelineEvent(attempt["at"], "callback tried", f"{answer}{took}")
    if callback is not None and callback["status"] == CallbackStatus.DEAD:
        yield TimelineEvent(given_up_at, "callback given up")
    if "erased_at" in record:
        yield TimelineEvent(record["erased_at"], "erased")


def values_of(transaction: Mapping[str, Any]) -> dict[str, str]:
    """Each field's value as one reads it, or would type it in: nested ones as JSON; nothing for null."""
    return {name: _text(value) for name, value in transaction.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
