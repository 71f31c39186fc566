"""`riskline models`: the versions of an installation, and the one that serves."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from riskline.cli.change_log import note_change
from riskline.cli.models.cold_history import refuse_cold
from riskline.cli.models.serving import cell, known_living, pinned_note, remarks, say_active, with_processes
from riskline.cli.options import DataOption
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.inputs import Inputs, inputs_of
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import Manifest, TwinManifest
from riskline.shared.model.registry import Registry
from riskline.shared.settings import load_settings
from riskline.shared.wording import counted

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="See that all processes serve it; by default for some seconds.")
]
ColdOption = Annotated[
    bool,
    typer.Option("--cold", help="Serve it although its history is not yet as long as in training."),
]
VersionArgument = Annotated[str, typer.Argument(help="A model version.")]

IMPORTED = (
    "the figures of an imported version are from the rows of its import: if it was trained on these, they are "
    "too good. Measure it on others: riskline evaluate FILE --model VERSION"
)


def list_versions(*, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the versions; the one that serves is marked."""
    settings = load_settings(data=data)
    registry = Registry(settings.models_dir)
    unpinned = _active(registry)
    active = unpinned if settings.model_version is None else settings.model_version
    shown = [_described(registry, version, is_active=version == active) for version in registry.versions()]
    states = known_living(data=data)
    shown = with_processes(shown, states)
    if as_json:
        typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))
        return
    table = Table(box=None)
    for heading in (
        "",
        "version",
        "serves in",
        "estimator",
        "made with",
        "ROC-AUC",
        "average precision",
        "measured on",
    ):
        table.add_column(heading, no_wrap=True)
    for each in shown:
        mark = "*" if each["active"] else ""
        if "problem" in each:
            table.add_row(mark, each["version"] or "-", cell(each["serves_in"]), _short(each["problem"]))
            continue
        figures = (_figure(each[name]) for name in ("roc_auc", "average_precision"))
        named = f"{each['version']}  {each['name']}" if each["name"] else each["version"]
        serves = (escape(named), cell(each["serves_in"]))
        table.add_row(mark, *serves, escape(each["estimator"]), _made_with(each), *figures, each["measured_on"] or "-")
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    for line in remarks(states or []):
        typer.echo(line, err=True)
    if any(each.get("imported") and each.get("measured_on") for each in shown):
        typer.echo(IMPORTED, err=True)
    if note := pinned_note(settings, active=unpinned):
        typer.echo(note, err=True)
    if not shown:
        typer.echo(f"no model in {settings.models_dir}: make one by `riskline train FILE`", err=True)


def _described(registry: Registry, version: str, *, is_active: bool) -> dict[str, Any]:
    """The entry of a version in the list, or the reason why it cannot be read."""
    try:
        manifest = registry.manifest(version)
    except BundleError as error:
        return {"version": version, "active": is_active, "problem": str(error)}
    return {
        "version": version,
        "active": is_active,
        **registry.description(version)._asdict(),
        "estimator": manifest.estimator,
        "rows": manifest.training.get("rows"),
        "imported": "imported_from" in manifest.training,
        "roc_auc": manifest.metrics.get("roc_auc"),
        "average_precision": manifest.metrics.get("average_precision"),
        "measured_on": measured_on(manifest),
        "history": None if manifest.history is None else list(manifest.history.columns),
        "twin": None if manifest.twin is None else _twin(manifest.twin),
    }


def _twin(manifest: TwinManifest) -> dict[str, Any]:
    """The twin's part of a list's entry."""
    figures = {name: manifest.metrics.get(name) for name in ("roc_auc", "average_precision")}
    return {"estimator": manifest.estimator, "thresholds": manifest.thresholds.model_dump(), **figures}


def _active(registry: Registry) -> str | None:
    """The active version; None where there is none, or with a line where the file that names it is damaged."""
    try:
        return registry.active_version()
    except BundleError as error:
        typer.echo(str(error), err=True)
        return None


def show(*, version: VersionArgument, data: DataOption = None) -> None:
    """Print a version's manifest: features, thresholds, training data, figures."""
    manifest = Registry(load_settings(data=data).models_dir).manifest(version)
    typer.echo(orjson.dumps(manifest.model_dump(), option=orjson.OPT_INDENT_2))


def activate(
    *, version: VersionArgument, data: DataOption = None, wait: WaitOption = True, cold: ColdOption = False
) -> None:
    """Serve a version; API and workers take it up within seconds, without a restart."""

    def change(registry: Registry, inputs: Inputs) -> str:
        registry.load(version, inputs)
        refuse_cold(registry, version, data=data, cold=cold)
        registry.activate(version, inputs)
        return version

    _switch(change, "model activated", data=data, wait=wait)


def rollback(*, data: DataOption = None, wait: WaitOption = True) -> None:
    """Serve the version again that was active before."""
    _switch(Registry.rollback, "model rolled back", data=data, wait=wait)


def _switch(change: Callable[[Registry, Inputs], str], what: str, *, data: Path | None, wait: bool) -> None:
    """Changes the active version, and reports the processes that serve it."""
    settings = load_settings(data=data)
    before = known_living(data=data) if wait else None
    active = change(Registry(settings.models_dir), inputs_of(load_transaction_class(settings.transaction)))
    note_change(data, what, version=active)
    if note := pinned_note(settings, active=active):
        typer.echo(note, err=True)
    say_active(active, wait=wait, before=before, data=data)


def _short(problem: str) -> str:
    """The cell of a version without figures."""
    here = ("not in this directory", "no model serves")
    return problem if problem in here else "unreadable: `riskline models verify` says why"


def verify(*, version: VersionArgument, data: DataOption = None) -> None:
    """Check every byte of a version."""
    model = Registry(load_settings(data=data).models_dir).load(version)
    typer.echo(f"{version} is whole{'' if model.twin is None else ', and so is its twin'}", err=True)


def _made_with(version: dict[str, Any]) -> str:
    rows = version["rows"] if isinstance(version["rows"], int) else 0
    history = "" if version["history"] is None else f", history{'' if version['twin'] else ' without a twin'}"
    return f"{rows:,} rows{history}{', imported' if version['imported'] else ''}"


def measured_on(manifest: Manifest) -> str | None:
    """The rows from which a version's figures are; None where it has none."""
    if manifest.metrics.get("roc_auc") is None:
        return None
    rows = manifest.metrics.get("rows")
    count = counted(rows, "row") if isinstance(rows, int) else "rows"
    return f"{count} of its import" if "imported_from" in manifest.training else f"{count} held out"


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"
