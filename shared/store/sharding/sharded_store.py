"""A store of several shards, for the HTTP service: each call goes to its transaction's shard; outages stay there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.interfaces import Erasure, Stored, TransactionIntake
from riskline.shared.store.records import Outcome, Record, Submission
from riskline.shared.store.sharding.shards import by_shard
from riskline.shared.store.status.counts import Counts, PartialCounts, last_seen, together

Item = TypeVar("Item")
Answer = TypeVar("Answer")

COUNT_SECONDS = 1.5
"""A shard that does not answer a count in this time counts as away: the others do not wait for it."""

Route = Callable[[str], int]
"""From a transaction's id to the number of its shard."""


class ShardedIntake:
    """TransactionIntake over all shards, by their number."""

    def __init__(self, parts: Sequence[TransactionIntake], *, route: Route) -> None:
        self.parts = tuple(parts)
        self.route = route
        self.away: dict[int, str] = {}
        """The shards that did not answer the last count, and their errors."""
        self._counted: dict[int, Counts] = {}

    async def accept(self, submissions: Sequence[Submission]) -> list[Stored]:
        """See TransactionIntake; where a shard fails, the others' transactions are accepted all the same."""
        return await self._spread(submissions, lambda each: each.transaction_id, lambda part, items: part.accept(items))

    async def get(self, transaction_ids: Sequence[str]) -> list[Record | None]:
        """See TransactionIntake."""
        return await self._spread(transaction_ids, lambda each: each, lambda part, items: part.get(items))

    async def callback(self, transaction_id: str) -> Mapping[bytes, bytes] | None:
        """See TransactionIntake."""
        return await self._part(transaction_id).callback(transaction_id)

    async def record(self, outcomes: Sequence[Outcome], *, wanted: bool = False) -> list[Stored]:
        """See TransactionIntake; where a shard fails, the others' decisions are recorded all the same."""
        return await self._spread(
            outcomes, lambda each: each.transaction_id, lambda part, items: part.record(items, wanted=wanted)
        )

    async def decide_queued(self, outcome: Outcome) -> bool:
        """See TransactionIntake."""
        return await self._part(outcome.transaction_id).decide_queued(outcome)

    async def erase(self, transaction_id: str, *, erased_at: str) -> Erasure:
        """See TransactionIntake."""
        return await self._part(transaction_id).erase(transaction_id, erased_at=erased_at)

    async def count(self) -> Counts:
        """See TransactionIntake; a shard that is away counts as it was when last seen.

        PartialCounts while a shard was never seen.
        """
        answers = await asyncio.gather(*map(_counted, self.parts), return_exceptions=True)
        away: dict[int, str] = {}
        for number, answer in enumerate(answers):
            if isinstance(answer, Counts):
                self._counted[number] = answer
            elif isinstance(answer, StoreUnavailableError):
                away[number] = str(answer)
                if number in self._counted:
                    self._counted[number] = last_seen(self._counted[number])
            else:
                raise answer
        self.away = away
        if len(away) == len(self.parts):
            raise StoreUnavailableError(next(iter(away.values())))
        counts = together(list(self._counted.values()))
        return counts if len(self._counted) == len(self.parts) else PartialCounts(*counts)

    def _part(self, transaction_id: str) -> TransactionIntake:
        return self.parts[self.route(transaction_id)]

    async def _spread(
        self,
        items: Sequence[Item],
        id_of: Callable[[Item], str],
        call: Callable[[TransactionIntake, Sequence[Item]], Awaitable[Sequence[Answer]]],
    ) -> list[Answer]:
        return await spread(
            items, lambda item: self.route(id_of(item)), lambda shard, mine: call(self.parts[shard], mine)
        )


async def spread(
    items: Sequence[Item],
    shard: Callable[[Item], int],
    call: Callable[[int, Sequence[Item]], Awaitable[Sequence[Answer]]],
) -> list[Answer]:
    """The shards' answers, in the order of the items; an error of one is raised after all have answered."""
    places = by_shard(range(len(items)), lambda place: shard(items[place]))
    calls = (call(number, [items[place] for place in mine]) for number, mine in places.items())
    answered = await asyncio.gather(*calls, return_exceptions=True)
    answers: dict[int, Answer] = {}
    for mine, answer in zip(places.values(), answered, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        answers.update(zip(mine, answer, strict=True))
    return [answers[place] for place in range(len(items))]


async def _counted(part: TransactionIntake) -> Counts:
    try:
        async with asyncio.timeout(COUNT_SECONDS):
            return await part.count()
    except TimeoutError:
        raise StoreUnavailableError(f"Redis: no answer within {COUNT_SECONDS:g} s") from None
