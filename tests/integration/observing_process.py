"""Observes on a history, as a process of its own."""

import asyncio
import json
import random
import sys
from datetime import timedelta
from typing import Any, NamedTuple

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.observation import Observation, Observing, SeenBefore
from riskline.shared.domain.history.plan import History
from riskline.shared.model.history import Fold, Folded
from riskline.shared.store.history.interface import HistoryStore, Replacement
from tests.integration.history_stores import redis_history
from tests.support.histories import START, Purchase, purchase
from tests.support.observations import CARD, SECRET, an_observation


async def answer_lines(url: str) -> None:
    """A line of ids and cards in, what each saw of its card out."""
    store = redis_history(url)
    await store.warm()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        seen = await store.observe([an_observation(name, card) for name, card in json.loads(line)])
        print(json.dumps([(each.before[CARD] or b"").hex() for each in seen]), flush=True)
    await store.close()


class Told(NamedTuple):
    """What a purchase was told."""

    observation: Observation
    known: bool
    folded: Folded


def purchases() -> History:
    found = history_of(Purchase)
    assert found is not None
    return found


def random_purchases(seed: int, count: int) -> list[Observation]:
    """Purchases of a few cards, merchants and devices, some late; some ids come twice."""
    dice, observing = random.Random(seed), Observing(purchases(), SECRET)
    made: list[Observation] = []
    for number in range(count):
        at = START + timedelta(seconds=60 * number + dice.choice((0, 0, -4000, -100_000)))
        row: dict[str, Any] = purchase(
            at=at.isoformat(),
            card_id=f"C{dice.randrange(5)}",
            merchant_id=f"M{dice.randrange(2)}",
            device_id=dice.choice(("", "D1", "D2")),
            cost=dice.randrange(1, 100_000) / 100,
        )
        row["transaction_id"] = f"P-{seed}-{number}"
        made.append(made[-3] if number % 10 == 9 else observing.of(Purchase.from_row(row)))
    return made


def fold_and_compact(url: str, seed: int, count: int, batch: int) -> list[Told]:
    """Observes random purchases, and packs each tail that is long."""
    return asyncio.run(_fold_and_compact(url, random_purchases(seed, count), batch))


async def _fold_and_compact(url: str, observations: list[Observation], batch: int) -> list[Told]:
    store, fold, told = redis_history(url, history=purchases()), Fold(purchases()), []
    for start in range(0, len(observations), batch):
        some = observations[start : start + batch]
        seen = await store.observe(some)
        told += [Told(one, other.known, fold.columns(one, other)) for one, other in zip(some, seen, strict=True)]
        await compact(store, fold, some, seen)
    await store.close()
    return told


async def compact(store: HistoryStore, fold: Fold, observations: list[Observation], seen: list[SeenBefore]) -> int:
    replacements = []
    for observation, each in zip(observations, seen, strict=True):
        for number, (part, before) in enumerate(zip(observation.parts, each.before, strict=True)):
            if part is not None and before is not None:
                found = fold.compaction(number, before, b"" if each.known else part.event)
                if found is not None:
                    replacements.append(Replacement(number, part.entity, *found))
    return await store.compact(replacements)


if __name__ == "__main__":
    asyncio.run(answer_lines(sys.argv[1]))
