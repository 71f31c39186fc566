"""`riskline score`: a file of transactions in, a file of decisions out."""

import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.progress import Progress

from riskline.cli.files.scoring import Job, Score
from riskline.cli.files.scoring_pool import scoring
from riskline.cli.options import DataOption
from riskline.cli.output import written
from riskline.cli.terminal import rows_progress_to_end, stderr
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError, InstallationError
from riskline.shared.model.registry import Registry
from riskline.shared.settings import Settings, load_settings
from riskline.shared.wording import counted, install_command, no_transactions
from riskline.worker.training.data.rows import Block, Refusals

SMALL_FILE_BYTES = 1_000_000
"""A file that one process has scored before others would have started."""

MOST_PROCESSES = 8
"""The default maximum: this process cannot read a file fast enough for more."""

CONNECTIONS = 8
"""The default: as many as one process keeps busy, and some for the time on the network."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


# Typer takes one parameter an option
def score(
    *,
    file: Annotated[Path, typer.Argument(help="A .csv, .csv.gz, .ndjson or .parquet file.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The file for the decisions, NDJSON (default: standard output).")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="A version (default: the one that serves).")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Give reasons with approvals, too.")] = False,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave out and list rows that are no transactions.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Processes that score (default: one a core, 8 at most).")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Have a running service decide, instead of a model here.")
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", help="A file that has the API key for --url (default: RISKLINE_API_KEY)."),
    ] = None,
    connections: Annotated[
        int | None,
        typer.Option("--connections", min=1, max=100, help="Rows at a time with --url (default: 8)."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Decide every transaction of a file; the output file appears whole or not at all."""
    _check_usage(url, here={"--model": model, "--processes": processes}, there=(api_key_file, connections))
    settings = load_settings(data=data)
    transaction_class = load_transaction_class(settings.transaction)
    progress = rows_progress_to_end()
    if url is None:
        scorer = _scoring_here(
            settings,
            transaction_class,
            wanted=model or settings.model_version,
            explain=explain,
            processes=processes or _processes(file),
        )
    else:
        scorer = _scoring_there(
            transaction_class,
            url=url,
            api_key=_api_key(settings, api_key_file),
            explain=explain,
            connections=connections or CONNECTIONS,
            say=partial(_describe, progress),
        )
    refusals = Refusals()
    decided = 0
    # processes that score start before polars is imported here: they don't need it
    with _cleared_away(), progress:
        progress.add_task("starting" if url is None else f"asking {url}")
        with scorer as (score_blocks, versions):
            blocks, rows = _opened(file, transaction_class, with_ids=url is not None)
            task = progress.add_task(f"scoring {file.name}", total=rows)
            with written(out) as sink:
                for scored in score_blocks(blocks):
                    refusals.merge(scored.refusals)
                    if refusals.total and not skip_bad_rows:
                        raise _bad_rows(file, refusals)
                    sink.write(scored.ndjson)
                    decided += scored.decided
                    done = scored.decided + scored.refusals.total
                    # the text, too: it may say that the service did not answer
                    progress.update(task, advance=done, description=f"scoring {file.name}")
    _print_totals(decided, versions, refusals)


def _print_totals(decided: int, versions: Collection[str], refusals: Refusals) -> None:
    stderr.print(f"{counted(decided, 'decision')} by model {', '.join(versions)}")
    if refusals.total:
        stderr.print(f"left out {no_transactions(refusals.total)}:\n{refusals.listed()}", highlight=False)


Scoring = Iterator[tuple[Score, Collection[str]]]
"""The scorer of blocks, and the model versions that have decided so far."""


@contextmanager
def _scoring_here(
    settings: Settings,
    transaction_class: type[TransactionModel],
    *,
    wanted: str | None,
    explain: bool,
    processes: int,
) -> Scoring:
    registry = Registry(settings.models_dir, pinned_version=wanted)
    version = registry.load_active(inputs_of(transaction_class)).version
    job = Job(models_dir=settings.models_dir, version=version, transaction=settings.transaction, explain=explain)
    with scoring(job, processes=processes) as score_blocks:
        yield score_blocks, (version,)


@contextmanager
def _scoring_there(
    transaction_class: type[TransactionModel],
    *,
    url: str,
    api_key: str | None,
    explain: bool,
    connections: int,
    say: Callable[[str], None],
) -> Scoring:
    try:
        from riskline.cli.files.scoring_service import Service, scoring_by  # noqa: PLC0415  # httpx is not where it only serves
    except ImportError as error:
        raise InstallationError(f"`--url` needs httpx and tenacity: {install_command('client')} ({error})") from error
    service = Service(url=url, api_key=api_key, connections=connections, explain=explain)
    with scoring_by(service, transaction_class, say=say) as score_blocks:
        yield score_blocks, score_blocks.versions


def _describe(progress: Progress, text: str) -> None:
    for task in progress.task_ids:
        progress.update(task, description=text)


def _check_usage(url: str | None, *, here: Mapping[str, object], there: Collection[object]) -> None:
    if url is None and any(value is not None for value in there):
        raise typer.BadParameter("are for scoring with --url", param_hint="--api-key-file, --connections")
    given = [name for name, value in here.items() if value is not None]
    if url is not None and given:
        raise typer.BadParameter("is for scoring without --url", param_hint=", ".join(given))


def _api_key(settings: Settings, file: Path | None) -> str | None:
    if file is None:
        return None if settings.api_key is None else settings.api_key.get_secret_value()
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InstallationError(f"{file}: the API key cannot be read from it: {why}") from error


def _opened(
    file: Path, transaction_class: type[TransactionModel], *, with_ids: bool
) -> tuple[Iterator[Block], int | None]:
    """The file's rows, and about how many there are; a service keeps decisions by id, so it needs those of the file."""
    try:
        from riskline.worker.training.data.dataset import estimated_rows, read_blocks  # noqa: PLC0415  # polars is slow to import
    except ImportError as error:
        raise InstallationError(f"`riskline score` needs polars: {install_command('files')} ({error})") from error
    # polars has taken Ctrl-C for itself, and would keep it back until the next block is read
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
    needed = (transaction_class.ID_FIELD,) if with_ids else ()
    return read_blocks(file, transaction_class, needed=needed), estimated_rows(file)


def _bad_rows(file: Path, refusals: Refusals) -> DatasetError:
    return DatasetError(
        f"{file} has {no_transactions(refusals.total)}; mend the file, or leave such rows out by --skip-bad-rows:\n"
        f"{refusals.listed()}"
    )


def _processes(file: Path) -> int:
    if not file.is_file() or file.stat().st_size < SMALL_FILE_BYTES:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_PROCESSES)


@contextmanager
def _cleared_away() -> Iterator[None]:
    """Ends processes and removes unfinished files on SIGTERM and SIGHUP, as Ctrl-C does."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    # one that is ignored, as under nohup, stays so
    former = {each: signal.signal(each, end) for each in STOP_SIGNALS if signal.getsignal(each) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
