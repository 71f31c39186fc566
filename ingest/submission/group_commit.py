"""Group commit: what arrives while a commit is under way shares the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from riskline.shared.errors import QueueFullError, RisklineError, StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.store.interfaces import Acceptance, TransactionIntake
from riskline.shared.store.records import Record
from riskline.shared.store.redis_queue import ACCEPT_BATCH, ACCEPT_BYTES
from riskline.shared.store.sharding.sharded_store import ShardedIntake
from riskline.shared.store.sharding.shards import share
from riskline.shared.telemetry.metrics import REDIS_FAULTS

log = get_logger(__name__)

MAX_PENDING = 20_000
MAX_PENDING_BYTES = 32 * 1024 * 1024
"""The most items and bytes that wait for a commit: they bound this process's memory where Redis is slow."""

LINGER_SECONDS = 0.002
LINGER_FROM = 16
"""How long a commit waits for as many submissions as the last one had, where it had that many: a client that was just
answered is about to come again, and a commit costs Redis a write to disk whatever its size. Below it no item waits."""

WORDS = {
    "accept": ("Redis fails submissions, which are answered 503", "submissions are accepted again"),
    "record": ("Redis fails strict decisions, which are answered 503", "strict decisions are recorded again"),
}
"""The log messages for a kind of call that begins to fail and that works again."""

COMMITTED = "committed"
"""The key in a request's state of its commit's answer, where the fast path made the commit."""

Answer = Record | Literal[Acceptance.ACCEPTED] | Exception
"""The answer of a commit for one item: the record that its id had, ACCEPTED where it was new, or the error."""

Answered = Callable[[Answer], None]


class CommitItem(Protocol):
    """An item of a commit: anything with a record."""

    @property
    def transaction_id(self) -> str:
        """The id of the transaction."""

    @property
    def record(self) -> bytes:
        """The record as JSON."""


Item = TypeVar("Item", bound=CommitItem)


class _Pending(NamedTuple, Generic[Item]):
    item: Item
    answered: Answered


class GroupCommit(Generic[Item]):
    """Takes items one by one and commits them together; each is answered when its own commit is safe."""

    def __init__(
        self, commit: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, call: str, of_several: int = 1
    ) -> None:
        """One `of_several` has its share of the items that may be pending in the process."""
        self._most_pending = share(MAX_PENDING, of_several)
        self._most_pending_bytes = share(MAX_PENDING_BYTES, of_several)
        self._commit_items = commit
        self._call = call
        self._pending: deque[_Pending[Item]] = deque()
        self._pending_bytes = 0
        self._last_size = 0
        self._enough = asyncio.Event()
        self._committing: asyncio.Task[None] | None = None
        self._outage = Outage(log, failing=WORDS[call][0], back=WORDS[call][1], steady=False)

    def enqueue(self, item: Item, answered: Answered) -> None:
        """Takes an item for the next commit; `answered` is called with what the commit answers, or its error.

        Raises:
            QueueFullError: too many wait for a commit.
        """
        if len(self._pending) >= self._most_pending or self._pending_bytes >= self._most_pending_bytes:
            raise QueueFullError(f"{len(self._pending)} submissions wait for Redis; repeat the request later.")
        self.take(item, answered)

    def take(self, item: Item, answered: Answered) -> None:
        """The same for a caller that bounds its pending items by itself."""
        self._pending.append(_Pending(item, answered))
        self._pending_bytes += len(item.record)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit())
        elif len(self._pending) == self._last_size:
            self._enough.set()

    async def answer(self, item: Item) -> Answer:
        """The answer of the item's commit, or its error.

        Raises:
            QueueFullError: too many wait for a commit.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.enqueue(item, lambda answer: None if future.done() else future.set_result(answer))
        return await future

    async def close(self) -> None:
        """Commits what is pending."""
        if self._committing is not None:
            await asyncio.wait([self._committing])

    async def _commit(self) -> None:
        try:
            while self._pending:
                await self._gather()
                await self._commit_batch(self._next_batch())
        finally:
            self._committing = None

    async def _gather(self) -> None:
        """Lets clients join that are about to submit."""
        if LINGER_FROM <= self._last_size > len(self._pending):
            self._enough.clear()
            timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._enough.set)
            await self._enough.wait()
            timer.cancel()
        else:
            # one turn of the event loop: requests that have been read already
            await asyncio.sleep(0)

    def _next_batch(self) -> list[_Pending[Item]]:
        batch: list[_Pending[Item]] = []
        size = 0
        while self._pending and len(batch) < ACCEPT_BATCH and size < ACCEPT_BYTES:
            batch.append(self._pending.popleft())
            size += len(batch[-1].item.record)
        self._pending_bytes -= size
        self._last_size = len(batch)
        return batch

    async def _commit_batch(self, batch: list[_Pending[Item]]) -> None:
        try:
            answers = await self._commit_items([pending.item for pending in batch])
        except StoreUnavailableError as error:
            REDIS_FAULTS.labels(self._call).inc()
            self._outage.failed(error)
            # items that wait behind would find Redis no better, only later
            rest = list(self._pending)
            self._pending.clear()
            self._pending_bytes = 0
            _refuse(batch, error)
            # these were not sent, whatever became of the others
            _refuse(rest, StoreUnavailableError(str(error)))
            return
        except Exception:
            log.exception("commit failed")
            _refuse(batch, RisklineError("the commit failed; the log says why"))
            return
        self._outage.over()
        for pending, answer in zip(batch, answers, strict=True):
            _tell(pending, answer)


class ShardedCommits(Generic[Item]):
    """A group commit for each shard: one that is slow or away holds up no other."""

    def __init__(self, commits: Sequence[GroupCommit[Item]], *, route: Callable[[str], int]) -> None:
        self._commits = tuple(commits)
        self._route = route

    def enqueue(self, item: Item, answered: Answered) -> None:
        """See GroupCommit."""
        self._commits[self._route(item.transaction_id)].enqueue(item, answered)

    def take(self, item: Item, answered: Answered) -> None:
        """See GroupCommit."""
        self._commits[self._route(item.transaction_id)].take(item, answered)

    async def answer(self, item: Item) -> Answer:
        """See GroupCommit."""
        return await self._commits[self._route(item.transaction_id)].answer(item)

    async def close(self) -> None:
        """See GroupCommit."""
        await asyncio.gather(*(each.close() for each in self._commits))


def commits_of(
    intake: TransactionIntake,
    commit: Callable[[TransactionIntake, Sequence[Item]], Awaitable[Sequence[Answer]]],
    *,
    call: str,
) -> GroupCommit[Item] | ShardedCommits[Item]:
    """The group commit of a store, or one for each of its shards; `commit` is given the shard with the items."""
    if not isinstance(intake, ShardedIntake):
        return GroupCommit(partial(commit, intake), call=call)
    parts = intake.parts
    return ShardedCommits(
        [GroupCommit(partial(commit, part), call=call, of_several=len(parts)) for part in parts], route=intake.route
    )


def _refuse(refused: Sequence[_Pending[Item]], error: Exception) -> None:
    for pending in refused:
        # one exception each: a shared one would gather the tracebacks of all requests
        _tell(pending, type(error)(*error.args))


def _tell(pending: _Pending[Item], answer: Answer) -> None:
    try:
        pending.answered(answer)
    except Exception:
        # items that share the commit with a connection that fails are answered all the same
        log.exception("an answer failed")
