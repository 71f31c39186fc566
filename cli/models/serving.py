"""The processes that serve a version: listed by `riskline models list`, waited for by `activate` and `rollback`."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import typer

from riskline.cli.installation import installation_settings, open_store
from riskline.cli.terminal import working
from riskline.shared.errors import InstallationError, StoreUnavailableError
from riskline.shared.settings import Settings
from riskline.shared.store.status.processes import Processes, ProcessState, VersionCount, by_version, refusing

WAIT_SECONDS = 15.0
"""The time in which all processes serve a version: they read it once a second, report it at once, and load a large one
in a second or two; one that died is forgotten within this time."""

LOOK_AGAIN_SECONDS = 0.2

ReadStates = Callable[[], list[ProcessState]]


def pinned_note(settings: Settings, *, active: str | None) -> str | None:
    """The note that RISKLINE_MODEL_VERSION overrides the active version; None where it is not set."""
    if settings.model_version is None:
        return None
    return (
        f"RISKLINE_MODEL_VERSION is set: {settings.model_version} serves where it is, whatever is active "
        f"(active: {active or 'none'})"
    )


def living(**overrides: object) -> list[ProcessState]:
    """The states of the processes of the installation.

    Raises:
        InstallationError: no Redis is named and no `riskline up` runs.
        StoreUnavailableError: Redis failed.
    """
    settings = installation_settings(**overrides)
    if settings.redis_url is None:
        raise InstallationError("no `riskline up` runs and REDIS_URL names no Redis")
    with open_store(settings) as store:
        return Processes(store.first).living()


def with_processes(shown: list[dict[str, Any]], states: list[ProcessState] | None) -> list[dict[str, Any]]:
    """The listed versions with their processes (None if not known), and the versions that only a process has."""
    if states is None:
        return [{**each, "serves_in": None} for each in shown]
    listed = {each["version"] for each in shown}
    counts = {each.version: each for each in by_version(states)}
    elsewhere = [
        {"version": version, "active": False, "problem": "not in this directory" if version else "no model serves"}
        for version in counts
        if version not in listed
    ]
    return [
        {**each, "serves_in": _serves_in(each["version"], counts.get(each["version"]), states)}
        for each in [*shown, *elsewhere]
    ]


def _serves_in(version: str | None, count: VersionCount | None, states: list[ProcessState]) -> dict[str, Any]:
    return {
        "api": 0 if count is None else count.api,
        "workers": 0 if count is None else count.workers,
        "processes": [state.model_dump() for state in states if state.version == version],
    }


def cell(serves_in: dict[str, Any] | None) -> str:
    """A cell of the table: `api 2, workers 3`, `-` for no process, `?` where it is not known."""
    if serves_in is None:
        return "?"
    named = [f"{kind} {serves_in[kind]}" for kind in ("api", "workers") if serves_in[kind]]
    return ", ".join(named) or "-"


def remarks(states: list[ProcessState]) -> list[str]:
    """The remarks below the table: processes that refuse a version, and processes that are bound to one."""
    pinned = Counter(state.version for state in states if state.pinned)
    bound = [
        f"{count} of {len(states)} processes serve {version} whatever is active: RISKLINE_MODEL_VERSION names it there"
        for version, count in pinned.items()
    ]
    return [*map(refusal, refusing(states)), *bound]


def refusal(state: ProcessState) -> str:
    """A process that does not serve the version that it should, and the reason."""
    return f"{state.kind} {state.host} (pid {state.pid}) serves {state.version or 'nothing'}: {state.problem}"


def follow(
    version: str, read_states: ReadStates, *, before: list[ProcessState], wait_seconds: float = WAIT_SECONDS
) -> str:
    """Waits until all processes serve a version that was activated; answers which do, in words.

    `before` is what they said before it was activated: what was refused then is tried again.

    Raises:
        InstallationError: a process refuses it, or does not serve it in time; says which, and why.
        StoreUnavailableError: Redis failed.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        states = read_states()
        free = [state for state in states if not state.pinned]
        behind = [state for state in free if state.version != version]
        refused = [state for state in refusing(behind) if state.wanted == version and state not in before]
        if not behind and not refusing(free):
            return _all_serve(version, free, pinned=len(states) - len(free))
        if refused or time.monotonic() >= deadline:
            break
        time.sleep(LOOK_AGAIN_SECONDS)
    count = f"{len(behind)} of {len(free)} processes do not serve {version}"
    raise InstallationError(f"{version} is active, but {count}: {'; '.join(map(_behind, behind or free))}")


def _behind(state: ProcessState) -> str:
    if state.problem:
        return refusal(state)
    return (
        f"{state.kind} {state.host} (pid {state.pid}) serves {state.version} and wants {state.wanted}: see that its "
        "RISKLINE_MODELS is this directory"
    )


def _all_serve(version: str, free: list[ProcessState], *, pinned: int) -> str:
    kept = f"; {pinned} more keep the version that their RISKLINE_MODEL_VERSION names" if pinned else ""
    if not free:
        return f"active: {version}; no process serves yet{kept}" if not pinned else f"active: {version}{kept}"
    count = by_version(free)[0]
    number = "the one process serves" if len(free) == 1 else f"all {len(free)} processes serve"
    return f"active: {version}; {number} it ({count}){kept}"


def say_active(version: str, *, wait: bool, before: list[ProcessState] | None, **overrides: object) -> None:
    """Says that a version is active and, where Redis can be asked, that all processes serve it.

    Raises:
        InstallationError: a process refuses it, or does not serve it in time.
    """
    if not wait or before is None:
        typer.echo(f"active: {version}", err=True)
        return
    try:
        with working(f"waiting until all processes serve {version}"):
            result = follow(version, lambda: living(**overrides), before=before)
        typer.echo(result, err=True)
    except StoreUnavailableError as error:
        typer.echo(f"active: {version}; which processes serve it is not known ({error})", err=True)


def known_living(**overrides: object) -> list[ProcessState] | None:
    """The states of the processes; None where Redis does not answer, with a line if a Redis is named."""
    try:
        return living(**overrides)
    except InstallationError:
        return None
    except StoreUnavailableError as error:
        typer.echo(f"which processes serve what is not known ({error})", err=True)
        return None
