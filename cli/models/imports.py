"""`riskline models import`: a team's own trained model becomes a version."""

import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import orjson
import typer
from rich.progress import Progress

from riskline.cli.models.training import (
    CalibrationOption,
    NameOption,
    NoteOption,
    SkipOption,
    ThresholdOption,
    activate_if_wanted,
    approved_frauds,
    checked_description,
    keep_description,
    list_refusals,
    method_named,
    metrics_lines,
    steps_of,
)
from riskline.cli.options import DataOption, FraudClassOption, KeyOption
from riskline.cli.terminal import rows_progress, stderr
from riskline.shared.clock import utc_now
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.policy import DEFAULT_DECLINE_THRESHOLD, Thresholds
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.bundle import Manifest
from riskline.shared.model.registry import Registry
from riskline.shared.settings import load_settings
from riskline.worker.training.imports.importer import Importer, ModelFile
from riskline.worker.training.imports.importer import import_model as make_version
from riskline.worker.training.imports.reference import Reference, read_reference


# Typer takes one parameter an option
def import_model(
    *,
    file: Annotated[Path, typer.Argument(help="A file of joblib or pickle; XGBoost's .json or .ubj; LightGBM's .txt.")],
    reference: Annotated[
        Path, typer.Option("--reference", help="Transactions like those to come (.csv, .csv.gz, .ndjson, .parquet).")
    ],
    features: Annotated[
        str | None, typer.Option("--features", help="The model's columns in its order, a,b,c, where it has no names.")
    ] = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="Open the file only if it has this sha256.")] = None,
    key: KeyOption = None,
    fraud_class: FraudClassOption = None,
    python: Annotated[
        str | None,
        typer.Option("--python", help="A Python with the libraries that wrote the file (default: this one)."),
    ] = None,
    skip_bad_rows: SkipOption = False,
    label: Annotated[
        str | None,
        typer.Option("--label", help="The column that is 1 for fraud and 0 otherwise (default: is_fraud, if any)."),
    ] = None,
    decline_threshold: ThresholdOption = DEFAULT_DECLINE_THRESHOLD,
    review_threshold: Annotated[
        float | None, typer.Option("--review-threshold", min=0, max=1, help="Review strictly above it.")
    ] = None,
    calibration: CalibrationOption = None,
    twin: Annotated[
        Path | None,
        typer.Option("--twin", help="The model that decides while the history is away, on the columns without it."),
    ] = None,
    twin_features: Annotated[
        str | None, typer.Option("--twin-features", help="The columns of --twin in its order, where it has no names.")
    ] = None,
    twin_sha256: Annotated[
        str | None, typer.Option("--twin-sha256", help="Open the file of --twin only if it has this sha256.")
    ] = None,
    activate: Annotated[
        bool | None, typer.Option("--activate/--no-activate", help="Serve it (default: if nothing else does).")
    ] = None,
    name: NameOption = "",
    note: NoteOption = "",
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Make a version of a model that was trained elsewhere, after proof that it scores the same here."""
    if review_threshold is not None and review_threshold > decline_threshold:
        raise typer.BadParameter("must not be above the decline threshold", param_hint="--review-threshold")
    method = method_named(calibration)
    description = checked_description(name, note)
    settings = load_settings(data=data)
    transaction_class = load_transaction_class(settings.transaction)
    inputs = inputs_of(transaction_class)
    if twin is not None and inputs.history is None:
        raise typer.BadParameter(f"{transaction_class.__name__} has no columns of history", param_hint="--twin")
    thresholds = Thresholds(decline=decline_threshold, review=review_threshold)
    told = partial(ModelFile, thresholds=thresholds, fraud_class=fraud_class)
    with rows_progress() as progress, _ended_in_order():
        rows = _read_reference(
            reference, transaction_class, progress, label=label, fraud_class=fraud_class, skip_bad_rows=skip_bad_rows
        )
        progress.add_task(f"importing {file.name}")
        manifest = make_version(
            told(path=file, named=_names(features), sha256=sha256, key=key),
            rows,
            Importer(warn=_warn, calibration=method, python=python, renamed=transaction_class.FILE_COLUMNS),
            inputs=inputs,
            twin=None if twin is None else told(path=twin, named=_names(twin_features), sha256=twin_sha256),
            created_at=utc_now(),
            models_dir=settings.models_dir,
        )
    keep_description(Registry(settings.models_dir), manifest.version, description)
    active = activate_if_wanted(settings, manifest.version, wanted=activate)
    list_refusals(rows.refusals, transaction_class)
    if as_json:
        _print_json(manifest, active=active)
        return
    _print_import(manifest, file, reference, data, active=active)


def _warn(message: str) -> None:
    stderr.print(f"warning: {message}", markup=False)


def _names(told: str | None) -> list[str] | None:
    return None if told is None else [name.strip() for name in told.split(",")]


def _read_reference(
    reference: Path,
    transaction_class: type[TransactionModel],
    progress: Progress,
    *,
    label: str | None,
    fraud_class: str | None,
    skip_bad_rows: bool,
) -> Reference:
    rows = read_reference(
        reference,
        transaction_class,
        label=label,
        fraud_class=fraud_class,
        skip_bad_rows=skip_bad_rows,
        steps=steps_of(progress, f"reading {reference.name}"),
    )
    if 0 < rows.labelled < len(rows.rows):
        stderr.print(
            f"note: only {rows.labelled:,} of {len(rows.rows):,} rows of {reference.name} have "
            f"{label or 'is_fraud'}, so no labels are used",
            markup=False,
        )
    return rows


def _print_json(manifest: Manifest, *, active: bool) -> None:
    facts = {
        name: manifest.training[name] for name in ("imported_from", "sha256", "rows", "edge_rows", "max_difference")
    }
    shown = {
        "model_version": manifest.version,
        "estimator": manifest.estimator,
        "features": manifest.features,
        **facts,
        **({} if manifest.history is None else {"twin": manifest.training.get("twin")}),
        "metrics": manifest.metrics,
        "active": active,
    }
    typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))


def _print_import(manifest: Manifest, file: Path, reference: Path, data: Path | None, *, active: bool) -> None:
    facts = manifest.training
    edges = "thresholds" if manifest.scoring.linear is None else "columns' ends"
    stderr.print(
        f"{manifest.estimator} of {file.name}: scores within {facts['max_difference']:.2g} of its own on "
        f"{facts['rows']:,} rows and on {facts['edge_rows']:,} at its {edges}; "
        f"{'it serves now' if active else 'it does not serve yet'}",
        markup=False,
    )
    if "average_precision" in manifest.metrics:
        figures = metrics_lines(manifest.metrics, review=manifest.thresholds.review)
        where = "" if data is None else f" --data {shlex.quote(str(data))}"
        advice = approved_frauds(manifest.metrics, version=manifest.version, where=where)
        for line in (f"on the labels of {reference.name}:", figures, _guess(manifest.metrics), advice):
            if line is not None:
                stderr.print(line, markup=False, highlight=False)
    if manifest.history is not None:
        stderr.print(_about_twin(manifest), markup=False, soft_wrap=True)
    typer.echo(manifest.version)


def _about_twin(manifest: Manifest) -> str:
    """What decides while the history is away."""
    if manifest.twin is None:
        return (
            "note: it has no twin, so RISKLINE_HISTORY=required is its only mode: while the history is away nothing is "
            "decided. Import the model that decides then with it, by --twin FILE"
        )
    difference = manifest.training["twin"]["max_difference"]
    return (
        f"its twin, {manifest.twin.estimator} of {manifest.training['twin']['imported_from']}, scores within "
        f"{difference:.2g} of its own, and decides while the history is away, by the same thresholds; for others: "
        f"riskline models thresholds {manifest.version} --twin --decline THRESHOLD"
    )


def _guess(metrics: dict[str, Any]) -> str:
    """The figures of a model that guesses, for comparison."""
    share = metrics["frauds"] / metrics["rows"]
    return f"  (a model that guesses has ROC-AUC 0.5 and average precision {share:.4f}, the share of frauds)"


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """A signal that ends this process is an exception meanwhile, so that no process and no file is left behind."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    taken = []
    if threading.current_thread() is threading.main_thread():
        # one that is ignored, as under nohup, stays so
        taken = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) == signal.SIG_DFL]
    try:
        for number in taken:
            signal.signal(number, end)
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
