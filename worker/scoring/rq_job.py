"""An RQ job as a worker takes it: a ticket that says "there is work", or nothing.

Whoever can write to Redis can write a job, and RQ does what is in one: it imports and calls any function by its path,
with arguments, before that those of callbacks, and sends webhooks. So of what Redis has of a job nothing is taken but
its queue, its status and its times; and it is one of ours only where it asks for exactly what a ticket asks for.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from rq.job import Job
from rq.utils import as_text

from riskline.shared.process.jobs import JOBS, TICKET_FAILURE_TTL_SECONDS, TICKET_TIMEOUT_SECONDS

HEEDED = frozenset(
    {"origin", "status", "created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat", "worker_name"}
)
"""What RQ itself has written of the job's way, and needs to go on; none of it names code."""

MOST_BYTES = 1024
"""Of what a job asks for: a ticket's is a tenth of that. Whatever is longer is not even unpacked."""

NOTHING_ASKED = orjson.dumps(["", None, [], {}])


class TicketJob(Job):
    """A job that can do nothing but what the worker gives it to do."""

    run: Callable[[], None]
    """What the worker does for a ticket; given by the worker, never by the job."""

    asks_for: str | None = None
    """The path of a function without arguments; None where it asks for anything else."""

    def restore(self, raw_data: Mapping[bytes | str, bytes]) -> Any:
        """Takes what is heeded of what Redis has; limits are a ticket's, whatever is written there."""
        found = {as_text(name): value for name, value in raw_data.items()}
        heeded: dict[str, Any] = {name: value for name, value in found.items() if name in HEEDED}
        super().restore({**heeded, "data": NOTHING_ASKED})
        self.asks_for = _asked_for(found.get("data", b""))
        self.timeout, self.result_ttl, self.failure_ttl = TICKET_TIMEOUT_SECONDS, 0, TICKET_FAILURE_TTL_SECONDS

    def is_ticket_of(self, queue: str) -> bool:
        """Whether it is a ticket of this queue, in the words of this release or of one before."""
        return self.origin == queue and self.asks_for is not None and self.asks_for in JOBS[queue].understood

    def perform(self) -> None:
        """Does what a ticket is for; no function is looked up by a name."""
        self.run()


def _asked_for(data: bytes) -> str | None:
    if len(data) > MOST_BYTES:
        return None
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(data, MOST_BYTES)
        if unpacking.unconsumed_tail:
            return None
    except zlib.error:
        pass  # RQ takes what is not packed, too
    try:
        asked = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    is_call = isinstance(asked, list) and asked[1:] == [None, [], {}] and isinstance(asked[0], str)
    return asked[0] if is_call else None
