"""The way to the history's Redis: a call that fails or is late ends all others until the history answers again."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from riskline.ingest.history.late_observations import LateObservations
from riskline.ingest.history.long_tails import LongTails
from riskline.ingest.history.patience import patience
from riskline.shared.domain.history.observation import Observation, SeenBefore
from riskline.shared.errors import HistoryLostError, HistoryUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.store.history.interface import LARGEST_CALL, HistoryStore, Mark, Replacement
from riskline.shared.telemetry.metrics import (
    HISTORY_AWAY,
    HISTORY_AWAY_SECONDS,
    HISTORY_CALL_SECONDS,
    HISTORY_CALL_TRANSACTIONS,
    HISTORY_OBSERVATIONS,
)

log = get_logger(__name__)

PROBE_SECONDS = 1.0
"""The time that a probe may take: no request waits for it."""

WARM_SECONDS = 5.0
"""The time to connect at the start."""

RETRY_SECONDS = 0.1
"""The pause between two probes while the history is away."""

RECOVERY_SECONDS = 1.0
"""How often a history that was lost is asked whether it is warm again."""


class HistoryLink:
    """Calls the history in time. While it is away no call is made but one probe after another.

    A probe adds the oldest late observations. The history is back once all of them are added and the last probe was
    as quick as a call for a request must be. While quick probes add them, requests wait for the end of that, as long
    as for an answer.
    """

    def __init__(
        self,
        store: HistoryStore,
        *,
        timeout_seconds: float,
        tails: LongTails | None = None,
        late: LateObservations | None = None,
    ) -> None:
        """With `tails` what is late is packed as it is added."""
        self._store = store
        self._tails = tails
        self._timeout_seconds = timeout_seconds
        self._late = LateObservations() if late is None else late
        self._away = asyncio.Event()
        self._free = asyncio.Event()
        """Clear while requests are held."""
        self._free.set()
        self._probed: Sequence[Observation] = ()
        self._outage = Outage(
            log,
            failing="the history is away: transactions are decided without it, or refused",
            back="the history is back, and has what was missing",
        )
        self._loss = Outage(
            log,
            failing="the history has lost what it had: transactions are decided without it until it is warm again",
            back="the history that was lost is used again",
        )
        self._asked_at = -math.inf

    @property
    def is_away(self) -> bool:
        """True where requests do without the history."""
        return self._away.is_set()

    @property
    def late(self) -> int:
        """Observations that wait to be added."""
        return len(self._late)

    @property
    def is_lost(self) -> bool:
        """True where the history answers, and lacks what it had."""
        return self._loss.lasts

    async def observe(self, observations: Sequence[Observation]) -> list[SeenBefore] | None:
        """Adds observations and returns what was there before each; None where the history is away."""
        return await self._in_time(self._store.observe, observations)

    async def look(self, observations: Sequence[Observation]) -> list[SeenBefore] | None:
        """Returns what is there, and adds nothing; None where the history is away."""
        return await self._in_time(self._store.look, observations)

    async def compact(self, replacements: Sequence[Replacement]) -> None:
        """Replaces events by packed states, where nobody else has; does nothing while the history is away."""
        if not self.is_away:
            await self._compact(replacements)

    async def _compact(self, replacements: Sequence[Replacement]) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._store.compact(replacements)
        except (HistoryUnavailableError, TimeoutError) as error:
            # what reads the long tail next tries again
            log.debug("the history was not compacted", problem=str(error))

    async def marks(self) -> dict[str, Mark]:
        """What is known of each entity's history as a whole.

        Raises:
            HistoryUnavailableError: the history is away.
        """
        return await self._store.marks()

    def keep(self, observations: Sequence[Observation]) -> None:
        """Takes observations that are to be added once the history is back."""
        self._late.keep(observations)

    async def run(self) -> None:
        """Brings the history back whenever it is away, until cancelled."""
        while True:
            await self._away.wait()
            try:
                await self._come_back()
            except Exception:
                log.exception("probing the history failed")
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Adds what is late, as this process ends.

        Raises:
            HistoryUnavailableError: the history is still away.
        """
        while self._late:
            await self._add_late()

    async def warm(self) -> None:
        """Connects before the first request comes."""
        try:
            async with asyncio.timeout(WARM_SECONDS):
                await self._store.warm()
        except (HistoryUnavailableError, TimeoutError) as error:
            self._went_away(error, ())

    async def disconnect(self) -> None:
        """Closes the connections."""
        await self._store.close()

    async def _in_time(
        self, call: Callable[[Sequence[Observation]], Awaitable[list[SeenBefore]]], observations: Sequence[Observation]
    ) -> list[SeenBefore] | None:
        if self._away.is_set() and not await self._comes_back():
            return None
        began = time.perf_counter()
        try:
            async with patience(self._timeout_seconds):
                seen = await call(observations)
        except TimeoutError:
            self._went_away(f"no answer within {self._timeout_seconds * 1000:g} ms", observations)
            return None
        except HistoryUnavailableError as error:
            self._went_away(error, observations)
            return None
        HISTORY_CALL_SECONDS.observe(time.perf_counter() - began)
        HISTORY_CALL_TRANSACTIONS.observe(len(observations))
        return seen

    async def _comes_back(self) -> bool:
        """True where the history is back once what is late was added, which takes no longer than an answer may."""
        if self._free.is_set():
            return False
        with suppress(TimeoutError):
            async with patience(self._timeout_seconds):
                await self._free.wait()
        return not self._away.is_set()

    def _went_away(self, problem: object, observations: Sequence[Observation]) -> None:
        self._outage.failed(problem)
        self._probed = observations[:1]
        self._away.set()
        HISTORY_AWAY.set(1)

    async def _come_back(self) -> None:
        since = time.monotonic()
        try:
            while self._away.is_set():
                await self._probe()
                now = time.monotonic()
                HISTORY_AWAY_SECONDS.inc(now - since)
                since = now
        finally:
            self._free.set()

    async def _probe(self) -> None:
        """One step back: adds late observations, and pauses where that is of no use.

        Once it is quick, requests are held while the last ones are added: under load there would always be one more.
        """
        is_quick, pauses = False, True
        try:
            seconds = await self._add_late()
        except HistoryLostError as error:
            self._loss.failed(error)
            # asked also while observations go on to come late
            is_quick = await self._is_recovered()
            pauses = not (is_quick or self._late)
        except HistoryUnavailableError as error:
            self._outage.failed(error)
        else:
            is_quick = seconds <= self._timeout_seconds
            pauses = not (is_quick or self._late)
        if not is_quick:
            self._free.set()
        elif self._late:
            self._free.clear()
        else:
            self._is_back()
        if pauses:
            await asyncio.sleep(RETRY_SECONDS)

    def _is_back(self) -> None:
        self._outage.over()
        self._loss.over()
        self._away.clear()
        HISTORY_AWAY.set(0)

    async def _add_late(self) -> float:
        """Adds the oldest late observations, or only looks where there are none; returns the seconds it took.

        Raises:
            HistoryLostError: they are added to a history that lacks what it had.
            HistoryUnavailableError: the history is away; they stay.
        """
        batch = self._late.first(LARGEST_CALL)
        began = time.monotonic()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                seen = await (self._store.observe(batch) if batch else self._store.look(self._probed))
        except TimeoutError:
            raise HistoryUnavailableError(f"no answer within {PROBE_SECONDS:g} s") from None
        except HistoryLostError as error:
            await self._added(batch, error.seen)
            raise
        await self._added(batch, seen)
        return time.monotonic() - began

    async def _added(self, batch: Sequence[Observation], seen: Sequence[SeenBefore]) -> None:
        """Takes them out, and packs: each one of a merchant's is answered with all events that stand before it."""
        self._late.remove(len(batch))
        HISTORY_OBSERVATIONS.labels("late").inc(len(batch))
        replacements = self._tails.replacements(batch, seen) if self._tails is not None and batch and seen else ()
        if replacements:
            await self._compact(replacements)

    async def _is_recovered(self) -> bool:
        """True where a history that was lost has enough of the past again; asked now and then."""
        now = time.monotonic()
        if now - self._asked_at < RECOVERY_SECONDS:
            return False
        self._asked_at = now
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await self._store.recovered()
        except (HistoryUnavailableError, TimeoutError):
            return False
