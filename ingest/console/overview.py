"""The overview: is it keeping up, what is it deciding, and what is wrong."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import falcon.asgi
from redis.asyncio import Redis

from ingest.auth import Gate
from ingest.console.figures import QUEUE, SYNC, Between, actions, between, last
from ingest.console.guard import ConsolePage
from ingest.console.hour import bars_of, lines_of
from ingest.console.rendering import Renderer
from ingest.fleet import Fleet
from ingest.history import History
from ingest.redis_watch import redis_info
from ingest.store_watch import StoreWatch
from shared.errors import StoreUnavailableError
from shared.log import get_logger
from shared.model.serving import Serving
from shared.store.connection import redis_faults_named
from shared.store.counts import TOTALS, Counts
from shared.store.history import Snapshot
from shared.store.processes import refusing
from shared.store.safety import Facts, dangers

log = get_logger(__name__)

NOW_SECONDS = 10
"""Rates are those of the last so many seconds, as `riskline scale` has them."""

RECENT_SECONDS = 60
"""Latencies are those of the last minute: in ten seconds there may be too few for a 99th percentile."""

FACTS_SECONDS = 30.0
"""How Redis is set up changes seldom, and to ask takes some ten commands."""

PATIENCE_SECONDS = 1.0
"""For what Redis is asked about now: one that hangs is told of sooner than its clients give it up."""

FRESH_SECONDS = 0.5
"""For how long all who look get the same: with the second after which they ask again, less than two in all."""


class Overview:
    """Gathers what the overview shows; at most once a second, for however many look."""

    def __init__(
        self,
        *,
        history: History,
        fleet: Fleet,
        serving: Serving,
        gate: Gate,
        redis: Redis,
        count: Callable[[], Awaitable[Counts]],
        redis_facts: Callable[[], Facts],
        unrecorded: Callable[[], int],
        store_watch: StoreWatch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history = history
        self._fleet = fleet
        self._serving = serving
        self._gate = gate
        self._redis = redis
        self._count = count
        self._redis_facts = redis_facts
        self._unrecorded = unrecorded
        self._store_watch = store_watch
        self._clock = clock
        self._facts: Facts | None = None
        self._facts_at = -FACTS_SECONDS

    async def gathered(self) -> dict[str, Any]:
        """What there is to show now."""
        counts = await self._counted()
        problems = await self._problems(counts)
        looks = list(self._history.looks)
        now, recent = last(looks, NOW_SECONDS), last(looks, RECENT_SECONDS)
        hour = self._hour(looks)
        redis = await self._redis_memory()
        return {
            "counts": counts,
            "now": now,
            "recent": recent,
            "doors": _doors(now, recent),
            "decided": _decided_in_the_hour(self._history.minutes, looks, counts),
            "hour_from": hour_from(hour, looks),
            "lines": lines_of(self._history.minutes, looks),
            "actions": None if hour is None else actions(hour),
            "scores": None if hour is None else bars_of(hour),
            "states": self._fleet.states,
            "redis": redis,
            "persistence": _persistence(self._facts if redis is not None else None),
            "problems": problems,
            "looked_at": datetime.now(UTC),
        }

    async def _counted(self) -> Counts | None:
        """Counted now: what processes tell once a second comes too late for who waits for a decision."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._count()
        except (StoreUnavailableError, TimeoutError):
            return None

    def _hour(self, looks: Sequence[Snapshot]) -> Between | None:
        minutes = self._history.minutes
        if not looks:
            return None
        return between(minutes[0] if minutes else looks[0], looks[-1])

    async def _redis_memory(self) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                with redis_faults_named():
                    return await redis_info(self._redis)
        except (StoreUnavailableError, TimeoutError):
            return None

    async def _problems(self, counts: Counts | None) -> list[str]:
        found = [f"{each.kind} {each.host}: {each.problem}" for each in refusing(self._fleet.states or [])]
        found += [self._gate.problem] if self._gate.problem else []
        if self._serving.model is None:
            found.append(f"No model serves in this process: {self._serving.problem}")
        if counts is None:
            return [*found, self._without_redis()]
        found += counts.problems()
        found += self._store_watch.problems().values()
        if not counts.workers:
            waits = f"{counts.undecided:,} transactions wait" if counts.undecided else "what is queued will wait"
            found.append(f"No worker lives, and {waits}: start one by “riskline worker”.")
        if counts.nobody_delivers:
            found.append(
                "Callbacks are due, and nobody delivers them: start a worker by “riskline worker --queue callbacks”."
            )
        await self._look_at_redis()
        return found + [f"Redis: {each.sentence}" for each in (dangers(self._facts) if self._facts else ())]

    def _without_redis(self) -> str:
        said = "Redis does not answer: nothing is known of the queue, the decisions and the last hour."
        if self._serving.model is None:
            return said
        return (
            f"{said} Transactions are decided at once as before, and recorded when it is back (by this process so far: "
            f"{self._unrecorded():,}); none is accepted into the queue."
        )

    async def _look_at_redis(self) -> None:
        if self._clock() - self._facts_at >= FACTS_SECONDS:
            try:
                self._facts = await asyncio.to_thread(self._redis_facts)
                self._facts_at = self._clock()
            except StoreUnavailableError as error:
                log.debug("Redis was not asked how it is set up", problem=str(error))


def _persistence(facts: Facts | None) -> str:
    """How what Redis has gets to the disk, in a few words."""
    settings = {} if facts is None else facts.settings
    if settings.get("appendonly") == "yes":
        fsync = settings.get("appendfsync")
        return "append-only file" + (f", fsync {fsync}" if fsync else "")
    if settings.get("save"):
        return "snapshots alone"
    return "nothing" if "appendonly" in settings and "save" in settings else "–"  # noqa: RUF001  # it is read


def _decided_in_the_hour(minutes: Sequence[Snapshot], looks: Sequence[Snapshot], counts: Counts | None) -> float | None:
    """By both doors, until now."""
    first = next(iter((*minutes, *looks)), None)
    if first is None or counts is None:
        return None
    now = Snapshot(time.time(), {name: getattr(counts, name) for name in TOTALS})
    until_now = between(first, now)
    return None if until_now is None else until_now.count("decided", "recorded")


def hour_from(hour: Between | None, looks: Sequence[Snapshot]) -> float | None:
    """When what is shown of the last hour began, in seconds since 1970."""
    return None if hour is None else looks[-1].at - hour.seconds


def _doors(now: Between | None, recent: Between | None) -> list[dict[str, Any]]:
    """What came in and went out by each door, and how long it took."""
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
        self._part = ""
        self._part_at = -1.0
        self._part_base = ""
        self._rendering = asyncio.Lock()

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The page."""
        part = await self._current(req)
        self._renderer.page(req, resp, "overview.html", session=req.context.session, part=part)

    async def on_get_live(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The part that changes."""
        self._renderer.fragment(resp, await self._current(req))

    async def _current(self, req: falcon.asgi.Request) -> str:
        """Rendered once a second for all who look."""
        base = f"{req.root_path}/console"
        async with self._rendering:
            if self._clock() - self._part_at >= FRESH_SECONDS or base != self._part_base:
                values = await self._overview.gathered()
                self._part = self._renderer.text("overview_live.html", {"base": base, **values})
                self._part_at, self._part_base = self._clock(), base
            return self._part
