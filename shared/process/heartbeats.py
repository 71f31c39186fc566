"""The heartbeat of this process: its name, its model version, and when the next one is due."""

import os
import socket
import time
from collections.abc import Callable
from uuid import uuid4

from riskline.shared.clock import utc_now
from riskline.shared.model.serving import Serving
from riskline.shared.store.status.processes import LIFETIME_SECONDS, MAX_PROBLEM, Kind, ProcessState, RecentWork

REPEAT_SECONDS = 3.0
"""Between two equal heartbeats: each is a write that Redis puts on disk. A change is published at once."""

assert REPEAT_SECONDS * 3 < LIFETIME_SECONDS  # noqa: S101  # two may be missed


def process_name() -> str:
    """A unique name, also among later processes with the same process id."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"


class Presence:
    """This process and the model that it serves."""

    def __init__(
        self, *, serving: Serving, process: str, kind: Kind, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.process = process
        self._serving = serving
        self._kind = kind
        self._host = socket.gethostname()
        self._pid = os.getpid()
        self._clock = clock
        self._published: ProcessState | None = None
        self._published_at = clock()
        self._done = (0, 0)
        self._done_before = (0, 0)
        """Transactions and batches: until now, and until the last heartbeat."""

    def add_batch(self, transactions: int) -> None:
        """Counts a decided batch; for one thread only."""
        self._done = (self._done[0] + transactions, self._done[1] + 1)

    def state(self) -> ProcessState:
        """The present state."""
        serving = self._serving
        return ProcessState(
            process=self.process,
            kind=self._kind,
            host=self._host,
            pid=self._pid,
            version=None if serving.model is None else serving.model.version,
            since=serving.since,
            wanted=serving.wanted,
            pinned=serving.pinned,
            problem=serving.problem[:MAX_PROBLEM] or None,
        )

    def state_to_publish(self) -> ProcessState | None:
        """The heartbeat that is due; None where an equal one was published less than REPEAT_SECONDS ago."""
        state = self.state()
        if state == self._published and self._clock() - self._published_at < REPEAT_SECONDS:
            return None
        return state.model_copy(update={"said_at": utc_now(), "lately": self._lately()})

    def _lately(self) -> RecentWork | None:
        if self._kind != "worker":
            return None
        (transactions, batches), (transactions_before, batches_before) = self._done, self._done_before
        return RecentWork(
            seconds=round(self._clock() - self._published_at, 3),
            transactions=transactions - transactions_before,
            batches=batches - batches_before,
        )

    def mark_published(self, state: ProcessState) -> None:
        """Notes that a heartbeat was published."""
        self._published, self._published_at = state.bare, self._clock()
        if state.lately is not None:
            transactions, batches = self._done_before
            self._done_before = (transactions + state.lately.transactions, batches + state.lately.batches)
