"""What the history costs, in counts that hardly vary. The bounds are what docs/reference/redis.md says."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import AwareDatetime
from redis import Redis

from riskline import Count, Entity, EventTime, Exact, Mean, Total, TransactionModel
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.observation import Observation, Observing
from riskline.shared.model.history import Fold, Folded
from tests.integration.history_stores import redis_history
from tests.integration.observing_process import compact
from tests.integration.running import OwnRedis
from tests.support.histories import START
from tests.support.observations import SECRET, an_observation

pytestmark = pytest.mark.integration

COUNT = 1280


@pytest.fixture
def client(redis: OwnRedis) -> Iterator[Redis]:
    with Redis.from_url(redis.url) as opened:
        opened.config_set("appendfsync", "no")
        yield opened


def observe(url: str, observations: Sequence[Observation], *, batch: int) -> None:
    async def run() -> None:
        store = redis_history(url)
        for start in range(0, len(observations), batch):
            await store.observe(observations[start : start + batch])
        await store.close()

    asyncio.run(run())


def calls(client: Redis) -> dict[str, int]:
    stats: dict[str, Any] = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}


@pytest.mark.parametrize("batch", [1, 64])
def test_a_transaction_of_three_entities_costs_three_commands_for_each_of_them_and_a_call_a_batch(
    client: Redis, redis: OwnRedis, batch: int
) -> None:
    observe(redis.url, [an_observation("first", "c0", "m0")], batch=1)
    rows = [an_observation(f"t{number}", f"c{number % 97}", f"m{number % 13}") for number in range(COUNT)]
    before, written = calls(client), client.info("persistence")["aof_current_size"]

    observe(redis.url, rows, batch=batch)

    after = calls(client)
    spent = {name: after[name] - before.get(name, 0) for name in ("evalsha", "get", "append", "pexpire")}
    assert spent == {"evalsha": COUNT // batch, "get": 3 * COUNT, "append": 3 * COUNT, "pexpire": 3 * COUNT}
    # of each entity the event, the new expiry, and the key for both
    assert (client.info("persistence")["aof_current_size"] - written) / COUNT <= 750


def test_a_repeated_transaction_writes_nothing(client: Redis, redis: OwnRedis) -> None:
    rows = [an_observation(f"t{number}", f"c{number}") for number in range(64)]
    observe(redis.url, rows, batch=64)
    before, written = calls(client), client.info("persistence")["aof_current_size"]

    observe(redis.url, rows, batch=64)

    after = calls(client)
    assert [after[name] - before[name] for name in ("evalsha", "get", "append", "pexpire")] == [1, 3 * 64, 0, 0]
    # the marks of a process that starts
    assert client.info("persistence")["aof_current_size"] - written <= 1000


class Payment(TransactionModel):
    """A payment with counts and sums over an hour, a day and thirty days."""

    at: Annotated[AwareDatetime, EventTime]
    card_id: Annotated[str, Entity("30d")]
    cost: Annotated[float, Exact(2)]
    count_1h: Annotated[int, Count("card_id", "1h")]
    count_1d: Annotated[int, Count("card_id", "1d")]
    count_30d: Annotated[int, Count("card_id", "30d")]
    spent_1h: Annotated[float, Total("cost", "card_id", "1h")]
    spent_1d: Annotated[float, Total("cost", "card_id", "1d")]
    mean_30d: Annotated[float, Mean("cost", "card_id", "30d")]


def payments(*, cards: int, a_day: int) -> Iterator[Payment]:
    """Thirty days of them."""
    dice = random.Random(1)
    for number in range(30 * a_day):
        for card in range(cards):
            at = START + timedelta(hours=24 / a_day * number + dice.random())
            row = {"transaction_id": f"P{number}-{card}", "at": at.isoformat(), "card_id": f"C{card}"}
            yield Payment.from_row({**row, "cost": dice.randrange(100, 20_000) / 100})


@pytest.mark.parametrize(("a_day", "most_bytes"), [(2, 2300), (10, 4400)])
def test_what_is_kept_of_a_card_after_thirty_days_is_bounded(
    client: Redis, redis: OwnRedis, a_day: int, most_bytes: int
) -> None:
    history, cards = history_of(Payment), 20
    assert history is not None
    observing = Observing(history, SECRET)
    rows = [observing.of(each) for each in payments(cards=cards, a_day=a_day)]

    async def run() -> None:
        store, fold = redis_history(redis.url, history=history), Fold(history)
        for start in range(0, len(rows), 64):
            some = rows[start : start + 64]
            await compact(store, fold, some, await store.observe(some))
        await store.close()

    asyncio.run(run())

    used = [client.memory_usage(key) for key in client.keys("riskline:{h*}:entity:*")]
    assert len(used) == cards
    assert sum(used) / cards <= most_bytes


FLOOD = 20_000


def test_a_flood_at_one_entity_leaves_a_state_of_few_kilobytes_and_the_right_count(
    client: Redis, redis: OwnRedis
) -> None:
    history = history_of(Payment)
    assert history is not None
    observing, fold, sizes = Observing(history, SECRET), Fold(history), []

    def payment(number: int) -> Observation:
        at = (START + timedelta(seconds=number)).isoformat()
        row = {"transaction_id": f"P{number}", "at": at, "card_id": "C1", "cost": 0.01 * (number % 100)}
        return observing.of(Payment.from_row(row))

    async def run() -> Folded:
        store = redis_history(redis.url, history=history)
        for start in range(0, FLOOD, 64):
            some = [payment(number) for number in range(start, min(start + 64, FLOOD))]
            await compact(store, fold, some, await store.observe(some))
            [key] = client.keys("riskline:{h*}:entity:*")
            sizes.append(client.strlen(key))
        last = payment(FLOOD)
        [seen] = await store.look([last])
        await store.close()
        return fold.columns(last, seen)

    told = dict(zip([column.name for column in history.columns], asyncio.run(run()).values, strict=True))

    assert max(sizes) <= 8192
    assert told["count_30d"] == FLOOD
    # the cells of the last hour and a sixtieth of it
    assert 3600 <= told["count_1h"] <= 3660
    assert told["mean_30d"] == pytest.approx(0.495)
