"""A labelled file as the arrays that training and evaluation need."""

import hashlib
from array import array
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.transaction import TransactionModel
from riskline.worker.training.data.rows import Refusals
from riskline.worker.training.data.vectors import SILENT, ReadingSteps, read_vectors

TIMESTAMP, CARD = "timestamp", "card_id"

Times = npt.NDArray[np.datetime64]
"""Without a zone, in microseconds."""

EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
NO_TIME: int = np.iinfo(np.int64).min
"""NumPy's time that is none."""

DEFAULT_LABEL = "is_fraud"
LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@dataclass(frozen=True)
class LabelledRows:
    """Rows of shape (n, features), their labels (1 is fraud), and their times and cards where the file has them."""

    rows: Rows
    labels: npt.NDArray[np.int8]
    times: Times | None
    refusals: Refusals
    cards: list[str | None] | None = None
    """None for a row without a card."""
    untimed: int = 0
    """The rows without a readable time, where the file has a column of times."""

    def subset(self, mask: npt.NDArray[np.bool_]) -> "LabelledRows":
        """Only these rows."""
        times = None if self.times is None else self.times[mask]
        cards = None if self.cards is None else [card for card, kept in zip(self.cards, mask, strict=True) if kept]
        return LabelledRows(self.rows[mask], self.labels[mask], times, self.refusals, cards)

    def columns(self, places: list[int]) -> "LabelledRows":
        """The same rows with these features only."""
        return replace(self, rows=self.rows[:, places])

    @property
    def frauds(self) -> int:
        """The number of fraud rows."""
        return int(self.labels.sum())

    def described(self) -> dict[str, Any]:
        """The manifest's entry of this data."""
        content = self.rows.tobytes() + self.labels.tobytes()
        window = None
        if self.times is not None and len(self.times):
            window = [each.item().isoformat() for each in (self.times.min(), self.times.max())]
        return {
            "rows": len(self.rows),
            "frauds": self.frauds,
            "window": window,
            "sha256": hashlib.sha256(content).hexdigest(),
        }


def read_labelled(
    path: Path,
    transaction_class: type[TransactionModel],
    *,
    label: str,
    skip_bad_rows: bool,
    steps: ReadingSteps = SILENT,
    card_column: str | None = None,
) -> LabelledRows:
    """Reads a labelled file whole.

    Cards come from `card_column`, which must exist if named, else from `card_id` if it exists. Times are those of the
    class with history, in its zone, else those of `timestamp` if it exists, in UTC.

    Raises:
        DatasetError: the file cannot be read, lacks a column, or has bad rows that are not to be skipped.
        SettingsError: a feature does not follow from the transaction alone.
    """
    history = history_of(transaction_class)
    labels, times = array("b"), array("q")
    untimed = 0
    cards: list[str | None] = []

    def take(extra: dict[str, Any]) -> str | None:
        nonlocal untimed
        truth = truth_of(extra[label])
        if truth is None:
            return f"{label}: must be 0 or 1"
        labels.append(truth)
        times.append(_microseconds(extra.get(TIMESTAMP)))
        untimed += TIMESTAMP in extra and times[-1] == NO_TIME
        cards.append(_card(extra.get(card_column or CARD)))
        return None

    vectors = read_vectors(
        path,
        transaction_class,
        take=take,
        needed=list(dict.fromkeys([label, *([] if card_column is None else [card_column])])),
        kept=[TIMESTAMP, CARD],
        skip_bad_rows=skip_bad_rows,
        steps=steps,
    )
    moments = np.array(times, dtype=np.int64).view("datetime64[us]")
    if history is not None and vectors.times is not None:
        moments, untimed = local(vectors.times, history.zone), 0
    return LabelledRows(
        vectors.rows,
        np.array(labels, dtype=np.int8),
        None if np.isnat(moments).any() else moments,
        vectors.refusals,
        cards if any(card is not None for card in cards) else None,
        untimed,
    )


def truth_of(cell: object) -> int | None:
    """The label of a row: 1 is fraud; None where the cell says neither yes nor no."""
    return LABELS.get(str(cell).strip().lower())


def local(times_us: npt.NDArray[np.int64], zone: str | None) -> Times:
    """Times in microseconds since 1970 as clocks of the zone show them; of UTC, where it is None."""
    times = pl.Series(times_us).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone or "UTC")
    shown: Times = times.dt.replace_time_zone(None).to_numpy()
    return shown


def _card(cell: object) -> str | None:
    return None if cell is None else str(cell).strip() or None


def _microseconds(cell: object) -> int:
    """The time in UTC, as a cell without an offset is taken to be; `NO_TIME` for what is not as in ISO 8601."""
    try:
        time = cell if isinstance(cell, datetime) else datetime.fromisoformat(str(cell))
        return ((time.replace(tzinfo=UTC) if time.tzinfo is None else time) - EPOCH) // MICROSECOND
    except (ValueError, OverflowError):
        return NO_TIME
