"""The table of a transaction's states and of what may change them; nothing else decides that.

    (new) --SUBMIT--> queued --DECIDE--> scored
                      queued --FAIL----> failed --REPLAY--> queued

Being claimed by a worker is not a state: it is where a queued transaction happens to lie, and it is undone by a sweep.
"""

from enum import StrEnum

from shared.errors import LifecycleError


class Status(StrEnum):
    """What a client is told about its transaction."""

    QUEUED = "queued"
    SCORED = "scored"
    FAILED = "failed"


class Event(StrEnum):
    """What can happen to a transaction."""

    SUBMIT = "submit"
    DECIDE = "decide"
    FAIL = "fail"
    REPLAY = "replay"


TRANSITIONS: dict[str | None, dict[Event, Status]] = {
    None: {Event.SUBMIT: Status.QUEUED, Event.DECIDE: Status.SCORED},
    Status.QUEUED: {Event.DECIDE: Status.SCORED, Event.FAIL: Status.FAILED},
    Status.SCORED: {},
    Status.FAILED: {Event.REPLAY: Status.QUEUED},
}
"""A transaction that nobody knew (None) is decided at once by the synchronous door."""


def next_status(status: str | None, event: Event) -> Status:
    """The status after an event; a status as a record has it, which is one of Status or None.

    Raises:
        LifecycleError: the event is not allowed in this status.
    """
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise LifecycleError(f"a transaction that is {status or 'new'} cannot {event}") from None
