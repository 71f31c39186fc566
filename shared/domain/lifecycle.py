"""The tables of a transaction's and a callback's states and transitions; no other code decides them.

    (new) --SUBMIT--> queued --DECIDE--> scored
                      queued --FAIL----> failed --REPLAY--> queued
                      scored --ERASE---> erased <--ERASE-- failed

    (new) --ANNOUNCE--> pending --DELIVER--> delivered --REPLAY--> pending
                        pending --RETRY----> pending
                        pending --GIVE_UP--> dead --REPLAY--> pending

Being claimed by a worker is not a state: it is where a queued transaction, or a pending callback, happens to lie, and
it is undone by a sweep, or when its lease is over. A callback of a later event takes the place of the one before.
"""

from enum import StrEnum

from riskline.shared.errors import LifecycleError


class Status(StrEnum):
    """A transaction's status as clients see it."""

    QUEUED = "queued"
    SCORED = "scored"
    FAILED = "failed"
    ERASED = "erased"
    """The values are deleted; the record only says that there was a transaction."""


class Event(StrEnum):
    """An event in a transaction's life."""

    SUBMIT = "submit"
    DECIDE = "decide"
    FAIL = "fail"
    REPLAY = "replay"
    ERASE = "erase"


TRANSITIONS: dict[str | None, dict[Event, Status]] = {
    None: {Event.SUBMIT: Status.QUEUED, Event.DECIDE: Status.SCORED},
    Status.QUEUED: {Event.DECIDE: Status.SCORED, Event.FAIL: Status.FAILED},
    Status.SCORED: {Event.ERASE: Status.ERASED},
    Status.FAILED: {Event.REPLAY: Status.QUEUED, Event.ERASE: Status.ERASED},
    Status.ERASED: {Event.ERASE: Status.ERASED},
}
"""From None, an unknown transaction: the synchronous door decides it at once."""


def next_status(status: str | None, event: Event) -> Status:
    """The status after an event; a status as a record has it, which is one of Status or None.

    Raises:
        LifecycleError: the event is not allowed in this status.
    """
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise LifecycleError(f"a transaction that is {status or 'new'} cannot {event}") from None


class CallbackStatus(StrEnum):
    """A callback's status as clients see it."""

    WAITING = "waiting"
    """The transaction is not decided yet: there is nothing to deliver."""
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class CallbackEvent(StrEnum):
    """An event in a callback's life."""

    ANNOUNCE = "announce"
    DELIVER = "deliver"
    RETRY = "retry"
    GIVE_UP = "give_up"
    REPLAY = "replay"


CALLBACK_TRANSITIONS: dict[str | None, dict[CallbackEvent, CallbackStatus]] = {
    None: {CallbackEvent.ANNOUNCE: CallbackStatus.PENDING},
    CallbackStatus.PENDING: {
        CallbackEvent.DELIVER: CallbackStatus.DELIVERED,
        CallbackEvent.RETRY: CallbackStatus.PENDING,
        CallbackEvent.GIVE_UP: CallbackStatus.DEAD,
    },
    CallbackStatus.DELIVERED: {CallbackEvent.REPLAY: CallbackStatus.PENDING},
    CallbackStatus.DEAD: {CallbackEvent.REPLAY: CallbackStatus.PENDING},
}
