"""The pasts from which `riskline score` takes the columns of history."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.plan import History
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.replay import BlockEvents, EventReader, Replay, with_history
from riskline.worker.training.data.rows import Block, Refusal, Refusals, RowBatch


class Past(StrEnum):
    """What came before the rows of a file."""

    NONE = "none"
    """Is not asked: the model's twin decides."""
    FILE = "file"
    """Is in the file itself."""
    LIVE = "live"
    """Is what the installation has observed."""


class Taken(NamedTuple):
    """The events of a block, and its rows that are no transactions."""

    events: BlockEvents
    refusals: Refusals

    @property
    def rows(self) -> int:
        """All of its rows."""
        return len(self.events.ids) + self.refusals.total


def taken(block: Block, transaction_class: type[TransactionModel], reader: EventReader) -> Taken:
    """Takes the events of a block."""
    batch, events = reader.of(block.batch(transaction_class))
    refusals = Refusals()
    refusals.add(batch.refused)
    return Taken(events, refusals)


class FilePast:
    """The past of a file's own rows: of each block first the events are taken, then the columns are given back."""

    def __init__(self, history: History, *, now_us: int) -> None:
        self._replay = Replay(history)
        self._now_us = now_us
        self._sizes: list[int] = []

    def take(self, events: BlockEvents) -> None:
        """Takes the events of the next block."""
        self._replay.add(events)
        self._sizes.append(len(events.ids))

    def given(self, blocks: Iterable[Block], step: Callable[[str], None]) -> Iterator[Block]:
        """The same blocks again, each with the columns of its transactions; `step` is told of the work before.

        Raises:
            DatasetError: there are more of them.
        """
        return self._given(blocks, self._replay.columns(step))

    def _given(self, blocks: Iterable[Block], columns: Rows) -> Iterator[Block]:
        done = 0
        for number, block in enumerate(blocks):
            if number == len(self._sizes):
                raise DatasetError(CHANGED)
            yield BlockWithPast(block, columns[done : done + self._sizes[number]], self._now_us)
            done += self._sizes[number]


CHANGED = "the file was changed while it was read: score it again"


@dataclass(frozen=True, slots=True)
class BlockWithPast:
    """A block, and the columns of history of its transactions."""

    block: Block
    columns: Rows
    now_us: int

    def batch(self, transaction_class: type[TransactionModel]) -> RowBatch:
        """The rows, each with its history."""
        history = history_of(transaction_class)
        if history is None:
            return self.block.batch(transaction_class)
        batch, _ = EventReader(history, now_us=self.now_us).punctual(self.block.batch(transaction_class))
        if len(batch.rows) != len(self.columns):
            raise DatasetError(CHANGED)
        return with_columns(batch, self.columns.tolist())


def with_columns(batch: RowBatch, columns: Iterable[list[float] | tuple[float, ...]]) -> RowBatch:
    """The batch with the columns of history of its transactions, without the rows whose features fail with them."""
    whole = [with_history(*row) for row in zip(batch.rows, batch.transactions, columns, strict=True)]
    transactions = [
        before if isinstance(each, Refusal) else each for before, each in zip(batch.transactions, whole, strict=True)
    ]
    return replace(batch, transactions=transactions).without([each for each in whole if isinstance(each, Refusal)])
