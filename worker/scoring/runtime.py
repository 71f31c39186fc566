"""The runtime of a worker process's job, which finds it here since RQ calls the job by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import InstallationError
from riskline.shared.model.serving import Serving
from riskline.shared.outage import Outage
from riskline.shared.process.jobs import Tickets
from riskline.shared.store.interfaces import TransactionQueue
from riskline.worker.scoring.drain import Count
from riskline.worker.scoring.pulse import Pulse
from riskline.worker.scoring.spans import ProcessSpans


@dataclass(frozen=True)
class Runtime:
    """The preloaded model and the collaborators of the job that scores."""

    queue: TransactionQueue
    tickets: Tickets
    callback_tickets: Tickets
    serving: Serving
    transaction_class: type[TransactionModel]
    worker: str
    pulse: Pulse
    count: Count
    time_batch: Callable[[int, float], None]
    spans: ProcessSpans
    later: Callable[[int], None]
    outage: Outage
    stopping: Callable[[], bool]


Kind = TypeVar("Kind")

_installed: list[object] = []


def install(runtime: object) -> None:
    """Makes this the runtime of the process's job."""
    _installed[:] = [runtime]


def installed(kind: type[Kind]) -> Kind:
    """The runtime of the process.

    Raises:
        InstallationError: the job was taken by a worker that `riskline worker` did not start.
    """
    for runtime in _installed:
        if isinstance(runtime, kind):
            return runtime
    raise InstallationError("this job needs a worker that was started by `riskline worker`, not by `rq worker`")
