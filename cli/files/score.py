"""`riskline score`: a file of transactions in, a file of decisions out."""

import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Annotated

import typer
from rich.progress import Progress

from riskline.cli.files.pasts import FilePast, Past
from riskline.cli.files.scoring import Job, Score, Scored
from riskline.cli.files.scoring_pool import Scorers, scoring
from riskline.cli.options import DataOption
from riskline.cli.output import written
from riskline.cli.terminal import rows_progress_to_end, stderr
from riskline.shared.clock import now_us
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import InstallationError
from riskline.shared.model.registry import Registry
from riskline.shared.settings import Settings, load_settings
from riskline.shared.wording import counted, install_command, no_transactions
from riskline.worker.training.data.rows import Block, Refusals, bad_rows

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
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="PAST",
            help="With history: the past in the file (default), live, or none.",
            show_default=False,
        ),
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
    _check_usage(
        url, here={"--model": model, "--processes": processes, "--history": history}, there=(api_key_file, connections)
    )
    settings = load_settings(data=data)
    transaction_class = load_transaction_class(settings.transaction)
    past, started_us = _past(transaction_class, history), now_us()
    progress = rows_progress_to_end()
    if url is None:
        job = Job(
            models_dir=settings.models_dir,
            version=_version(settings, transaction_class, wanted=model or settings.model_version),
            transaction=settings.transaction,
            explain=explain,
            past=past,
            data=data,
            now_us=started_us,
        )
        scorer = _scoring_here(job, processes=processes or _processes(file))
    else:
        scorer = _scoring_there(
            transaction_class,
            url=url,
            api_key=_api_key(settings, api_key_file),
            explain=explain,
            connections=connections or CONNECTIONS,
            say=partial(_describe, progress),
        )
    work = _Work(file, transaction_class, progress, skip_bad_rows=skip_bad_rows, with_ids=url is not None)
    # processes that score start before polars is imported here: they don't need it
    with _cleared_away(), progress:
        progress.add_task("starting" if url is None else f"asking {url}")
        with scorer as (score_blocks, versions):
            blocks = work.blocks()
            if past is Past.FILE and isinstance(score_blocks, Scorers):
                blocks = work.replayed(blocks, score_blocks, now_us=started_us)
            with written(out) as sink:
                work.write(score_blocks(blocks), sink)
    _print_totals(work.decided, versions, work.refusals)
    if past is Past.NONE and history_of(transaction_class) is not None and url is None:
        stderr.print("each by the model's twin, without history")


class _Work:
    """The rows of a file on their way to decisions, with progress and what is wrong with them."""

    def __init__(
        self,
        file: Path,
        transaction_class: type[TransactionModel],
        progress: Progress,
        *,
        skip_bad_rows: bool,
        with_ids: bool,
    ) -> None:
        self._file = file
        self._class = transaction_class
        self._progress = progress
        self._skip_bad_rows = skip_bad_rows
        self._with_ids = with_ids
        self._rows: int | None = None
        self.refusals = Refusals()
        self.decided = 0

    def blocks(self) -> Iterator[Block]:
        """The rows of the file, in blocks."""
        blocks, self._rows = _opened(self._file, self._class, with_ids=self._with_ids)
        return blocks

    def replayed(self, blocks: Iterator[Block], scorers: Scorers, *, now_us: int) -> Iterator[Block]:
        """The same blocks with the history that the file has of their rows, after a first pass over all of them."""
        history = history_of(self._class)
        if history is None:
            return blocks
        past, refusals = FilePast(history, now_us=now_us), Refusals()
        task = self._progress.add_task(f"reading the past in {self._file.name}", total=self._rows)
        for taken in scorers.take(blocks):
            refusals.merge(taken.refusals)
            self._require_good(refusals)
            past.take(taken.events)
            self._progress.advance(task, taken.rows)
        again = self.blocks()
        return past.given(again, self._begin)

    def _begin(self, step: str) -> None:
        self._progress.add_task(step)

    def write(self, scored_blocks: Iterator[Scored], sink: IO[bytes]) -> None:
        """Writes decisions as they come."""
        description = f"scoring {self._file.name}"
        task = self._progress.add_task(description, total=self._rows)
        for scored in scored_blocks:
            self.refusals.merge(scored.refusals)
            self._require_good(self.refusals)
            sink.write(scored.ndjson)
            self.decided += scored.decided
            # the text, too: it may say that the service did not answer
            self._progress.update(task, advance=scored.decided + scored.refusals.total, description=description)

    def _require_good(self, refusals: Refusals) -> None:
        if refusals.total and not self._skip_bad_rows:
            raise bad_rows(self._file, refusals)


def _past(transaction_class: type[TransactionModel], wanted: str | None) -> Past:
    """The past that an option names: of a class with history by default the file's own.

    Raises:
        typer.BadParameter: there is no such past, or the class has no history.
    """
    if wanted is not None and wanted not in list(Past):
        raise typer.BadParameter(f"choose one of {', '.join(Past)}", param_hint="--history")
    if history_of(transaction_class) is None:
        if wanted is not None:
            raise typer.BadParameter("is for a transaction class with history", param_hint="--history")
        return Past.NONE
    return Past.FILE if wanted is None else Past(wanted)


def _print_totals(decided: int, versions: Collection[str], refusals: Refusals) -> None:
    stderr.print(f"{counted(decided, 'decision')} by model {', '.join(versions)}")
    if refusals.total:
        stderr.print(f"left out {no_transactions(refusals.total)}:\n{refusals.listed()}", highlight=False)


Scoring = Iterator[tuple[Score, Collection[str]]]
"""The scorer of blocks, and the model versions that have decided so far."""


def _version(settings: Settings, transaction_class: type[TransactionModel], *, wanted: str | None) -> str:
    registry = Registry(settings.models_dir, pinned_version=wanted)
    return registry.load_active(inputs_of(transaction_class)).version


@contextmanager
def _scoring_here(job: Job, *, processes: int) -> Scoring:
    with scoring(job, processes=processes) as scorers:
        yield scorers, (job.version,)


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
