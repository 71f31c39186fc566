"""`riskline doctor`: the diagnosis of an installation, with the remedy for each fault."""

import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.util import find_spec
from typing import Annotated

import typer

from riskline.cli.change_log import note_change
from riskline.cli.doctor.api_keys_check import check_keys
from riskline.cli.doctor.audit import audit_installation
from riskline.cli.doctor.finding import Finding, Verdict
from riskline.cli.doctor.history import check_history
from riskline.cli.doctor.history_redis import check_history_redis
from riskline.cli.doctor.models import check_versions
from riskline.cli.doctor.redis import check_redis, check_work
from riskline.cli.doctor.store import accept_losses
from riskline.cli.installation import Installation, installation_settings, installation_store
from riskline.cli.options import DataOption, JsonOption
from riskline.cli.up.api_probe import ReadinessPoll, free_port
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.errors import BundleError, InstallationError, RisklineError
from riskline.shared.model.build import LIBRARY
from riskline.shared.model.registry import Registry
from riskline.shared.settings import Settings
from riskline.shared.wording import install_command

OLDEST_PYTHON = (3, 11)

EXTRAS = {
    "train": (("sklearn", "joblib"), "`riskline train` and `models import`"),
    "files": (("polars",), "`riskline score`, `train` and `evaluate`"),
}


def doctor(
    *,
    data: DataOption = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Prove instead that no accepted transaction is lost: reads the whole queue.")
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Take note that the store has lost data: the alarm ends.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is wrong with this installation and what to do; exit 1 where something fails."""
    counts: dict[str, int | None] = {}
    if accept_loss:
        with installation_store(data=data) as store:
            accepted = accept_losses(installation_settings(data=data), store)
        note_change(data, "loss of the store accepted", lost="; ".join(accepted) if accepted else "nothing")
    if audit:
        findings, counts = audit_installation(data=data)
    else:
        findings = list(diagnose(data=data))
    healthy = all(finding.verdict is not Verdict.FAIL for finding in findings)
    if as_json:
        shown = {"healthy": healthy, "checks": [asdict(finding) for finding in findings]}
        typer.echo(json.dumps(shown | ({"counts": counts} if counts else {})))
    else:
        for finding in findings:
            typer.echo(f"{finding.verdict:<5}{finding.check:<10}{finding.detail}")
    if not healthy:
        raise typer.Exit(1)


def diagnose(**overrides: object) -> Iterator[Finding]:
    """The findings, one after another; the settings come first, as all that follows depends on them."""
    yield _check_python()
    try:
        settings = installation_settings(**overrides)
    except RisklineError as error:
        yield Finding("settings", Verdict.FAIL, str(error))
        return
    yield Finding("settings", Verdict.OK, f"valid; the data directory is {settings.data}")
    yield _check_data(settings)
    yield _check_kernel()
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...]
    checks = (_check_model, check_keys, _check_redis, check_history_redis, check_port)
    for check in checks:
        yield from check(settings)
    yield from _check_extras()


def _check_python() -> Finding:
    running = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("python", Verdict.FAIL, f"{running} is too old: install 3.11 or later")
    return Finding("python", Verdict.OK, running)


def _check_data(settings: Settings) -> Finding:
    directory = settings.data.resolve()
    while not directory.exists():
        directory = directory.parent
    if not os.access(directory, os.W_OK):
        return Finding("data", Verdict.FAIL, f"{directory} is not writable: name another directory with --data")
    state = Installation(settings.data).running_state()
    return Finding("data", Verdict.OK, "writable" + (f"; `riskline up` runs (pid {state.pid})" if state else ""))


def _check_kernel() -> Finding:
    try:
        ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        advice = "run `make install`, or `python -m riskline.shared.model.build`"
        return Finding("kernel", Verdict.FAIL, f"cannot be loaded ({error}): {advice}")
    return Finding("kernel", Verdict.OK, f"built ({LIBRARY})")


def _check_model(settings: Settings) -> Iterator[Finding]:
    registry = Registry(settings.models_dir, pinned_version=settings.model_version)
    try:
        model = registry.load_active(inputs_of(load_transaction_class(settings.transaction)))
    except BundleError as error:
        never_made = settings.model_version is None and not registry.versions()
        hint = "; `riskline up` makes one from simulated transactions" if never_made else ""
        yield Finding("model", Verdict.WARN if never_made else Verdict.FAIL, f"{error}{hint}")
    except RisklineError as error:
        yield Finding("model", Verdict.FAIL, str(error))
    else:
        yield Finding("model", Verdict.OK, f"{model.version} serves from {settings.models_dir}")
        if model.manifest.history is not None:
            yield from check_history(settings, has_twin=model.manifest.twin is not None)


def _check_redis(settings: Settings) -> Iterator[Finding]:
    # one that does not answer is waited for once, not once more for each question
    answers = yield from check_redis(settings)
    if answers:
        yield from check_versions(settings)
        yield from check_work(settings)


def check_port(settings: Settings) -> Iterator[Finding]:
    """Checks that the port is free, or that the API which listens there is ready."""
    state = Installation(settings.data).running_state()
    host, port = (settings.host, settings.port) if state is None else (state.host, state.port)
    if state is None:
        try:
            free_port(host, port)
        except InstallationError as error:
            problem = str(error)
        else:
            yield Finding("port", Verdict.OK, f"{port} on {host} is free")
            return
    answered = ReadinessPoll(host, port).ask()
    if answered is not None:
        verdict = Verdict.OK if answered.is_ready else Verdict.FAIL
        yield Finding("port", verdict, f"Riskline's API answers on {port} and {answered.sentence}")
    elif state is None:
        hangs = "it does not answer as an API of Riskline does; if it is one, it hangs"
        yield Finding("port", Verdict.FAIL, f"{problem}; {hangs}")
    else:
        yield Finding("port", Verdict.FAIL, f"`riskline up` runs, and its API does not answer on {port}: see its log")


def _check_extras() -> Iterator[Finding]:
    for extra, (modules, use) in EXTRAS.items():
        missing = [name for name in modules if find_spec(name) is None]
        if missing:
            detail = f"{', '.join(missing)} not installed; {use} need them: {install_command(extra)}"
            yield Finding(extra, Verdict.WARN, detail)
        else:
            yield Finding(extra, Verdict.OK, f"installed, for {use}")
