"""The options that say from when the rows are that are trained on, that test, or that are measured."""

from typing import Annotated

import typer

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.markers import length_us
from riskline.shared.domain.transaction import TransactionModel
from riskline.worker.training.data.labelled import LabelledRows
from riskline.worker.training.data.periods import Moment, TrainingPeriods
from riskline.worker.training.data.warm_up import NONE, WarmUpTime, warm_up

MOMENT = "DATE"


def moment(text: str) -> Moment:
    """The moment that an option names.

    Raises:
        typer.BadParameter: it names none.
    """
    try:
        return Moment.parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"write a day as 2018-07-31, or a time as 2018-07-31T18:00:00 ({error})") from error


TrainFromOption = Annotated[
    Moment | None,
    typer.Option("--train-from", parser=moment, metavar=MOMENT, help="Train on rows from this day on."),
]
TrainToOption = Annotated[
    Moment | None,
    typer.Option("--train-to", parser=moment, metavar=MOMENT, help="Train on rows up to this day, and on this day."),
]
TestFromOption = Annotated[
    Moment | None,
    typer.Option(
        "--test-from", parser=moment, metavar=MOMENT, help="Test on rows from this day on, train on earlier ones."
    ),
]
FromOption = Annotated[
    Moment | None,
    typer.Option("--from", parser=moment, metavar=MOMENT, help="Measure on rows from this day on."),
]
ToOption = Annotated[
    Moment | None,
    typer.Option("--to", parser=moment, metavar=MOMENT, help="Measure on rows up to this day, and on this day."),
]


WarmUpOption = Annotated[
    str | None,
    typer.Option(
        "--warm-up",
        metavar="LENGTH",
        help="With history: leave out the file's first 30d, or none (default: its longest window).",
        show_default=False,
    ),
]


def warm_up_of(
    data: LabelledRows, transaction_class: type[TransactionModel], wanted: str | None, *, first: Moment | None
) -> WarmUpTime | None:
    """The warm-up of a file, of whose rows those from `first` on are wanted."""
    return warm_up(history_of(transaction_class), data.times, wanted, has_beginning=first is not None)


def check_warm_up(wanted: str | None, transaction_class: type[TransactionModel]) -> None:
    """Checks the option before a file is read.

    Raises:
        typer.BadParameter: it names no length of time, or the class has no history.
    """
    if wanted is None:
        return
    try:
        if wanted != NONE:
            length_us(wanted)
    except ValueError as error:
        raise typer.BadParameter(f"{error}, or none", param_hint="--warm-up") from error
    if history_of(transaction_class) is None:
        raise typer.BadParameter("is for a transaction class with history", param_hint="--warm-up")


def periods(train_from: Moment | None, train_to: Moment | None, test_from: Moment | None) -> TrainingPeriods:
    """The periods that options name.

    Raises:
        typer.BadParameter: they contradict each other.
    """
    named = TrainingPeriods(train_from=train_from, train_to=train_to, test_from=test_from)
    if (contradiction := named.contradiction()) is not None:
        raise typer.BadParameter(contradiction)
    return named
