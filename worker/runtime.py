"""What a worker process holds for its jobs: RQ calls them by name, so they find it here."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import InstallationError
from shared.jobs import Tickets
from shared.model.serving import Serving
from shared.outage import Outage
from shared.store.interfaces import TransactionQueue
from shared.transaction import TransactionModel
from worker.pulse import Pulse


@dataclass(frozen=True)
class Runtime:
    """The preloaded model and the collaborators of the job functions."""

    queue: TransactionQueue
    tickets: Tickets
    serving: Serving
    transaction_class: type[TransactionModel]
    worker: str
    pulse: Pulse
    outage: Outage
    stopping: Callable[[], bool]


_installed: list[Runtime] = []


def install(runtime: Runtime) -> None:
    """Makes this the runtime of the process's jobs."""
    _installed[:] = [runtime]


def installed() -> Runtime:
    """The runtime of the process.

    Raises:
        InstallationError: the job was taken by a worker that `riskline worker` did not start.
    """
    if not _installed:
        raise InstallationError(
            "this job needs a worker with a model: start it by `riskline worker`, not by `rq worker`"
        )
    return _installed[0]
