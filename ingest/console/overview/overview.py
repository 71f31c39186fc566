"""The overview: load, decisions and problems of the installation."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import falcon.asgi

from riskline.ingest.background.redis_status import redis_info
from riskline.ingest.console.frame.guard import ConsolePage
from riskline.ingest.console.frame.rendering import Renderer
from riskline.ingest.console.overview.alerts import Alert, alerts_of, all_well
from riskline.ingest.console.overview.charts import actions_of, doors_of, scores_of
from riskline.ingest.console.overview.intervals import QUEUE, SYNC, Interval, actions, last
from riskline.ingest.console.overview.periods import PERIODS, Period, Periods, TimeSpans, period_named
from riskline.ingest.services import Services
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.status.counts import Counts
from riskline.shared.store.status.minute_counts import RedisMinuteCounts, Snapshot
from riskline.shared.store.status.processes import refusing
from riskline.shared.store.status.redis_safety import ServerFacts, dangers

log = get_logger(__name__)

NOW_SECONDS = 10
"""Rates are averaged over these seconds, as in `riskline scale`."""

RECENT_SECONDS = 60
"""Latencies are those of the last minute: in ten seconds there may be too few for a 99th percentile."""

FACTS_SECONDS = 30.0
"""The interval for Redis's configuration, which seldom changes and takes some ten commands to read."""

PATIENCE_SECONDS = 1.0
"""The time limit of a read for the page: a Redis that hangs is shown sooner than clients time out."""

FRESH_SECONDS = 0.5
"""The time for which all viewers get the same page: with the second between two polls, less than two in all."""


MOST_PARTS = 20
"""The most rendered pages kept: a few periods, under the one or two base paths that proxies use."""


class Overview:
    """Gathers the overview at most once a second, whatever the number of viewers."""

    def __init__(self, services: Services, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._periods = Periods(services.recent_counts, RedisMinuteCounts(services.store.first))
        self._clock = clock
        self._facts: ServerFacts | None = None
        self._facts_at = -FACTS_SECONDS

    async def gathered(self, period: Period) -> dict[str, Any]:
        """The present state, and the pictures of a period."""
        counts = await self._counted()
        findings = await self._findings(counts)
        looks = list(self._services.recent_counts.looks)
        now, recent = last(looks, NOW_SECONDS), last(looks, RECENT_SECONDS)
        redis = await self._redis_memory()
        return {
            "counts": counts,
            "now": now,
            "doors": _doors(now, recent),
            "states": self._services.processes.states,
            "redis": redis,
            "persistence": _persistence(self._facts if redis is not None else None),
            "findings": findings,
            "all_well": "" if findings or counts is None else all_well(counts),
            "looked_at": datetime.now(UTC),
            **self._of_period(period, await self._periods.spans(period), counts),
        }

    def _of_period(self, period: Period, spans: TimeSpans | None, counts: Counts | None) -> dict[str, Any]:
        found: dict[str, Any] = {"period": period, "periods": PERIODS, "spans": spans}
        if spans is None:
            return {**found, "decided": None}
        whole, model = spans.whole, self._services.serving.model
        return {
            **found,
            "decided": None if counts is None else _decided(whole, spans.last, counts),
            "actions": actions(whole),
            "acting": actions_of(spans),
            "deciding": doors_of(spans),
            "scoring": scores_of(whole, None if model is None else model.thresholds),
        }

    async def _counted(self) -> Counts | None:
        """Counted now: counts that are up to a second old come too late for a client that waits for a decision."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._services.store.intake.count()
        except (StoreUnavailableError, TimeoutError):
            return None

    async def _redis_memory(self) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                with redis_faults_named():
                    return await redis_info(self._services.store.first)
        except (StoreUnavailableError, TimeoutError):
            return None

    async def _findings(self, counts: Counts | None) -> list[Alert]:
        """The alerts, the worst first."""
        found = [] if counts is not None else [Alert(self._without_redis())]
        gate, serving = self._services.gate, self._services.serving
        found += [Alert(gate.problem)] if gate.problem else []
        if serving.model is None:
            found.append(Alert(f"No model serves in this process: {serving.problem}", "/models", "Models"))
        found += [
            Alert(f"{each.kind} {each.host}: {each.problem}", "/models", "Models")
            for each in refusing(self._services.processes.states or [])
        ]
        if counts is None:
            return found
        found += alerts_of(counts)
        found += map(Alert, self._services.store_watch.problems().values())
        await self._look_at_redis()
        return found + [Alert(f"Redis: {each.sentence}") for each in (dangers(self._facts) if self._facts else ())]

    def _without_redis(self) -> str:
        said = "Redis does not answer: nothing is known of the queue, the decisions and the last hour."
        if self._services.serving.model is None:
            return said
        return (
            f"{said} Transactions are decided at once as before, and recorded when it is back (by this process so far: "
            f"{self._services.recorder.pending:,}); none is accepted into the queue."
        )

    async def _look_at_redis(self) -> None:
        if self._clock() - self._facts_at >= FACTS_SECONDS:
            try:
                self._facts = await asyncio.to_thread(self._services.store.operations.redis_facts)
                self._facts_at = self._clock()
            except StoreUnavailableError as error:
                log.debug("Redis was not asked how it is set up", problem=str(error))


def _persistence(facts: ServerFacts | None) -> str:
    """Redis's persistence in a few words."""
    settings = {} if facts is None else facts.settings
    if settings.get("appendonly") == "yes":
        fsync = settings.get("appendfsync")
        return "append-only file" + (f", fsync {fsync}" if fsync else "")
    if settings.get("save"):
        return "snapshots alone"
    return "nothing" if "appendonly" in settings and "save" in settings else "–"  # noqa: RUF001  # it is read


def _decided(whole: Interval, until: Snapshot, counts: Counts) -> float:
    """The decisions of both doors until now."""
    since = counts.decided + counts.recorded - until.numbers.get("decided", 0) - until.numbers.get("recorded", 0)
    return whole.count("decided", "recorded") + max(0, since)


def _doors(now: Interval | None, recent: Interval | None) -> list[dict[str, Any]]:
    """The rates and times of each door."""
    doors = (
        ("At once", SYNC, (), (), "sync_seconds"),
        ("Queue: submitted", (), ("accepted",), (), "submit_seconds"),
        ("Queue: decided", QUEUE, (), ("failed",), "queue_seconds"),
    )
    return [
        {
            "name": name,
            "decided": None if now is None or not decided else now.rate(*decided),
            "accepted": None if now is None or not accepted else now.rate(*accepted),
            "failed": None if now is None or not failed else now.rate(*failed),
            "quantiles": [None if recent is None else recent.quantile(measure, part) for part in (0.5, 0.95, 0.99)],
        }
        for name, decided, accepted, failed, measure in doors
    ]


class OverviewPage(ConsolePage):
    """GET /console, and its part that is asked for each second."""

    def __init__(self, renderer: Renderer, overview: Overview, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._renderer = renderer
        self._overview = overview
        self._clock = clock
        self._parts: dict[tuple[str, str], tuple[float, str]] = {}
        self._rendering = asyncio.Lock()

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The page."""
        period = period_named(req.get_param("period") or "")
        part = await self._current(req, period)
        self._renderer.page(req, resp, "overview.html", session=req.context.session, part=part, period=period)

    async def on_get_live(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The part that changes."""
        self._renderer.fragment(resp, await self._current(req, period_named(req.get_param("period") or "")))

    async def _current(self, req: falcon.asgi.Request, period: Period) -> str:
        """Rendered once a second for all viewers of a period."""
        base = f"{req.root_path}/console"
        async with self._rendering:
            at, part = self._parts.get((base, period.name), (-1.0, ""))
            if not part or self._clock() - at >= FRESH_SECONDS:
                values = await self._overview.gathered(period)
                part = self._renderer.text("overview_live.html", {"base": base, **values})
                if len(self._parts) > MOST_PARTS:
                    self._parts.clear()
                self._parts[base, period.name] = (self._clock(), part)
            return part
