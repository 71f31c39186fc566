"""What needs a look, in one place: the badges of the navigation, and what the overview says first."""

from collections.abc import Mapping
from typing import NamedTuple

from riskline.ingest.console.frame.rendering import Badge, number
from riskline.shared.store.status.counts import Counts

FAILED = "/failed"


class Alert(NamedTuple):
    """Something that is not well: what it is, and the page below the console's where it is dealt with."""

    text: str
    page: str = ""
    link: str = ""
    """What the way there is called."""


def badges_of(counts: Counts | None) -> Mapping[str, Badge]:
    """What the navigation says of each page; nothing where Redis does not say."""
    if counts is None or not (counts.failed_now or counts.callbacks_dead_now):
        return {}
    words = f"{number(counts.failed_now)} failed, {number(counts.callbacks_dead_now)} callbacks given up"
    return {FAILED: Badge(counts.failed_now + counts.callbacks_dead_now, words)}


def alerts_of(counts: Counts) -> list[Alert]:
    """What the counts say that somebody has to do something about."""
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
    """What is so where nothing needs a look."""
    waiting = "nothing waits" if not counts.undecided else f"{number(counts.undecided)} waiting"
    return f"All well: {_many(counts.workers, 'worker')}, {waiting}, nothing failed."


def _many(count: int, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"
