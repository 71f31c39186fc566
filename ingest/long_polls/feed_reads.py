"""The feed's long-polls: one blocking read of the stream for the whole process, one future for each client."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import reduce

from riskline.ingest.long_polls.waiters import WaitSlots
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.store.feed import Cursor, Decisions, FeedPosition, Page
from riskline.shared.telemetry.metrics import REDIS_FAULTS

log = get_logger(__name__)

BLOCK_SECONDS = 1.0
"""How long one blocking read lasts at most, and so how long it outlives the last client that waited."""

RETRY_SECONDS = 0.5
"""How long to wait between two attempts while Redis is away."""

BEHIND_SECONDS = 0.02
"""When a client looks again that is behind what the blocking read began at: what it waits for is there already."""


class FeedReader:
    """Pages of the feed for clients, at once or as soon as there is something in them."""

    def __init__(
        self, decisions: Decisions, places: WaitSlots, *, parse: Callable[[str], FeedPosition | None] = Cursor.parse
    ) -> None:
        """`parse` gives the cursor that a text shows, None where it shows none of this feed."""
        self.places = places
        self.parse = parse
        self._decisions = decisions
        self._waiters: dict[asyncio.Future[None], FeedPosition] = {}
        self._somebody_waits = asyncio.Event()
        self._watched_after: FeedPosition | None = None
        self._reads: dict[tuple[FeedPosition | None, int], asyncio.Task[Page | None]] = {}
        self._ending = False
        self._outage = Outage(log, failing="the feed is not watched: Redis is away", back="the feed is watched again")

    async def page(self, after: FeedPosition | None, *, limit: int, wait_seconds: float = 0.0) -> Page | None:
        """The decisions after the cursor (None: after the newest). An empty page waits for the first one.

        None where the entry of the cursor is not kept any more.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        time = asyncio.get_running_loop().time
        deadline = time() + wait_seconds
        page = await self._read(after, limit)
        while page is not None and not page.decisions and time() < deadline and not (self._ending or self.places.full):
            with self.places.one():
                await self._wait(page.next, timeout_seconds=deadline - time())
            page = await self._read(page.next, limit)
        return page

    def end_waits(self) -> None:
        """Answers all clients that wait, and lets none wait any more: the server stops, and would cut them off."""
        self._ending = True
        self._wake_all()

    async def run(self) -> None:
        """Watches the stream while a client waits, until cancelled; an outage of Redis is waited out."""
        try:
            while True:
                await self._somebody_waits.wait()
                try:
                    await self._watch()
                except StoreUnavailableError as error:
                    self._outage.failed(error)
                    REDIS_FAULTS.labels("feed").inc()
                    await asyncio.sleep(RETRY_SECONDS)
                except Exception:
                    log.exception("watching the feed failed")
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            await self._decisions.close()

    async def _watch(self) -> None:
        # No wake-up is lost: a client waits from the same step on in which it learnt that nothing came after its
        # cursor. From then on there is a read from that cursor or before, under way or next, and such a read ends with
        # whatever was added after the cursor, be it before the read began.
        while self._waiters:
            self._watched_after = reduce(lambda one, other: one.before_both(other), self._waiters.values())
            there_is_more = await self._decisions.wait_for_more(self._watched_after, timeout_seconds=BLOCK_SECONDS)
            self._outage.over()
            if there_is_more:
                self._wake_all()
        self._somebody_waits.clear()
        self._watched_after = None

    def _wake_all(self) -> None:
        for woken in self._waiters:
            if not woken.done():
                woken.set_result(None)
        self._waiters.clear()

    async def _wait(self, after: FeedPosition, *, timeout_seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._waiters[woken] = after
        self._somebody_waits.set()
        if self._watched_after is not None and after.misses(self._watched_after):
            timeout_seconds = min(timeout_seconds, BEHIND_SECONDS)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(woken, timeout_seconds)
        finally:
            self._waiters.pop(woken, None)

    async def _read(self, after: FeedPosition | None, limit: int) -> Page | None:
        """One read for all requests of the same page at the same time, as clients make that were woken together."""
        key = (after, limit)
        read = self._reads.get(key)
        if read is None:
            read = self._reads[key] = asyncio.create_task(self._read_alone(after, limit))
            read.add_done_callback(lambda _: self._reads.pop(key))
        return await asyncio.shield(read)

    async def _read_alone(self, after: FeedPosition | None, limit: int) -> Page | None:
        if after is None:
            return Page((), await self._decisions.newest())
        return await self._decisions.page(after, limit=limit)
