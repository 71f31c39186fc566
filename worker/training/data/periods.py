"""The rows that are trained on, those that test, and those that are left out, by their times."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from riskline.shared.errors import DatasetError
from riskline.shared.wording import counted
from riskline.worker.training.data.labelled import TIMESTAMP, LabelledRows
from riskline.worker.training.data.warm_up import WarmUpTime

HOLDOUT_SHARE = 0.25
"""The share of rows that tests where no option says which."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Moment:
    """A day, or a time of one, as an option names it: of the zone in which a file's times are read."""

    said: str
    at: np.datetime64
    is_day: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """The moment that a text names as in ISO 8601.

        Raises:
            ValueError: it names none, or one of a zone.
        """
        is_day = len(text) == len("2018-07-31")
        named = date.fromisoformat(text) if is_day else datetime.fromisoformat(text)
        if isinstance(named, datetime) and named.tzinfo is not None:
            raise ValueError("times are those of the file's zone: leave the offset out")
        return cls(text, np.datetime64(named, "us"), is_day)

    @property
    def end(self) -> np.datetime64:
        """The first moment after it: a day counts whole."""
        return self.at + np.timedelta64(1, "D") if self.is_day else self.at


class LeftOut(NamedTuple):
    """A number of rows that are neither trained on nor tested, and the reason in words."""

    rows: int
    reason: str

    def __str__(self) -> str:
        return f"left out {counted(self.rows, 'row')} {self.reason}"


class Parts(NamedTuple):
    """The rows to train on and the rows to test."""

    training: LabelledRows
    test: LabelledRows
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingPeriods:
    """The times of the rows to train on and of those that test; each of them may be left to the file."""

    train_from: Moment | None = None
    train_to: Moment | None = None
    """The last day; of a time, the rows before it."""
    test_from: Moment | None = None

    def contradiction(self) -> str | None:
        """The sentence that says why there can be no such rows; None where there can."""
        first, last, test = self.train_from, self.train_to, self.test_from
        if first and last and last.end <= first.at:
            return f"--train-to {last.said} is before --train-from {first.said}: no row is between them"
        if last and test and test.at < last.end:
            return f"--test-from {test.said} is not after --train-to {last.said}: rows would be trained on and tested"
        if first and test and test.at <= first.at:
            return f"--test-from {test.said} is not after --train-from {first.said}: no row is left to train on"
        return None

    def named(self) -> str | None:
        """The first option that names a time; None where none does."""
        named = {"--train-from": self.train_from, "--train-to": self.train_to, "--test-from": self.test_from}
        return next((option for option, moment in named.items() if moment is not None), None)


def split(
    data: LabelledRows, periods: TrainingPeriods | None = None, *, warm_up: WarmUpTime | None = None, seed: int
) -> Parts:
    """Training and test rows: by time where there are times (the last quarter, if none is named), else at random.

    Rows of the warm-up are neither.

    Raises:
        DatasetError: a part has no rows, or not both labels.
    """
    periods = TrainingPeriods() if periods is None else periods
    if data.times is None and (option := periods.named()) is not None:
        raise DatasetError(f"{option} needs a column {TIMESTAMP} with a time in every row")
    left_out: tuple[LeftOut, ...] = ()
    if data.times is None:
        in_test = np.random.default_rng(seed).random(len(data.rows)) < HOLDOUT_SHARE
        in_training = ~in_test
    else:
        in_training, in_test, left_out = _by_time(data.times, periods, warm_up)
    parts = Parts(data.subset(in_training), data.subset(in_test), left_out)
    for name, part in (("training", parts.training), ("test", parts.test)):
        if not 0 < part.frauds < len(part.labels):
            options = "--test-from" if not left_out else "--train-from, --train-to, --test-from or --warm-up"
            raise DatasetError(
                f"the {name} part has {len(part.labels):,} rows, {part.frauds:,} of them fraud: it needs both kinds; "
                f"choose another {options}, or a larger file{''.join(f'; {each}' for each in left_out)}"
            )
    return parts


class Between(NamedTuple):
    """The rows to measure."""

    rows: LabelledRows
    left_out: tuple[LeftOut, ...] = ()


def between(
    data: LabelledRows, first: Moment | None, last: Moment | None, *, warm_up: WarmUpTime | None = None
) -> Between:
    """The rows from one moment to another, of which either may be open, without those of the warm-up.

    Raises:
        DatasetError: there are none.
    """
    if data.times is None:
        if first is not None or last is not None:
            raise DatasetError(f"--from and --to need a column {TIMESTAMP} with a time in every row")
        return Between(data)
    warm, left_out = _warm(data.times, warm_up)
    inside = warm if first is None else warm & (data.times >= first.at)
    if last is not None:
        inside = inside & (data.times < last.end)
    if not inside.any():
        earliest, latest = (each.item().isoformat() for each in (data.times.min(), data.times.max()))
        cold = "".join(f"; {each}" for each in left_out)
        raise DatasetError(f"no row is between --from and --to: the file has those from {earliest} to {latest}{cold}")
    return Between(data if inside.all() else data.subset(inside), left_out)


def _warm(times: npt.NDArray[np.datetime64], warm_up: WarmUpTime | None) -> tuple[Mask, tuple[LeftOut, ...]]:
    """The rows whose windows have filled, and the others as those that are left out."""
    if warm_up is None:
        return np.ones(len(times), bool), ()
    warm = times >= times.min() + warm_up.length
    return warm, (LeftOut(int((~warm).sum()), warm_up.reason),)


def _by_time(
    times: npt.NDArray[np.datetime64], periods: TrainingPeriods, warm_up: WarmUpTime | None
) -> tuple[Mask, Mask, tuple[LeftOut, ...]]:
    first, last, test = periods.train_from, periods.train_to, periods.test_from
    warm, left_out = _warm(times, warm_up)
    begun = warm if first is None else warm & (times >= first.at)
    if not begun.any():
        cold = "".join(f"; {each}" for each in left_out)
        raise DatasetError(f"no row of the file is left to train on: choose an earlier --train-from{cold}")
    in_test = warm & (times >= (_border(times[begun], last) if test is None else test.at))
    in_training = begun & ~in_test & (True if last is None else times < last.end)
    if first is not None and (before := int((warm & ~begun).sum())):
        left_out += (LeftOut(before, f"from before {first.said}"),)
    if gap := int((~in_training & ~in_test & begun).sum()):
        left_out += (LeftOut(gap, "between those to train on and those that test"),)
    return in_training, in_test, left_out


def _border(times: npt.NDArray[np.datetime64], last: Moment | None) -> np.datetime64:
    """The first moment of the test rows where no option names it."""
    if last is not None:
        return last.end
    return np.datetime64(int(np.quantile(times.astype(np.int64), 1 - HOLDOUT_SHARE)), "us")
