"""`riskline models`: the versions that are here, and which one serves."""

import sys
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from cli.installation import DataOption
from cli.models_import import import_model
from shared.errors import BundleError
from shared.model.registry import Registry
from shared.settings import load_settings
from shared.transaction import load_transaction_class

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
VersionArgument = Annotated[str, typer.Argument(help="A model version.")]

models = typer.Typer(help="The model versions of this installation.", no_args_is_help=True)
models.command("import")(import_model)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(models, name="models")


@models.command("list")
def list_versions(*, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the versions; the one that serves is marked."""
    settings = load_settings(data=data)
    registry = Registry(settings.models_dir, pinned_version=settings.model_version)
    active = registry.active_version()
    shown = []
    for version in registry.versions():
        try:
            manifest = registry.manifest(version)
        except BundleError as error:
            shown.append({"version": version, "active": version == active, "problem": str(error)})
            continue
        shown.append(
            {
                "version": version,
                "active": version == active,
                "estimator": manifest.estimator,
                "rows": manifest.training.get("rows"),
                "roc_auc": manifest.metrics.get("roc_auc"),
                "average_precision": manifest.metrics.get("average_precision"),
            }
        )
    if as_json:
        typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))
        return
    table = Table(box=None)
    for heading in ("", "version", "estimator", "trained on", "ROC-AUC", "average precision"):
        table.add_column(heading, no_wrap=True)
    for each in shown:
        mark = "*" if each["active"] else ""
        if "problem" in each:
            table.add_row(mark, str(each["version"]), "unreadable: `riskline models verify` says why")
            continue
        figures = (f"{each[name]:.4f}" if each[name] is not None else "-" for name in ("roc_auc", "average_precision"))
        table.add_row(mark, str(each["version"]), str(each["estimator"]), f"{each['rows'] or 0:,} rows", *figures)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if not shown:
        typer.echo(f"no model in {settings.models_dir}: make one by `riskline train FILE`", err=True)


@models.command("show")
def show(*, version: VersionArgument, data: DataOption = None) -> None:
    """Print a version's manifest: features, thresholds, training data, figures."""
    manifest = Registry(load_settings(data=data).models_dir).manifest(version)
    typer.echo(orjson.dumps(manifest.model_dump(), option=orjson.OPT_INDENT_2))


@models.command("activate")
def activate(*, version: VersionArgument, data: DataOption = None) -> None:
    """Serve a version; API and workers take it up within seconds, without a restart."""
    settings = load_settings(data=data)
    Registry(settings.models_dir).activate(version, load_transaction_class(settings.transaction).feature_names())
    typer.echo(f"active: {version}", err=True)


@models.command("rollback")
def rollback(*, data: DataOption = None) -> None:
    """Serve the version again that was active before."""
    settings = load_settings(data=data)
    features = load_transaction_class(settings.transaction).feature_names()
    typer.echo(f"active: {Registry(settings.models_dir).rollback(features)}", err=True)


@models.command("verify")
def verify(*, version: VersionArgument, data: DataOption = None) -> None:
    """Check every byte of a version."""
    Registry(load_settings(data=data).models_dir).load(version)
    typer.echo(f"{version} is whole", err=True)
