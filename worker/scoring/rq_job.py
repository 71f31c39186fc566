"""An RQ job reduced to a ticket, which says "there is work".

Anyone with access to Redis can write a job, and RQ executes it: it imports and calls any function by its path,
with arguments, runs callbacks, and sends webhooks. So a worker reads nothing of a job but
its queue, status and times, and accepts it only where its function is exactly that of a ticket.
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
"""The fields of RQ's own bookkeeping, which it needs; none of them names code."""

MOST_BYTES = 1024
"""The longest job data that is unpacked; a ticket's is a tenth of that."""

NOTHING_ASKED = orjson.dumps(["", None, [], {}])


class TicketJob(Job):
    """A job that can only run the worker's own function."""

    run: Callable[[], None]
    """The function of a ticket; set by the worker, never by the job."""

    asks_for: str | None = None
    """The path of a function without arguments; None where it asks for anything else."""

    def restore(self, raw_data: Mapping[bytes | str, bytes]) -> Any:
        """Reads the HEEDED fields from Redis; its limits are always a ticket's."""
        found = {as_text(name): value for name, value in raw_data.items()}
        heeded: dict[str, Any] = {name: value for name, value in found.items() if name in HEEDED}
        super().restore({**heeded, "data": NOTHING_ASKED})
        self.asks_for = _asked_for(found.get("data", b""))
        self.timeout, self.result_ttl, self.failure_ttl = TICKET_TIMEOUT_SECONDS, 0, TICKET_FAILURE_TTL_SECONDS

    def is_ticket_of(self, queue: str) -> bool:
        """True for a ticket of this queue, by the names of this release or the previous one."""
        return self.origin == queue and self.asks_for is not None and self.asks_for in JOBS[queue].understood

    def perform(self) -> None:
        """Runs the worker's function; looks up no function by name."""
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
