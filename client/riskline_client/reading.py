"""The feed, page by page, and where its reader is in it."""

from collections import deque
from time import monotonic

from riskline_client import protocol
from riskline_client.answers import Decision
from riskline_client.waiting import NO_PLACE_SECONDS, Pause, Steps

OLDEST = "0"
"""The cursor before the oldest decision that is kept."""

LATEST = "latest"
"""The cursor after which comes what is decided from now on."""

MOST_DECISIONS = 1000
"""The most decisions of a page, by the service's own limit."""


class Reader:
    """The position of one reader in the feed.

    `cursor` is after the last decision of the page before, and after the last one of this page as soon as that was
    handed out: who stores it when a decision is dealt with, and goes on there, misses none and may see a page again.
    """

    def __init__(self, after: str, *, follow: bool, timeout: float) -> None:
        self.cursor = after
        self._next = after
        self._follow = follow
        self._timeout = timeout
        self._held: deque[Decision] = deque()
        self._is_over = False

    def pop(self) -> Decision | None:
        """The next decision that is here already."""
        if not self._held:
            return None
        decision = self._held.popleft()
        if not self._held:
            self.cursor = self._next
        return decision

    @property
    def is_over(self) -> bool:
        """True where the end is reached and the feed is not followed."""
        return self._is_over and not self._held

    def read(self) -> Steps[None]:
        """The steps to the next page."""
        wait = protocol.LONGEST_WAIT_SECONDS if self._follow else 0.0
        call = protocol.page(self._next, limit=MOST_DECISIONS, wait=wait, timeout=self._timeout, persistent=True)
        started = monotonic()
        page = yield call
        self._held.extend(page.decisions)
        self._next = page.next
        if not page.decisions:
            self.cursor = page.next
            self._is_over = not self._follow
            if monotonic() - started < wait / 2:
                yield Pause(NO_PLACE_SECONDS)
