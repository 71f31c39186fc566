"""Transactions that come at once, from several connections and processes: each is added once, and sees the others."""

import asyncio
import json
import multiprocessing
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Self

import pytest
from redis import Redis

from riskline.shared.domain.history.observation import SeenBefore
from riskline.shared.model.history import Fold
from tests.integration.history_stores import redis_history
from tests.integration.observing_process import Told, fold_and_compact, purchases
from tests.integration.running import PATIENCE_SECONDS, OwnRedis
from tests.support.observations import CARD, an_event, an_observation

pytestmark = pytest.mark.integration

PAIRS = 2_000
"""Ten thousand take half a minute."""

OBSERVERS = 4


@pytest.fixture
def empty_redis(shared_redis: OwnRedis) -> Iterator[OwnRedis]:
    """One that does not wait for its disk."""
    with Redis.from_url(shared_redis.url) as redis:
        redis.flushall()
        redis.config_set("appendfsync", "no")
        yield shared_redis
        redis.config_set("appendfsync", "always")


async def test_an_id_that_comes_a_thousand_times_at_once_is_added_once(empty_redis: OwnRedis) -> None:
    stores = [redis_history(empty_redis.url) for _ in range(OBSERVERS)]
    calls = [stores[number % OBSERVERS].observe([an_observation("same")]) for number in range(1000)]

    seen = [each for call in await asyncio.gather(*calls) for each in call]

    first = SeenBefore((b"", b"", b""))
    assert seen.count(first) == 1
    assert seen.count(SeenBefore((an_event("same"),) * 3, known=True)) == 999
    for store in stores:
        await store.close()


async def test_of_two_payments_at_once_exactly_one_sees_the_other(empty_redis: OwnRedis) -> None:
    one, other = redis_history(empty_redis.url), redis_history(empty_redis.url)
    for number in range(500):
        card = f"card{number}"
        [[first], [second]] = await asyncio.gather(
            one.observe([an_observation(f"a{number}", card)]), other.observe([an_observation(f"b{number}", card)])
        )
        assert {first.before[CARD], second.before[CARD]} in (
            {b"", an_event(f"a{number}")},
            {b"", an_event(f"b{number}")},
        )
    await one.close()
    await other.close()


class Observer:
    """A process that observes."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.observing_process", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        # it ends with its input
        self._process.communicate(timeout=PATIENCE_SECONDS)

    def observe(self, *rows: tuple[str, str]) -> list[bytes]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(rows) + "\n")
        self._process.stdin.flush()
        return [bytes.fromhex(each) for each in json.loads(self._process.stdout.readline())]


def test_a_payment_that_follows_at_once_in_another_process_sees_the_one_before_it_every_time(
    empty_redis: OwnRedis,
) -> None:
    with Observer(empty_redis.url) as one, Observer(empty_redis.url) as other:
        missed = [
            number
            for number in range(PAIRS)
            if one.observe((f"a{number}", f"card{number}")) != [b""]
            or other.observe((f"b{number}", f"card{number}")) != [an_event(f"a{number}")]
        ]

    assert missed == []


def test_while_processes_pack_what_others_add_to_nothing_is_lost_or_counted_twice(
    empty_redis: OwnRedis,
) -> None:
    with ProcessPoolExecutor(OBSERVERS, mp_context=multiprocessing.get_context("spawn")) as processes:
        observe = partial(fold_and_compact, empty_redis.url, count=300, batch=4)
        told = [each for part in processes.map(observe, range(OBSERVERS)) for each in part]

    first = [each for each in told if not each.known]
    assert len(first) == len({each.observation.transaction_id for each in told}) == OBSERVERS * 270
    lines = events_in_order(first)
    for line in lines.values():
        assert sorted(line) == list(range(1, len(line) + 1))
    fold = Fold(purchases())
    for each in first:
        assert fold.columns(each.observation, seen_before(each, lines)) == each.folded
    by_id = {each.observation.transaction_id: each.folded.values for each in first}
    again = [each for each in told if each.known and not each.folded.forgotten]
    assert len(again) > OBSERVERS
    assert [each.folded.values for each in again] == [by_id[each.observation.transaction_id] for each in again]
    with Redis.from_url(empty_redis.url) as redis:
        states = [redis.get(key) for key in redis.keys("riskline:{h*}:entity:*")]
    assert sum(state.startswith(b"S") for state in states) >= 9


Line = dict[int, bytes]
"""The events of an entity, by their place among them."""


def events_in_order(told: list[Told]) -> dict[tuple[int, str], Line]:
    lines: defaultdict[tuple[int, str], Line] = defaultdict(dict)
    for each in told:
        for number, (part, ordinal) in enumerate(zip(each.observation.parts, each.folded.ordinals, strict=True)):
            if part is not None:
                assert ordinal is not None
                line = lines[number, part.entity]
                assert ordinal not in line
                line[ordinal] = part.event
    return lines


def seen_before(told: Told, lines: dict[tuple[int, str], Line]) -> SeenBefore:
    """All that came before, as it was before anything was packed."""
    before: list[bytes | None] = []
    for number, (part, ordinal) in enumerate(zip(told.observation.parts, told.folded.ordinals, strict=True)):
        line = {} if part is None else lines[number, part.entity]
        before.append(None if ordinal is None else b"".join(line[place] for place in range(1, ordinal)))
    return SeenBefore(tuple(before))
