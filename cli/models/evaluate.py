"""`riskline evaluate`: the figures of a model version on a labelled file, and a choice of thresholds."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import orjson
import typer

from riskline.cli.lazy_group import missing_packages
from riskline.cli.models.periods import FromOption, ToOption, WarmUpOption, check_warm_up, warm_up_of
from riskline.cli.models.training import (
    FileArgument,
    JsonOption,
    LabelOption,
    SkipOption,
    labelled_rows,
    list_refusals,
    metrics_lines,
    note_untimed,
)
from riskline.cli.options import DataOption
from riskline.cli.output import written
from riskline.cli.terminal import rows_progress, stderr, working
from riskline.shared.clock import utc_now
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.model.bundle import Manifest, ServingModel, TwinManifest, no_twin
from riskline.shared.model.registry import Registry
from riskline.shared.settings import load_settings
from riskline.worker.training.data.labelled import LabelledRows
from riskline.worker.training.data.periods import LeftOut, between
from riskline.worker.training.evaluation.evaluate import evaluate as metrics_of
from riskline.worker.training.evaluation.measurement import Measurement, costs_of, measure
from riskline.worker.training.evaluation.overlap import overlap
from riskline.worker.training.evaluation.thresholds import PROMISE


# Typer takes one parameter an option
def evaluate(
    *,
    file: FileArgument,
    model: Annotated[str | None, typer.Option("--model", help="A version (default: the one that serves).")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write a report with charts: one HTML file.")] = None,
    keep_report: Annotated[
        bool, typer.Option("--keep-report", help="Keep the report with the version, where the console shows it.")
    ] = False,
    cost_fn: Annotated[
        str | None, typer.Option("--cost-fn", help="The cost of a missed fraud: a number, or the name of a feature.")
    ] = None,
    cost_fp: Annotated[
        float | None, typer.Option("--cost-fp", min=0, help="The cost of declining a good one: a number.")
    ] = None,
    alerts_per_day: Annotated[
        int | None, typer.Option("--alerts-per-day", min=1, help="The number of reviews a day that there is time for.")
    ] = None,
    card_column: Annotated[
        str | None, typer.Option("--card-column", help="The column of the card (default: card_id, if any).")
    ] = None,
    first: FromOption = None,
    last: ToOption = None,
    warm_up: WarmUpOption = None,
    twin: Annotated[
        bool, typer.Option("--twin", help="Measure its twin, which decides while the history is away.")
    ] = False,
    skip_bad_rows: SkipOption = False,
    label: LabelOption = "is_fraud",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model version on a labelled file, choose thresholds, write a report."""
    page = _report_page() if report is not None or keep_report else None
    if (cost_fn is None) != (cost_fp is None):
        raise typer.BadParameter("needs the other cost too", param_hint="--cost-fn, --cost-fp")
    if report is not None and report.resolve() == file.resolve():
        raise typer.BadParameter("would replace the file that is measured", param_hint="--report")
    if twin and keep_report:
        raise typer.BadParameter("would be the twin's in the place of the version's", param_hint="--keep-report")
    settings = load_settings(data=data)
    transaction_class = load_transaction_class(settings.transaction)
    check_warm_up(warm_up, transaction_class)
    inputs = inputs_of(transaction_class)
    registry = Registry(settings.models_dir, pinned_version=model or settings.model_version)
    serving = registry.load_active(inputs)
    judge = _judge(serving, twin=twin)
    reports = [] if report is None else [report]
    if keep_report:
        reports.append(registry.report_path(serving.version))
    with ExitStack() as files, rows_progress() as progress:
        outs = [files.enter_context(written(each)) for each in reports]
        labelled = labelled_rows(
            file, transaction_class, progress, label=label, skip_bad_rows=skip_bad_rows, card_column=card_column
        )
        cold = warm_up_of(labelled, transaction_class, warm_up, first=first)
        rows, left_out = between(labelled, first, last, warm_up=cold)
        progress.add_task(f"measuring on {len(rows.rows):,} rows")
        measured = measure(
            rows.columns(inputs.without_history()) if twin else rows,
            judge.model,
            costs=costs_of(rows, inputs.features, missed=cost_fn, declined=cost_fp),
            alerts_per_day=alerts_per_day,
            known=overlap(rows, serving.manifest.training, serving.rows_sketch),
        )
        command = _command(measured, judge, data)
        if page is not None:
            progress.add_task("writing the report")
            text = page(measured, rows, judge.manifest, file_name=file.name, command=command, made_at=utc_now())
            for out in outs:
                out.write(text.encode())
    list_refusals(labelled.refusals, transaction_class)
    note_untimed(labelled)
    stderr.print(f"{'warning' if measured.known.is_warning else 'note'}: {measured.known.text}", markup=False)
    beside = None if twin or serving.twin is None else _beside(rows.columns(inputs.without_history()), serving.twin)
    if as_json:
        _print_json(measured, judge, left_out, {"command": command, "report": _first(reports), "twin": beside})
        return
    typer.echo(f"{judge.name} on {file.name}")
    for each in left_out:
        typer.echo(str(each))
    typer.echo(metrics_lines(measured.metrics, review=judge.model.thresholds.review))
    if beside is not None:
        typer.echo(_beside_words(beside))
    _print_measurement(measured, command, reports)


class _Judge(NamedTuple):
    """What is measured: a version, or the twin of one."""

    model: ServingModel
    manifest: Manifest
    is_twin: bool

    @property
    def name(self) -> str:
        return f"the twin of model {self.manifest.version}" if self.is_twin else f"model {self.manifest.version}"


def _judge(serving: ServingModel, *, twin: bool) -> _Judge:
    if not twin:
        return _Judge(serving, serving.manifest, is_twin=False)
    part = serving.manifest.twin
    if part is None or serving.twin is None:
        raise no_twin(serving.manifest)
    said = {name: getattr(part, name) for name in TwinManifest.model_fields}
    manifest = serving.manifest.model_copy(update={**said, "history": None, "twin": None})
    return _Judge(serving.twin, manifest, is_twin=True)


def _beside(rows: LabelledRows, twin: ServingModel) -> dict[str, Any]:
    """The figures of the twin on the same rows."""
    return metrics_of(rows.labels, twin.score(rows.rows), thresholds=twin.thresholds)


def _beside_words(metrics: dict[str, Any]) -> str:
    return (
        f"  without history    ROC-AUC {metrics['roc_auc']:.4f}, average precision {metrics['average_precision']:.4f} "
        "(its twin; --twin has all its figures)"
    )


def _print_json(measured: Measurement, judge: _Judge, left_out: Sequence[LeftOut], others: dict[str, Any]) -> None:
    shown = {"model_version": judge.manifest.version, **measured.described()}
    if judge.is_twin:
        shown["of_twin"] = True
    if left_out:
        shown["left_out"] = [each._asdict() for each in left_out]
    shown |= {name: value for name, value in others.items() if value is not None}
    typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))


def _first(reports: list[Path]) -> str | None:
    return str(reports[0]) if reports else None


def _report_page() -> Callable[..., str]:
    with working("loading matplotlib"):
        try:
            from riskline.worker.training.report.page import page  # noqa: PLC0415  # where a report is wanted only
        except ImportError as error:
            raise missing_packages("riskline evaluate", error) from error
    return page


def _print_measurement(measured: Measurement, command: str | None, reports: list[Path]) -> None:
    typer.echo(_intervals(measured))
    _say_chosen(measured, command)
    for each in reports:
        stderr.print(f"report: {each}", markup=False, soft_wrap=True)


def _intervals(measured: Measurement) -> str:
    """The confidence intervals of precision and recall at the threshold, and their unit: cards or rows."""
    cards = measured.scored.by_card
    how = "rows taken for independent"
    if cards is not None:
        how = f"by card: frauds on {cards.with_fraud:,} of {cards.number:,}"
    shares = {"precision": measured.now.precision, "recall": measured.now.recall}
    intervals = [f"{name} {each.low:.3f} to {each.high:.3f}" for name, each in shares.items() if each.low is not None]
    return f"  95 % intervals at {measured.now.threshold:g}: {', '.join(intervals)} ({how})"


def _command(measured: Measurement, judge: _Judge, data: Path | None) -> str | None:
    """The command that makes a version with the chosen thresholds; None where they are the present ones."""
    if measured.chosen is None or measured.chosen.thresholds == judge.model.thresholds:
        return None
    chosen = measured.chosen.thresholds
    review = ["--no-review"] if chosen.review is None else ["--review", str(chosen.review)]
    more = [*(["--twin"] if judge.is_twin else []), *([] if data is None else ["--data", str(data)])]
    version = judge.manifest.version
    return shlex.join(["riskline", "models", "thresholds", version, "--decline", str(chosen.decline), *review, *more])


def _say_chosen(measured: Measurement, command: str | None) -> None:
    if measured.chosen is None:
        return
    for sentence in measured.chosen.because:
        typer.echo(sentence)
    typer.echo(f"({PROMISE})")
    typer.echo("the model has these thresholds" if command is None else f"To apply it: {command}")
