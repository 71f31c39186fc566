"""Observes transactions for the doors: each is added to the history of its entities, and gets its columns."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from riskline.ingest.history.compaction import Compactor
from riskline.ingest.history.first_values import FirstValues
from riskline.ingest.history.link import HistoryLink
from riskline.shared.clock import now_us
from riskline.shared.domain.history import limits
from riskline.shared.domain.history.observation import Observation, Observing, SeenBefore, too_early
from riskline.shared.domain.history.plan import History
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import HistoryRequiredError, HistoryUnavailableError, HistoryUnreadableError
from riskline.shared.log import get_logger
from riskline.shared.model.history import Fold
from riskline.shared.store.history.interface import LARGEST_CALL
from riskline.shared.store.history.warmth import cold_text, warmth
from riskline.shared.telemetry.metrics import HISTORY_OBSERVATIONS

log = get_logger(__name__)

TOO_EARLY = PydanticCustomError("too_early", limits.TOO_EARLY)

CALLS_AT_ONCE = 2
"""Calls under way for single requests: while Redis works on one, this process works on the answers of the other. More
would only be smaller."""

BATCHES_AT_ONCE = 4
"""Parts of batch requests that are observed at a time: each holds a connection to Redis."""

ADDED, REPEATED, TOO_OLD, UNREADABLE = map(HISTORY_OBSERVATIONS.labels, ("added", "repeated", "too_old", "unreadable"))

Observed = TransactionModel | Exception
"""A transaction with its history; one that lacks it, as the history is away; or what is wrong with it: it may not lack
its history, or its class fails to compute a column."""


class _Waiting(NamedTuple):
    transaction: TransactionModel
    observation: Observation
    observed: Callable[[Observed], None]
    at_once: bool


class Observer:
    """Observes transactions one by one, and all of one turn of the event loop in one round trip."""

    def __init__(
        self,
        link: HistoryLink,
        compactor: Compactor,
        *,
        history: History,
        observing: Observing,
        fold: Fold,
        first_values: FirstValues,
        refusal: Callable[[], HistoryRequiredError | None],
    ) -> None:
        """`refusal` is the error for a transaction that lacks its history; None where it may be decided without."""
        self._link = link
        self._history = history
        self._time_field = history.time_field
        self._observing = observing
        self._fold = fold
        self._first_values = first_values
        self._refusal = refusal
        self._compactor = compactor
        self._pending: deque[_Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._comes = False
        self._is_told = False
        self._batches = asyncio.Semaphore(BATCHES_AT_ONCE)

    @property
    def problem(self) -> str | None:
        """What is wrong with the history now; None where it answers."""
        if not self._link.is_away:
            return None
        if self._link.is_lost:
            return "The history has lost what it had, and is done without until it is warm again: the log says more."
        return f"The history is away; {self._link.late} transactions are to be added to it: the log says why."

    @property
    def refuses(self) -> bool:
        """True where a transaction is refused rather than decided without its history."""
        return self._refusal() is not None

    def observation(self, transaction: TransactionModel) -> Observation:
        """The transaction as its entities see it.

        Raises:
            pydantic.ValidationError: its event time is too far ahead of our clock.
        """
        observation = self._observing.of(transaction)
        if too_early(observation, now_us()):
            problem: InitErrorDetails = {"type": TOO_EARLY, "loc": (self._time_field,), "input": None}
            raise ValidationError.from_exception_data(type(transaction).__name__, [problem])
        return observation

    def observe(
        self, transaction: TransactionModel, observed: Callable[[Observed], None], *, at_once: bool = False
    ) -> None:
        """Takes a transaction for the next round trip; `observed` is called in a later turn of the event loop.

        One that is decided `at_once` and is known gets the values of its record. In the queue the record itself is
        the answer to a known one.

        Raises:
            pydantic.ValidationError: its event time is too far ahead of our clock.
        """
        self._pending.append(_Waiting(transaction, self.observation(transaction), observed, at_once))
        if not self._comes and self._under_way < CALLS_AT_ONCE:
            self._comes = True
            self._under_way += 1
            task = asyncio.create_task(self._observe_pending())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def observed(self, transaction: TransactionModel, *, at_once: bool = False) -> TransactionModel:
        """The transaction with its history, or without where that is away.

        Raises:
            HistoryRequiredError: the history is away, and this transaction may not lack it.
            pydantic.ValidationError: its event time is too far ahead of our clock.
        """
        future: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()
        self.observe(transaction, lambda found: None if future.done() else future.set_result(found), at_once=at_once)
        return required(await future)

    async def observe_all(self, transactions: Sequence[TransactionModel]) -> list[Observed]:
        """Observes rows of a batch in their order, so that each sees those before it."""
        found: list[Observed] = list(transactions)
        timely: list[tuple[int, Observation]] = []
        for number, transaction in enumerate(transactions):
            try:
                timely.append((number, self.observation(transaction)))
            except ValidationError as error:
                found[number] = error
        async with self._batches:
            for start in range(0, len(timely), LARGEST_CALL):
                part = timely[start : start + LARGEST_CALL]
                observed = await self._observe(
                    [transactions[number] for number, _ in part], [observation for _, observation in part]
                )
                for (number, _), each in zip(part, observed, strict=True):
                    found[number] = each
        return found

    async def look(self, transaction: TransactionModel) -> TransactionModel:
        """The transaction as `observed` would return it; nothing is added.

        Raises:
            HistoryRequiredError, pydantic.ValidationError: as `observed`.
        """
        observation = self.observation(transaction)
        seen = await self._link.look([observation])
        if seen is None:
            return required(self._without(transaction))
        return required(self._with_history(transaction, observation, seen[0]))

    async def coldness(self) -> str | None:
        """What is missing of the past that the columns look at; None where it is there, or cannot be asked for."""
        try:
            marks = await self._link.marks()
        except HistoryUnavailableError:
            return None
        return cold_text(warmth(self._history, marks, now_us=now_us()))

    async def warm(self) -> None:
        """Connects before the first request comes."""
        await self._link.warm()

    async def run(self) -> None:
        """Packs long histories, and brings the history back when it was away, until cancelled."""
        await asyncio.gather(self._compactor.run(), self._link.run())

    async def close(self) -> None:
        """Answers what is pending, and adds what is late.

        Raises:
            HistoryUnavailableError: the history is away.
        """
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._link.close()

    async def disconnect(self) -> None:
        """Closes the connections."""
        await self._link.disconnect()

    @property
    def late(self) -> int:
        """Observations that are yet to be added to the history."""
        return self._link.late

    async def _observe_pending(self) -> None:
        """Observes what came in this turn of the event loop, and what comes while it does."""
        self._comes = False
        try:
            while self._pending:
                await self._answer([self._pending.popleft() for _ in range(min(LARGEST_CALL, len(self._pending)))])
        finally:
            # at once: what comes in this turn must find a call that takes it, or begin one
            self._under_way -= 1

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        at_once = [number for number, each in enumerate(batch) if each.at_once]
        transactions = [each.transaction for each in batch]
        try:
            found = await self._observe(transactions, [each.observation for each in batch], at_once)
        except Exception:
            log.exception("observing failed")
            found = list(map(self._without, transactions))
        for each, observed in zip(batch, found, strict=True):
            try:
                each.observed(observed)
            except Exception:
                # those that share the round trip with a connection that fails go on all the same
                log.exception("an answer failed")

    async def _observe(
        self,
        transactions: Sequence[TransactionModel],
        observations: Sequence[Observation],
        at_once: Sequence[int] = (),
    ) -> list[Observed]:
        """One round trip; of those `at_once`, by their position, known ones get the values of their records."""
        seen = await self._link.observe(observations)
        if seen is None:
            found = [self._without(transaction) for transaction in transactions]
            # what is refused comes again
            pairs = zip(observations, found, strict=True)
            self._link.keep([observation for observation, each in pairs if not isinstance(each, Exception)])
            return found
        found = list(map(self._with_history, transactions, observations, seen))
        for observation, each in zip(observations, seen, strict=True):
            if not each.known:
                self._compactor.consider(observation, each)
        known = [number for number in at_once if seen[number].known]
        if known:
            first = await self._first_values.of([transactions[number] for number in known])
            for number, transaction in zip(known, first, strict=True):
                found[number] = found[number] if transaction is None else transaction
        repeated = sum(each.known for each in seen)
        ADDED.inc(len(seen) - repeated)
        REPEATED.inc(repeated)
        return found

    def _with_history(self, transaction: TransactionModel, observation: Observation, seen: SeenBefore) -> Observed:
        try:
            folded = self._fold.columns(observation, seen)
            if True in folded.too_old and not seen.known:
                TOO_OLD.inc()
            return transaction.with_history(folded.values, folded.ordinals)
        except HistoryUnreadableError as error:
            UNREADABLE.inc()
            self._tell_of_unreadable(error)
            return self._without(transaction)
        except Exception as error:  # noqa: BLE001  # a team's own columns: one transaction must not fail the others
            return error

    def _tell_of_unreadable(self, error: HistoryUnreadableError) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning("what is kept of an entity cannot be read; further ones are only counted", problem=str(error))

    def _without(self, transaction: TransactionModel) -> Observed:
        return self._refusal() or transaction


def required(observed: Observed) -> TransactionModel:
    """The transaction that was observed; raises the error where there is one instead."""
    if isinstance(observed, Exception):
        raise observed
    return observed
