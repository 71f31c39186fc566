"""Scoring in several processes: a bounded number of blocks is under way, and answers come in the blocks' order.

A thread for each process hands it a block and waits for the answer. The processes know their end of a socket and
nothing else: it closes when this process ends, even killed without a word, and then so do they.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import Pipe
from queue import SimpleQueue
from signal import Signals
from typing import Any

from riskline.cli.files.pasts import Taken
from riskline.cli.files.scoring import Job, Scored, Scorer
from riskline.shared.errors import InstallationError, RisklineError
from riskline.worker.training.data.rows import Block

STANDARD_ERROR = 2
"""Takes the output of a team's class: standard output is for decisions."""

WAITING_BLOCKS = 2
"""Beyond those that are being scored: so that no process waits for the next, nor for its turn to be written."""

END_SECONDS = 5.0
"""A process that was killed is gone in less."""


class Scorers:
    """Scores blocks, or takes their events, here or in several processes; answers come in the blocks' order."""

    def __init__(self, run: Callable[[str, Iterable[Block]], Iterator[Any]]) -> None:
        self._run = run

    def __call__(self, blocks: Iterable[Block]) -> Iterator[Scored]:
        """The decisions of each block."""
        return self._run(Scorer.score.__name__, blocks)

    def take(self, blocks: Iterable[Block]) -> Iterator[Taken]:
        """The events of each block."""
        return self._run(Scorer.take.__name__, blocks)


@contextmanager
def scoring(job: Job, *, processes: int) -> Iterator[Scorers]:
    """Scorers of blocks: in this process for one process, else in child processes that end with the context.

    Raises:
        RisklineError: the model or the class cannot be loaded, or a process ended before its work.
    """
    if processes == 1:
        scorer = Scorer(job)
        yield Scorers(lambda task, blocks: map(getattr(scorer, task), blocks))
        return
    children: list[_Child] = []
    threads = ThreadPoolExecutor(processes)
    try:
        children.extend(_Child(job) for _ in range(processes))
        idle: SimpleQueue[_Child] = SimpleQueue()
        for child in children:
            idle.put(child)

        def run(task: str, blocks: Iterable[Block]) -> Iterator[Any]:
            by_any = partial(_by_any, idle, task)
            return _in_order(
                blocks, submit=lambda block: threads.submit(by_any, block), under_way=processes + WAITING_BLOCKS
            )

        yield Scorers(run)
    finally:
        for child in children:
            child.process.kill()
        # no answer will come any more, so no thread waits for one
        threads.shutdown(cancel_futures=True)
        for child in children:
            child.close()


class _Child:
    """A process that scores, and this end of the socket to it."""

    def __init__(self, job: Job) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "riskline.cli.files.scoring_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=STANDARD_ERROR,
                # a terminal's Ctrl-C is for this process, which ends the others
                start_new_session=True,
            )
        self._is_ready = False
        # where it is gone already, the first answer is missed
        with suppress(ConnectionError):
            self._connection.send(job)

    def answer(self, task: str, block: Block) -> Any:
        """The answer of a method of the `Scorer` there; the first call waits until the process is ready."""
        try:
            if not self._is_ready:
                self._answer()
                self._is_ready = True
            self._connection.send((task, block))
            return self._answer()
        except (EOFError, ConnectionError) as error:
            raise InstallationError(f"a process that scores {self._end()}; score the file again") from error

    def close(self) -> None:
        """Takes leave of a process that was killed."""
        self.process.wait(END_SECONDS)
        self._connection.close()

    def _answer(self) -> Any:
        answer = self._connection.recv()
        if isinstance(answer, RisklineError):
            raise answer
        return answer

    def _end(self) -> str:
        try:
            status = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "no longer answers"
        if status < 0:
            return f"was ended by {Signals(-status).name} (the system does so where memory runs out)"
        return f"ended with status {status}"


def _by_any(idle: "SimpleQueue[_Child]", task: str, block: Block) -> Any:
    """The answer of an idle process: there are as many processes as threads."""
    child = idle.get()
    try:
        return child.answer(task, block)
    finally:
        idle.put(child)


def _in_order(blocks: Iterable[Block], *, submit: Callable[[Block], Future[Any]], under_way: int) -> Iterator[Any]:
    """The answers in the blocks' order; no more blocks are read than may be under way."""
    waiting: deque[Future[Any]] = deque()
    problems: list[RisklineError] = []
    for block in _readable(blocks, problems):
        waiting.append(submit(block))
        if len(waiting) == under_way:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
    if problems:
        raise problems[0]


def _readable(blocks: Iterable[Block], problems: list[RisklineError]) -> Iterator[Block]:
    """The blocks before the one that cannot be read: their results come first, as without reading ahead."""
    try:
        yield from blocks
    except RisklineError as error:
        problems.append(error)
