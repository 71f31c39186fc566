from itertools import product

import pytest

from riskline.shared.domain.lifecycle import TRANSITIONS, Event, Status, next_status
from riskline.shared.errors import LifecycleError

ALLOWED = {
    (None, Event.SUBMIT): Status.QUEUED,
    (None, Event.DECIDE): Status.SCORED,
    (Status.QUEUED, Event.DECIDE): Status.SCORED,
    (Status.QUEUED, Event.FAIL): Status.FAILED,
    (Status.FAILED, Event.REPLAY): Status.QUEUED,
    (Status.SCORED, Event.ERASE): Status.ERASED,
    (Status.FAILED, Event.ERASE): Status.ERASED,
    (Status.ERASED, Event.ERASE): Status.ERASED,
}


@pytest.mark.parametrize(("status", "event"), list(product([None, *Status], Event)))
def test_only_what_the_table_allows_changes_a_status(status: Status | None, event: Event) -> None:
    if (status, event) in ALLOWED:
        assert next_status(status, event) is ALLOWED[status, event]
    else:
        with pytest.raises(LifecycleError, match=f"{status or 'new'} cannot {event}"):
            next_status(status, event)


def test_every_status_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == {None, *Status}
