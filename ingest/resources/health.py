"""The health, liveness and readiness of the service, and its metrics."""

import asyncio
from collections.abc import Sequence
from typing import Any

import falcon
import falcon.asgi
import orjson
from redis.asyncio import Redis

from riskline.ingest.auth.scopes import READ
from riskline.ingest.background.exported_metrics import ExportedMetrics
from riskline.ingest.background.redis_status import redis_info
from riskline.ingest.services import Services
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.status.processes import by_version, refusing
from riskline.shared.telemetry.metrics import exposition

ANSWER_SECONDS = 1.0
"""The time after which Redis counts as away: probes of readiness wait no longer."""


KEYS_PROBLEM = "The file of API keys cannot be read, so those known before stay valid; the log says why."
"""No reason to be unready. It is public, so it names no path."""


WHO_KNOWS = "`riskline doctor` and the log say why, and this call with an API key that has the scope read."
NO_MODEL = f"No usable model is active: {WHO_KNOWS}"
NO_REDIS = f"Redis is away or takes no writes: {WHO_KNOWS}"
STORE_LOST = f"The store has lost data: {WHO_KNOWS}"
"""The public detail: the reasons themselves have paths and host names."""

DETAILS = READ

NOT_TOLD: dict[str, Any] = {"model_problem": None, "processes": None, "recordings": None, "queue": None}

STOPPING = "This process was told to stop and ends within seconds: send what comes to another."

NO_WORKER = "No scoring worker lives: what is queued waits. Start `riskline worker`."

NOBODY_DELIVERS = "No worker delivers the callbacks that are due. Start `riskline worker --queue callbacks`."


class HealthResource:
    """GET /health, as the widely copied tutorials have it; /health/live; /health/ready."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 `healthy` where transactions can be scored, else 503 `unhealthy`."""
        model = self._services.serving.model
        health: dict[str, Any] = {
            "status": "unhealthy" if model is None else "healthy",
            "model_loaded": model is not None,
            "model_version": None if model is None else model.version,
        }
        if model is None:
            resp.status = falcon.HTTP_503
            health["detail"] = self._services.serving.problem if self._tells_all(req) else NO_MODEL
        resp.data = orjson.dumps(health)

    async def on_get_live(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 while the process answers."""
        resp.data = b'{"status":"live"}'

    async def on_get_ready(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 where a model serves, Redis answers and the process stays, else 503 with what is missing.

        A degraded installation is still ready: this process works, and out of rotation it could not.
        """
        problems = await asyncio.gather(*(_problem_of(redis) for redis in self._services.store.clients))
        redis_problem = None if None in problems else problems[0]
        model = self._services.serving.model
        stopping = self._services.graceful_shutdown.has_begun
        observer = self._services.observer
        gone = {
            "model": model is None,
            "redis": redis_problem is not None,
            "history": observer is not None and observer.problem is not None and observer.refuses,
            "process": stopping,
        }
        missing = [name for name, is_gone in gone.items() if is_gone]
        if missing:
            resp.status = falcon.HTTP_503
        tells_all = self._tells_all(req)
        degraded = {} if redis_problem else self._degraded(tells_all=tells_all)
        model_problem = self._services.serving.problem if tells_all else NO_MODEL
        redis_told = (redis_problem if tells_all else NO_REDIS) if redis_problem else _told(problems, in_full=tells_all)
        resp.data = orjson.dumps(
            {
                "status": "unready" if missing else "ready",
                "missing": missing,
                "degraded": list(degraded),
                "checks": {
                    "model": "ok" if model is not None else model_problem,
                    "redis": redis_told,
                    **({} if observer is None else {"history": observer.problem or "ok"}),
                    **({"process": STOPPING} if stopping else {}),
                    **({"keys": KEYS_PROBLEM} if self._services.gate.problem else {}),
                    **degraded,
                },
                "model_version": None if model is None else model.version,
                **(NOT_TOLD if not tells_all else self._details(is_away=redis_problem is not None)),
            }
        )

    def _tells_all(self, req: falcon.asgi.Request) -> bool:
        """True where a request may see paths, hosts, processes and figures, which are not for everybody."""
        return self._services.gate.admits(req.get_header("Authorization"), DETAILS)

    def _details(self, *, is_away: bool) -> dict[str, Any]:
        return {
            "model_problem": self._services.serving.problem or None,
            "processes": None if is_away else self._processes(),
            "recordings": {"pending": self._services.recorder.pending, "dropped": self._services.recorder.dropped},
            "queue": None if is_away else self._queue(),
        }

    def _degraded(self, *, tells_all: bool) -> dict[str, str]:
        """The parts of the installation that fail although this process works: the name of each, and what to do."""
        counts = self._services.backlog.counts
        found = {}
        if counts is not None and not counts.workers:
            found["workers"] = NO_WORKER
        if counts is not None and counts.nobody_delivers:
            found["callbacks"] = NOBODY_DELIVERS
        observer = self._services.observer
        if observer is not None and observer.problem is not None and not observer.refuses:
            found["history"] = observer.problem
        found |= self._services.store_watch.problems()
        return found if tells_all or "store" not in found else {**found, "store": STORE_LOST}

    def _processes(self) -> dict[str, Any] | None:
        states = self._services.processes.states
        if states is None:
            return None
        return {
            "versions": [each._asdict() for each in by_version(states)],
            "refusals": [each.model_dump() for each in refusing(states)],
        }

    def _queue(self) -> dict[str, Any] | None:
        counts = self._services.backlog.counts
        if counts is None:
            return None
        return {
            "undecided": counts.undecided,
            "oldest_seconds": (counts.oldest_ms or 0) / 1000,
            "failed": counts.failed_now,
            "workers": counts.workers,
            "callbacks": counts.callbacks_pending,
            "callbacks_overdue_seconds": counts.callbacks_overdue_ms / 1000,
            "callbacks_dead": counts.callbacks_dead_now,
            "receivers_paused": counts.receivers_paused,
            "callbacks_held": counts.callbacks_held,
        }


async def _problem_of(redis: Redis) -> str | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            with redis_faults_named():
                info = await redis_info(redis)
    except TimeoutError:
        return f"Redis: no answer within {ANSWER_SECONDS:g} s"
    except StoreUnavailableError as error:
        return str(error)
    if info.get("role", "master") != "master":
        return "Redis is a replica, which takes no writes"
    if 0 < info.get("maxmemory", 0) <= info.get("used_memory", 0):
        return "Redis is full: it has reached its maxmemory"
    return None


def _told(problems: Sequence[str | None], *, in_full: bool) -> str:
    """The shards, where only some answer: this process serves with those, and no other process has more."""
    away = [f"shard {number}: {problem}" for number, problem in enumerate(problems) if problem is not None]
    why = "; ".join(away) if in_full else WHO_KNOWS
    return f"{len(away)} of {len(problems)} shards are away: {why}" if away else "ok"


class MetricsResource:
    """GET /metrics."""

    answers_json = False

    def __init__(self, kept: ExportedMetrics) -> None:
        self._kept = kept

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 and the metrics as Prometheus text."""
        resp.data = exposition() + self._kept.exposition()
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
