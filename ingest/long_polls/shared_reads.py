"""Reads of transactions for clients: those at the same time share a call."""

import asyncio
from collections.abc import Iterator, Sequence

from riskline.shared.errors import RisklineError, StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.interfaces import TransactionIntake
from riskline.shared.store.records import Record

log = get_logger(__name__)

READ_BATCH = 512
"""The most records in one read: more would hold up Redis and the event loop."""

Read = asyncio.Future[Record | None]


class SharedReads:
    """Reads transactions of one shard; reads at the same time share a call."""

    def __init__(self, intake: TransactionIntake) -> None:
        self.intake = intake
        self._wanted: dict[str, list[Read]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def read(self, transaction_id: str) -> Record | None:
        """The record as it is; None where there is none.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        future: Read = asyncio.get_running_loop().create_future()
        self._wanted.setdefault(transaction_id, []).append(future)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_wanted())
        return await future

    async def _read_wanted(self) -> None:
        try:
            while self._wanted:
                await asyncio.sleep(0)
                wanted, self._wanted = self._wanted, {}
                for ids in in_batches(list(wanted)):
                    await self._read_part(ids, wanted)
        finally:
            self._reading = None

    async def _read_part(self, ids: Sequence[str], wanted: dict[str, list[Read]]) -> None:
        outcomes: Sequence[Record | Exception | None]
        try:
            outcomes = await self.intake.get(ids)
        except StoreUnavailableError as error:
            # requests that wait behind would find Redis no better, only later
            for transaction_id, futures in self._wanted.items():
                wanted.setdefault(transaction_id, []).extend(futures)
            self._wanted = {}
            ids = list(wanted)
            outcomes = [error] * len(ids)
        except Exception:
            # many clients share the read: none may wait for ever
            log.exception("reading transactions failed")
            outcomes = [RisklineError("the read failed; the log says why")] * len(ids)
        for transaction_id, outcome in zip(ids, outcomes, strict=True):
            for future in wanted[transaction_id]:
                if future.done():
                    continue
                if isinstance(outcome, Exception):
                    # one exception each: a shared one would gather the tracebacks of all requests
                    future.set_exception(type(outcome)(*outcome.args))
                else:
                    future.set_result(outcome)


def in_batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids, as many at a time as one read has."""
    return (ids[start : start + READ_BATCH] for start in range(0, len(ids), READ_BATCH))
