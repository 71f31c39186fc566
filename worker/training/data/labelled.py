"""A labelled file as the arrays that training and evaluation need."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import DatasetError
from riskline.worker.training.data.rows import Refusals
from riskline.worker.training.data.vectors import read_vectors

TIMESTAMP, CARD = "timestamp", "card_id"
HOLDOUT_SHARE = 0.25

LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@dataclass(frozen=True)
class LabelledRows:
    """Rows of shape (n, features), their labels (1 is fraud), and their times and cards where the file has them."""

    rows: Rows
    labels: npt.NDArray[np.int8]
    times: list[datetime] | None
    refusals: Refusals
    cards: list[str | None] | None = None
    """None for a row without a card."""
    untimed: int = 0
    """The rows without a readable time, where the file has a column of times."""

    def subset(self, mask: npt.NDArray[np.bool_]) -> "LabelledRows":
        """Only these rows."""
        times = None if self.times is None else [time for time, kept in zip(self.times, mask, strict=True) if kept]
        cards = None if self.cards is None else [card for card, kept in zip(self.cards, mask, strict=True) if kept]
        return LabelledRows(self.rows[mask], self.labels[mask], times, self.refusals, cards)

    @property
    def frauds(self) -> int:
        """The number of fraud rows."""
        return int(self.labels.sum())

    def described(self) -> dict[str, Any]:
        """The manifest's entry of this data."""
        content = self.rows.tobytes() + self.labels.tobytes()
        window = None if not self.times else [min(self.times).isoformat(), max(self.times).isoformat()]
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
    progress: Callable[[int], None],
    card_column: str | None = None,
) -> LabelledRows:
    """Reads a labelled file whole; `progress` is called with the number of rows so far.

    Cards come from `card_column`, which must exist if named, else from `card_id` if it exists.

    Raises:
        DatasetError: the file cannot be read, lacks a column, or has bad rows that are not to be skipped.
        SettingsError: a feature does not follow from the transaction alone.
    """
    labels: list[int] = []
    times: list[datetime | None] = []
    untimed = 0
    cards: list[str | None] = []

    def take(extra: dict[str, Any]) -> str | None:
        nonlocal untimed
        truth = truth_of(extra[label])
        if truth is None:
            return f"{label}: must be 0 or 1"
        labels.append(truth)
        times.append(_time(extra.get(TIMESTAMP)))
        untimed += TIMESTAMP in extra and times[-1] is None
        cards.append(_card(extra.get(card_column or CARD)))
        return None

    rows, refusals = read_vectors(
        path,
        transaction_class,
        take=take,
        needed=list(dict.fromkeys([label, *([] if card_column is None else [card_column])])),
        kept=[TIMESTAMP, CARD],
        skip_bad_rows=skip_bad_rows,
        progress=progress,
    )
    known = [time for time in times if time is not None]
    return LabelledRows(
        rows,
        np.array(labels, dtype=np.int8),
        known if len(known) == len(times) else None,
        refusals,
        cards if any(card is not None for card in cards) else None,
        untimed,
    )


def truth_of(cell: object) -> int | None:
    """The label of a row: 1 is fraud; None where the cell says neither yes nor no."""
    return LABELS.get(str(cell).strip().lower())


def split(data: LabelledRows, *, test_from: date | None, seed: int) -> tuple[LabelledRows, LabelledRows]:
    """Training and test rows: by time where there are times (the last quarter, if no date is given), else at random.

    Raises:
        DatasetError: a part has no rows, or not both labels.
    """
    if data.times is not None:
        moments = np.array(data.times, dtype="datetime64[us]")
        border = np.quantile(moments.astype(np.int64), 1 - HOLDOUT_SHARE).astype("datetime64[us]")
        in_test = moments >= (border if test_from is None else np.datetime64(test_from))
    elif test_from is not None:
        raise DatasetError(f"--test-from needs a column {TIMESTAMP} with a time in every row")
    else:
        in_test = np.random.default_rng(seed).random(len(data.rows)) < HOLDOUT_SHARE
    parts = data.subset(~in_test), data.subset(in_test)
    for name, part in zip(("training", "test"), parts, strict=True):
        if not 0 < part.frauds < len(part.labels):
            raise DatasetError(
                f"the {name} part has {len(part.labels):,} rows, {part.frauds:,} of them fraud: it needs both kinds; "
                "choose another --test-from or a larger file"
            )
    return parts


def _card(cell: object) -> str | None:
    return None if cell is None else str(cell).strip() or None


def _time(cell: object) -> datetime | None:
    """The time in UTC, as a cell without an offset is taken to be; None for what is not written as in ISO 8601."""
    try:
        time = cell if isinstance(cell, datetime) else datetime.fromisoformat(str(cell))
        return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
