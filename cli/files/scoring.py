"""Rows to the decisions that `riskline score` writes: the same work in its own process or in several others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from riskline.cli.files.pasts import Past, Taken, taken
from riskline.shared.clock import utc_now
from riskline.shared.domain.assessment import decide_all
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.errors import SettingsError
from riskline.shared.model.registry import Registry
from riskline.worker.training.data.replay import EventReader
from riskline.worker.training.data.rows import Block, Refusals

if TYPE_CHECKING:
    from riskline.cli.files.live_past import LivePast


@dataclass(frozen=True, kw_only=True)
class Job:
    """The work of a scoring process: the model, the transaction class, and reasons for approvals or not."""

    models_dir: Path
    version: str
    transaction: str
    explain: bool
    past: Past = Past.NONE
    """Of a class with history: what came before the rows, where it is not in the blocks."""
    data: Path | None = None
    """The directory of the installation with the live past."""
    now_us: int = 0


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The result of a block: its decisions as NDJSON, and its rows that are no transactions."""

    decided: int
    ndjson: bytearray
    refusals: Refusals = field(default_factory=Refusals)


Score = Callable[[Iterable[Block]], Iterator[Scored]]
"""Scores blocks as they come and answers in their order."""


class Scorer:
    """A loaded model and a transaction class, which score a block.

    Raises:
        RisklineError: the model or the class cannot be loaded.
    """

    def __init__(self, job: Job) -> None:
        self._class = load_transaction_class(job.transaction)
        self._model = Registry(job.models_dir).load(job.version, inputs_of(self._class))
        self._explain = job.explain
        history = history_of(self._class)
        self._reader = None if history is None else EventReader(history, now_us=job.now_us)
        self._past = _live_past(job) if job.past is Past.LIVE else None

    def take(self, block: Block) -> Taken:
        """Takes the events of a block's transactions."""
        if self._reader is None:
            raise SettingsError(f"{self._class.__name__} has no columns of history")
        return taken(block, self._class, self._reader)

    def score(self, block: Block) -> Scored:
        """Holds each row to the class's rules and decides those that pass."""
        batch = block.batch(self._class)
        if self._past is not None:
            batch = self._past.of(batch)
        wanted = range(len(batch.transactions)) if self._explain else ()
        decisions = decide_all(batch.transactions, self._model, scored_at=utc_now(), explain=wanted)
        ndjson = bytearray()
        for decision in decisions:
            # a list of lines would cost ten times as much: each keeps the kilobyte in which it was made from the next
            ndjson += orjson.dumps(decision.to_dict(), option=orjson.OPT_APPEND_NEWLINE)
        scored = Scored(decided=len(decisions), ndjson=ndjson)
        scored.refusals.add(batch.refused)
        return scored


def _live_past(job: Job) -> "LivePast":
    from riskline.cli.files.live_past import LivePast  # noqa: PLC0415  # redis: where the live past is asked for only

    return LivePast(job.data, now_us=job.now_us)
