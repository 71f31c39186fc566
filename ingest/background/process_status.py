"""The model version of each process: announced and read once a second, so that readiness needs no call of Redis."""

from typing import Protocol

from riskline.ingest.background.every import every
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.process.heartbeats import Presence
from riskline.shared.store.status.processes import ProcessState, by_version, refusing
from riskline.shared.store.status.tallies import Measured, Tallied
from riskline.shared.telemetry.metrics import MODEL_PROCESSES, MODEL_REFUSALS

log = get_logger(__name__)

INTERVAL_SECONDS = 1.0


class ProcessRegistry(Protocol):
    """The states of all processes in Redis; every method raises StoreUnavailableError where Redis fails."""

    async def announce(self, state: ProcessState) -> list[ProcessState]:
        """Writes a process's state; returns the states of all that live."""

    async def living(self) -> list[ProcessState]:
        """The states of all processes that live."""

    async def leave(self, process: str) -> None:
        """Forgets a process that ends."""


class WorkerTallies(Protocol):
    """The workers' counts in Redis; both methods raise StoreUnavailableError where Redis fails."""

    async def read(self) -> Tallied:
        """Decisions by model version and action, or bucket of their probability."""

    async def read_measured(self) -> Measured:
        """The numbers of each bucket of each measure."""


class ProcessStatus:
    """The states of all processes as of the last read. An outage of Redis costs that read; the backlog logs it."""

    def __init__(self, presence: Presence, signs: ProcessRegistry, decided: WorkerTallies) -> None:
        self._presence = presence
        self._signs = signs
        self._tallies = decided
        self._shown: set[tuple[str, str]] = set()
        self.states: list[ProcessState] | None = None
        """The states of the last read; None before the first, or where Redis failed."""
        self.api_processes = 1
        """The number of API processes as of the last read that did not fail."""
        self.decided: Tallied | None = None
        """The workers' decisions as of the last read."""
        self.measured: Measured | None = None
        """The workers' measurements as of the last read."""

    async def run(self) -> None:
        """Announces and reads until cancelled."""
        failed = "looking at the processes failed"
        await every(INTERVAL_SECONDS, self.update, log=log, failed=failed, outage=self._missed)

    def _missed(self, _error: StoreUnavailableError) -> None:
        self.states = self.decided = self.measured = None

    async def update(self) -> None:
        """Announces this process's state where it has changed, and reads all once.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        news = self._presence.state_to_publish()
        if news is None:
            self.states = await self._signs.living()
        else:
            self.states = await self._signs.announce(news)
            self._presence.mark_published(news)
        self.api_processes = max(1, sum(state.kind == "api" for state in self.states))
        self._show(self.states)
        self.decided = await self._tallies.read()
        self.measured = await self._tallies.read_measured()

    async def leave(self) -> None:
        """Removes this process's state. Where Redis fails, the state expires by itself."""
        try:
            await self._signs.leave(self._presence.process)
        except StoreUnavailableError as error:
            log.debug("Redis was not told that this process ends", problem=str(error))

    def _show(self, states: list[ProcessState]) -> None:
        counts = {
            (kind, each.version): count
            for each in by_version(states)
            if each.version is not None
            for kind, count in (("api", each.api), ("worker", each.workers))
        }
        # a version that no process serves any more is shown once with 0: no series can be removed for all processes
        for labels in self._shown | counts.keys():
            MODEL_PROCESSES.labels(*labels).set(counts.get(labels, 0))
        self._shown = set(counts)
        MODEL_REFUSALS.set(len(refusing(states)))
