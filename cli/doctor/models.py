"""`riskline doctor`: the model version that each process serves."""

import time
from collections.abc import Iterator

from riskline.cli.doctor.finding import Finding, Verdict
from riskline.cli.doctor.store import DOCTOR_SECONDS
from riskline.cli.installation import open_store
from riskline.cli.models.serving import ReadStates, refusal
from riskline.shared.errors import BundleError, StoreUnavailableError
from riskline.shared.model.registry import Registry
from riskline.shared.settings import Settings
from riskline.shared.store.status.processes import Processes, ProcessState, by_version, refusing

CHECK = "versions"
SWAP_SECONDS = 5.0
"""The time in which processes may serve different versions: each takes up another one within a second or two."""

LOOK_AGAIN_SECONDS = 0.5


def check_versions(settings: Settings) -> Iterator[Finding]:
    """Checks that all processes serve the active version; yields nothing where Redis does not answer."""
    if settings.redis_url is None:
        return
    try:
        with open_store(settings, timeout_seconds=DOCTOR_SECONDS) as store:
            yield versions_served(Processes(store.first).living, active=_active(settings))
    except StoreUnavailableError:
        return


def versions_served(read_states: ReadStates, *, active: str | None, swap_seconds: float = SWAP_SECONDS) -> Finding:
    """One line about all processes; a swap that is under way is given its time.

    Raises:
        StoreUnavailableError: Redis failed.
    """
    deadline = time.monotonic() + swap_seconds
    while True:
        states = read_states()
        problem = _problem(states, active)
        if problem is None or refusing(states) or time.monotonic() >= deadline:
            break
        time.sleep(LOOK_AGAIN_SECONDS)
    if problem is not None:
        return Finding(CHECK, Verdict.WARN, problem)
    served = [f"{each.version} serves in {each}" for each in by_version(states)]
    return Finding(CHECK, Verdict.OK, served[0] if served else "no process runs")


def _problem(states: list[ProcessState], active: str | None) -> str | None:
    counts = by_version(states)
    if refused := refusing(states):
        return "; ".join(map(refusal, refused))
    if len(counts) > 1:
        served = ", ".join(f"{each.version} in {each}" for each in counts)
        return f"the processes serve different versions: {served}; see that they have one RISKLINE_MODELS, and no pin"
    strays = [state for state in states if active is not None and state.version != active and not state.pinned]
    if strays:
        return f"{active} is active, and all serve {counts[0].version}: see that they have the same RISKLINE_MODELS"
    return None


def _active(settings: Settings) -> str | None:
    try:
        return Registry(settings.models_dir, pinned_version=settings.model_version).active_version()
    except BundleError:
        return None
