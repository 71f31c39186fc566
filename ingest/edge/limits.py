"""The limits that the connections of an API process share, and the timer that enforces them."""

import asyncio
import resource
from typing import Any, NamedTuple, Self

from riskline.ingest.edge.turns import Turns
from riskline.ingest.recording.backpressure import Backpressure
from riskline.shared.log import get_logger
from riskline.shared.settings import Settings

log = get_logger(__name__)

STATE = "edge"
"""The key of the Edge in the lifespan's state, where each connection finds it."""

TICK_SECONDS = 1.0

TURNED_AWAY_AT_A_TIME = 256
"""Connections beyond the limit that get a 503. Any further one is closed without an answer."""


OWN_FILES = 256
"""Files and connections of the process itself, at most."""


class Limits(NamedTuple):
    """The limits that an operator may set."""

    connections: int
    request_seconds: float
    in_flight: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limits of the settings."""
        return cls(settings.max_connections, settings.request_timeout, settings.max_in_flight)


def allow_files(connections: int) -> None:
    """Raises this process's limit of open files, as far as it may, to the number that its connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + TURNED_AWAY_AT_A_TIME + OWN_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        log.warning("fewer connections than set: raise the limit of open files", open_files=hard, connections=wanted)
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Edge:
    """The state that all connections share. It is Falcon middleware, so that the server's lifespan hands it to them."""

    def __init__(self, limits: Limits, *, pressure: Backpressure) -> None:
        self.limits = limits
        self.turns = Turns(in_flight=limits.in_flight, pressure=pressure)
        self.held_bytes = 0
        self._connections: set[Any] = set()
        self._ticking: asyncio.TimerHandle | None = None

    async def process_startup(self, scope: dict[str, Any], _event: dict[str, Any]) -> None:
        """Makes itself known to the server's connections."""
        scope.get("state", {})[STATE] = self

    def watch(self, connections: set[Any]) -> None:
        """Checks these connections once a second: one timer for all, so that a request needs none."""
        self._connections = connections
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._ticking = None
        for each in list(self._connections):
            each.second_passed()
        if self._connections:
            self.watch(self._connections)
