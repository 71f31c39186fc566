"""The options that say from when the rows are that are trained on, that test, or that are measured."""

from typing import Annotated

import typer

from riskline.worker.training.data.periods import Moment, Periods

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


def periods(train_from: Moment | None, train_to: Moment | None, test_from: Moment | None) -> Periods:
    """The periods that options name.

    Raises:
        typer.BadParameter: they contradict each other.
    """
    named = Periods(train_from=train_from, train_to=train_to, test_from=test_from)
    if (contradiction := named.contradiction()) is not None:
        raise typer.BadParameter(contradiction)
    return named
