"""One of the processes that score for `riskline score`: takes blocks from it, answers each, and ends when it does."""

import gc
import os
import select
import sys
import traceback
from multiprocessing.connection import Connection
from threading import Thread

from riskline.cli.files.scoring import Scorer
from riskline.shared.errors import InstallationError, RisklineError

OBJECTS_BEFORE_COLLECTION = 100_000
"""A block's objects are gone when it is done: looking for garbage among them meanwhile would find none."""


def main() -> None:
    """Serves the command at the other end of the socket whose number is the only argument; errors are answers, too."""
    connection = Connection(int(sys.argv[1]))
    Thread(target=_end_with_the_command, args=(connection,), daemon=True).start()
    try:
        serve(connection)
    except (EOFError, ConnectionError):
        # the command has ended, however it did
        return
    except RisklineError as error:
        connection.send(error)
    except Exception as error:  # noqa: BLE001  # a team's class may raise anything
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"unexpected {type(error).__name__} at {where.filename}:{where.lineno}: {error}; please report it"
        connection.send(InstallationError(said))


def serve(connection: Connection) -> None:
    """Loads the model of the first message, a `Job`, confirms it, then answers each block by a method of `Scorer`."""
    scorer = Scorer(connection.recv())
    gc.freeze()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    connection.send(None)
    while True:
        task, block = connection.recv()
        connection.send(getattr(scorer, task)(block))


def _end_with_the_command(connection: Connection) -> None:
    """Ends this process with the command; a slow class would otherwise go on to the end of its block."""
    hang_up = select.poll()
    hang_up.register(connection, 0)  # the close of the other end is reported without a mask
    hang_up.poll()
    os._exit(1)


if __name__ == "__main__":
    main()
