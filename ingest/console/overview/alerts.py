"""The alerts of the overview and the badges of the navigation, from one place."""

from collections.abc import Mapping
from typing import NamedTuple

from riskline.ingest.console.frame.rendering import Badge, number
from riskline.shared.store.status.counts import Counts

FAILED = "/failed"


class Alert(NamedTuple):
    """A problem in words, and the page of the console where it is solved."""

    text: str
    page: str = ""
    link: str = ""
    """The text of the link."""


def badges_of(counts: Counts | None) -> Mapping[str, Badge]:
    """The badge of each page in the navigation; none where the counts are not known."""
    if counts is None or not (counts.failed_now or counts.callbacks_dead_now):
        return {}
    words = f"{number(counts.failed_now)} failed, {number(counts.callbacks_dead_now)} callbacks given up"
    return {FAILED: Badge(counts.failed_now + counts.callbacks_dead_now, words)}


def alerts_of(counts: Counts) -> list[Alert]:
    """The alerts that the counts give reason for."""
    found = [Alert(each) for each in counts.problems()]
    if not counts.workers:
        waiting = f"{_many(counts.undecided, 'transaction')} wait{'s' if counts.undecided == 1 else ''}"
        what = waiting if counts.undecided else "what is submitted to the queue waits"
        found.append(Alert(f"No worker lives, and {what}: start one by “riskline worker”."))
    if counts.nobody_delivers:
        found.append(
            Alert(
                "Callbacks are due, and no worker delivers them: start one by “riskline worker --queue callbacks”.",
                f"{FAILED}#s-retries",
                "Callbacks",
            )
        )
    if counts.receivers_paused:
        waits = "waits" if counts.callbacks_held == 1 else "wait"
        fails = "fails" if counts.receivers_paused == 1 else "fail"
        receivers = f"{_many(counts.receivers_paused, 'receiver')} of callbacks {fails}"
        text = f"{receivers}: {_many(counts.callbacks_held, 'callback')} {waits}, and one is tried now and then."
        found.append(Alert(text, FAILED, "Receivers"))
    if counts.failed_now:
        found.append(Alert(f"{_many(counts.failed_now, 'transaction')} failed.", f"{FAILED}#s-transactions", "See why"))
    if counts.callbacks_dead_now:
        verb = "was" if counts.callbacks_dead_now == 1 else "were"
        text = f"{_many(counts.callbacks_dead_now, 'callback')} {verb} given up."
        found.append(Alert(text, f"{FAILED}#s-callbacks", "See why"))
    return found


def all_well(counts: Counts) -> str:
    """The sentence that stands in place of alerts."""
    waiting = "nothing waits" if not counts.undecided else f"{number(counts.undecided)} waiting"
    return f"All well: {_many(counts.workers, 'worker')}, {waiting}, nothing failed."


def _many(count: int, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"
