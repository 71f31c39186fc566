"""`riskline worker`."""

from enum import StrEnum
from typing import Annotated

import typer

from riskline.cli.installation import installation_settings
from riskline.cli.options import DataOption
from riskline.worker.main import run


class QueueName(StrEnum):
    """A queue that a worker can serve."""

    SCORING = "scoring"
    CALLBACKS = "callbacks"


def worker(
    *,
    queue: Annotated[QueueName, typer.Option("--queue", help="The queue that it serves.")] = QueueName.SCORING,
    data: DataOption = None,
) -> None:
    """Decide queued transactions, or deliver callbacks, in this terminal, with the same Redis as the API."""
    run(installation_settings(data=data), queue=queue.value)
