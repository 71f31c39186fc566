"""`riskline train`: from a labelled file to a model version."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.progress import Progress

from riskline.cli.change_log import note_change
from riskline.cli.models.cold_history import cold_refusal
from riskline.cli.models.periods import (
    TestFromOption,
    TrainFromOption,
    TrainToOption,
    WarmUpOption,
    check_warm_up,
    periods,
    warm_up_of,
)
from riskline.cli.options import DataOption
from riskline.cli.output import written
from riskline.cli.terminal import rows_progress, stderr
from riskline.shared.clock import utc_now
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.policy import DEFAULT_DECLINE_THRESHOLD, Thresholds
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import BundleError, InstallationError
from riskline.shared.model.bundle import Manifest
from riskline.shared.model.description import Description
from riskline.shared.model.registry import Registry
from riskline.shared.settings import Settings, load_settings
from riskline.shared.wording import counted, no_transactions
from riskline.worker.training.calibration import Method
from riskline.worker.training.data.labelled import LabelledRows, read_labelled
from riskline.worker.training.data.periods import LeftOut, split
from riskline.worker.training.data.rows import Refusals
from riskline.worker.training.data.vectors import ReadingSteps
from riskline.worker.training.evaluation.measurement import measure
from riskline.worker.training.fit import Algorithm
from riskline.worker.training.train import Recipe
from riskline.worker.training.train import train as train_model

TWIN_DECIDES = "its twin, which decides while the history is away:"

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
FileArgument = Annotated[Path, typer.Argument(help="A .csv, .csv.gz, .ndjson or .parquet file.")]
LabelOption = Annotated[str, typer.Option("--label", help="The column that is 1 for fraud and 0 otherwise.")]
SkipOption = Annotated[bool, typer.Option("--skip-bad-rows", help="Leave out and list rows that are no transactions.")]
CalibrationOption = Annotated[
    str | None, typer.Option("--calibration", help="Make scores probabilities by labels: sigmoid or isotonic.")
]
ThresholdOption = Annotated[float, typer.Option("--decline-threshold", min=0, max=1, help="Decline strictly above it.")]


NameOption = Annotated[
    str, typer.Option("--name", help="A name for this version in lists and in the console.", show_default=False)
]
NoteOption = Annotated[
    str, typer.Option("--note", help="The reason for this version, in a sentence.", show_default=False)
]


def checked_description(name: str, note: str) -> Description:
    """The description from `--name` and `--note`.

    Raises:
        typer.BadParameter: it cannot be kept.
    """
    description = Description(name.strip(), note.strip())
    if problem := description.problem():
        raise typer.BadParameter(problem, param_hint="--name, --note")
    return description


def keep_description(registry: Registry, version: str, description: Description) -> None:
    """Keeps a name and a note with a version; where that fails it is a version all the same."""
    if not any(description):
        return
    try:
        registry.describe(version, description)
    except BundleError as error:
        stderr.print(f"its name and note were not kept: {error}", markup=False, soft_wrap=True)


# Typer takes one parameter an option
def train(
    *,
    file: FileArgument,
    algorithm: Annotated[
        str, typer.Option("--algorithm", help="random-forest, hist-gradient-boosting or isolation-forest.")
    ] = "random-forest",
    train_from: TrainFromOption = None,
    train_to: TrainToOption = None,
    test_from: TestFromOption = None,
    warm_up: WarmUpOption = None,
    skip_bad_rows: SkipOption = False,
    label: LabelOption = "is_fraud",
    decline_threshold: ThresholdOption = DEFAULT_DECLINE_THRESHOLD,
    review_threshold: Annotated[
        float | None, typer.Option("--review-threshold", min=0, max=1, help="Review strictly above it.")
    ] = None,
    calibration: CalibrationOption = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed and file give the same trees.")] = 0,
    activate: Annotated[
        bool | None, typer.Option("--activate/--no-activate", help="Serve it (default: if nothing else does).")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Keep a report with the version, where the console shows it.")
    ] = True,
    name: NameOption = "",
    note: NoteOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on a labelled file, print how good it is, and keep it as a version."""
    recipe = _recipe(algorithm, decline_threshold, review_threshold, calibration, seed)
    description = checked_description(name, note)
    wanted = periods(train_from, train_to, test_from)
    settings = load_settings(data=data)
    transaction_class = load_transaction_class(settings.transaction)
    check_warm_up(warm_up, transaction_class)
    registry = Registry(settings.models_dir)
    with rows_progress() as progress:
        labelled = labelled_rows(file, transaction_class, progress, label=label, skip_bad_rows=skip_bad_rows)
        cold = warm_up_of(labelled, transaction_class, warm_up, first=train_from)
        parts = split(labelled, wanted, warm_up=cold, seed=seed)
        progress.add_task(f"fitting {algorithm} on {len(parts.training.rows):,} rows")
        manifest = train_model(
            parts,
            recipe,
            inputs=inputs_of(transaction_class),
            created_at=utc_now(),
            models_dir=settings.models_dir,
        )
        keep_description(registry, manifest.version, description)
        if report:
            progress.add_task("writing its report")
            keep_report(registry, manifest.version, parts.test, file_name=file.name)
    active = activate_if_wanted(settings, manifest.version, wanted=activate)
    list_refusals(labelled.refusals, transaction_class)
    note_untimed(labelled)
    if as_json:
        shown = {**manifest.model_dump(), "active": active, "refused_rows": labelled.refusals.total}
        typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))
        return
    _print_version(manifest, data, active=active)


def _recipe(algorithm: str, decline: float, review: float | None, calibration: str | None, seed: int) -> Recipe:
    """The recipe that options name.

    Raises:
        typer.BadParameter: there is no such algorithm or calibration, or the thresholds contradict each other.
    """
    if algorithm not in list(Algorithm):
        raise typer.BadParameter(f"choose one of {', '.join(Algorithm)}", param_hint="--algorithm")
    if review is not None and review > decline:
        raise typer.BadParameter("must not be above the decline threshold", param_hint="--review-threshold")
    return Recipe(
        algorithm=Algorithm(algorithm),
        thresholds=Thresholds(decline=decline, review=review),
        calibration=method_named(calibration),
        seed=seed,
    )


def _print_version(manifest: Manifest, data: Path | None, *, active: bool) -> None:
    typer.echo(_report(manifest))
    where = "" if data is None else f" --data {shlex.quote(str(data))}"
    typer.echo("It serves now." if active else f"To serve it: riskline models activate {manifest.version}{where}")
    if advice := approved_frauds(manifest.metrics, version=manifest.version, where=where):
        typer.echo(advice)


def keep_report(registry: Registry, version: str, test: LabelledRows, *, file_name: str) -> None:
    """Keeps with a version how good it is on the rows held out; where that fails it is a version all the same."""
    from riskline.worker.training.report.page import page  # noqa: PLC0415  # matplotlib: where a report is wanted only

    model = registry.load(version)
    named = f"the rows of {file_name} that were held out"
    text = page(measure(test, model), test, model.manifest, file_name=named, command=None, made_at=utc_now())
    try:
        with written(registry.report_path(version)) as out:
            out.write(text.encode())
    except (InstallationError, OSError) as error:
        stderr.print(f"its report was not kept: {error}", markup=False, soft_wrap=True)


def method_named(calibration: str | None) -> Method | None:
    """The kind of curve that an option names; None where it names none.

    Raises:
        typer.BadParameter: there is no such kind.
    """
    if calibration is not None and calibration not in list(Method):
        raise typer.BadParameter(f"choose one of {', '.join(Method)}", param_hint="--calibration")
    return None if calibration is None else Method(calibration)


def steps_of(progress: Progress, first: str) -> ReadingSteps:
    """Shows how far the reading of a file is, beginning with a first step."""
    task = progress.add_task(first)

    def begin(step: str) -> None:
        nonlocal task
        task = progress.add_task(step)

    return ReadingSteps(lambda rows: progress.advance(task, rows), begin)


def labelled_rows(
    file: Path,
    transaction_class: type[TransactionModel],
    progress: Progress,
    *,
    label: str,
    skip_bad_rows: bool,
    card_column: str | None = None,
) -> LabelledRows:
    """Reads a labelled file and shows how far it is; raises as `read_labelled` does."""
    return read_labelled(
        file,
        transaction_class,
        label=label,
        skip_bad_rows=skip_bad_rows,
        steps=steps_of(progress, f"reading {file.name}"),
        card_column=card_column,
    )


def list_refusals(refusals: Refusals, transaction_class: type[TransactionModel]) -> None:
    """Lists on standard error the rows that were left out."""
    if refusals.total:
        stderr.print(f"left out {no_transactions(refusals.total)}:")
        for reason, count in refusals.by_reason.most_common():
            stderr.print(f"  {count:,} x {reason}")
        stderr.print(refusals.listed())
    if refusals.first_repeated is not None:
        row, transaction_id = refusals.first_repeated
        counts = "" if history_of(transaction_class) is None else ", and once in the history"
        stderr.print(
            f"note: {counted(refusals.repeated, 'row')} with a transaction_id that an earlier row has "
            f"(first: row {row}, {transaction_id}); each counts as a row of its own{counts}",
            markup=False,
            soft_wrap=True,
        )


def note_untimed(labelled: LabelledRows) -> None:
    """Says on standard error that the times of the file were not used, where it has some that cannot be read."""
    if labelled.untimed:
        stderr.print(
            f"no time was used: in {counted(labelled.untimed, 'row')} the timestamp is not written as in ISO 8601, "
            "for example 2026-11-24T03:15:07Z"
        )


def activate_if_wanted(settings: Settings, version: str, *, wanted: bool | None) -> bool:
    """Activates a version, where nothing was said if no other one serves; answers whether it is active now."""
    registry = Registry(settings.models_dir)
    if wanted is None:
        wanted = registry.active_version() is None
    note_change(settings.data, "model made", version=version)
    if wanted and (refusal := cold_refusal(registry, version, data=settings.data)) is not None:
        stderr.print(refusal, markup=False, soft_wrap=True)
        return False
    if wanted:
        registry.activate(version)
        note_change(settings.data, "model activated", version=version)
    return wanted


def _report(manifest: Manifest) -> str:
    training, test, review = manifest.training, manifest.training["test"], manifest.thresholds.review
    trained = f"trained on {training['rows']:,} rows ({training['frauds']:,} fraud)"
    lines = [
        f"model {manifest.version}: {manifest.estimator}",
        f"{trained}, tested on {test['rows']:,} others ({test['frauds']:,} fraud)",
        *(str(LeftOut(**each)) for each in training.get("left_out", ())),
        metrics_lines(manifest.metrics, review=review),
    ]
    if manifest.twin is not None:
        lines += [TWIN_DECIDES, metrics_lines(manifest.twin.metrics, review=manifest.twin.thresholds.review)]
    return "\n".join(lines)


def approved_frauds(metrics: dict[str, Any], *, version: str, where: str) -> str | None:
    """The share of frauds that the version's thresholds approve, and a way to choose others; None for no such fraud."""
    approved, frauds = metrics["frauds_approved"], metrics["frauds"]
    if not approved:
        return None
    return (
        f"At these thresholds {approved:,} of {counted(frauds, 'fraud')} ({approved / frauds:.0%}) are approved. "
        "Choose others by what a missed fraud and a wrong decline cost you, on rows that it was not trained on:\n"
        f"  riskline evaluate FILE --model {version}{where} --cost-fn COST --cost-fp COST"
    )


def metrics_lines(metrics: dict[str, Any], *, review: float | None) -> str:
    """The figures of a model as lines for people."""
    precision = "-" if metrics["precision"] is None else f"{metrics['precision']:.4f}"
    passed = counted(metrics["false_negatives"], "fraud")
    return "\n".join(
        (
            f"  ROC-AUC            {metrics['roc_auc']:.4f}",
            f"  average precision  {metrics['average_precision']:.4f}",
            f"  above {metrics['threshold']:g} (declined)",
            f"    precision        {precision}  ({counted(metrics['false_positives'], 'good one')} declined)",
            f"    recall           {metrics['recall']:.4f}  ({passed} not declined)",
            *(() if review is None else _reviewed(metrics, review)),
        )
    )


def _reviewed(metrics: dict[str, Any], review: float) -> Iterator[str]:
    yield f"  above {review:g} (reviewed)"
    yield f"    {counted(metrics['reviewed'], 'row')}, {metrics['frauds_reviewed']:,} of them fraud"
