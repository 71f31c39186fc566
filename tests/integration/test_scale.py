"""`riskline scale` against a real Redis: the present load, the workers it needs, and what is not known."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from riskline.shared.domain.capacity import BATCH, BatchTimes
from riskline.shared.store.keys import Keys
from riskline.shared.store.status.paces import Paces
from tests.integration.running import OwnRedis, eventually, riskline

pytestmark = pytest.mark.integration

ARRIVALS_PER_SECOND = 20_000
KEYS = Keys()


@pytest.fixture
def environment(redis: OwnRedis, demo_environment: dict[str, str]) -> dict[str, str]:
    return {**demo_environment, "REDIS_URL": redis.url}


@contextmanager
def arrivals(redis: OwnRedis) -> Iterator[None]:
    """Counts submissions as *accept* does, at a steady rate."""
    ended = threading.Event()
    client = redis.client()

    def arrive() -> None:
        began, counted = time.monotonic(), 0
        while not ended.wait(0.01):
            due = int((time.monotonic() - began) * ARRIVALS_PER_SECOND)
            client.hincrby(KEYS.totals, "accepted", due - counted)
            counted = due

    thread = threading.Thread(target=arrive)
    thread.start()
    try:
        eventually(lambda: client.exists(KEYS.totals))
        yield
    finally:
        ended.set()
        thread.join()
        client.close()


def scaled(environment: dict[str, str], *words: str) -> dict[str, Any]:
    done = riskline("scale", "--json", *words, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_it_says_how_many_workers_the_load_and_many_times_of_it_need(
    redis: OwnRedis, environment: dict[str, str]
) -> None:
    client = redis.client()
    Paces(client).add({BATCH: BatchTimes(100, 100 * BATCH, 2.56)})
    client.zadd(KEYS.workers, {"w1": (time.time() + 60) * 1000})

    with arrivals(redis):
        figures = scaled(environment, "--max", "1000", "--measure", "3")
        told = riskline("scale", "--measure", "0.5", environment=environment)

    assert figures["arrivals_per_second"] == pytest.approx(ARRIVALS_PER_SECOND, rel=0.2)
    assert figures["worker_pace_per_second"] == pytest.approx(10_000)
    assert figures["workers"] == 1
    assert figures["workers_needed"] in (3, 4)
    assert 230 <= figures["workers_needed_at"]["100"] <= 350
    assert 0 <= figures["redis_core_share"] < 1
    assert "one worker    decides 10,000/s when it is never idle\n" in told.stdout
    assert "workers are enough; 1 lives\nat 10 times the load: " in told.stdout


def test_without_a_worker_it_says_that_no_rate_is_known_and_proposes_one(environment: dict[str, str]) -> None:
    told = riskline("scale", "--measure", "0.5", environment=environment)

    assert told.returncode == 0
    assert "one worker    has decided nothing yet, or too little to say\n" in told.stdout
    assert "1 worker is enough; 0 live\n(no rate is known before a worker has decided a few batches" in told.stdout


def test_where_no_worker_is_left_the_rate_of_those_before_is_what_counts(
    redis: OwnRedis, environment: dict[str, str]
) -> None:
    client = redis.client()
    Paces(client).add({BATCH: BatchTimes(100, 100 * BATCH, 2.56)})
    client.zadd(KEYS.undecided, {f"t{number}": time.time() * 1000 for number in range(5000)})

    figures = scaled(environment, "--drain", "0.1", "--measure", "0.5")
    told = riskline("scale", "--measure", "0.5", "--drain", "0.1", "--max", "2", environment=environment)

    assert (figures["workers"], figures["undecided"], figures["workers_needed"]) == (0, 5000, 5)
    assert "5 workers would be needed, more than the 2 that --max allows; 0 live" in told.stdout


def test_a_redis_that_is_away_is_one_line(redis: OwnRedis, environment: dict[str, str]) -> None:
    redis.stop()

    told = riskline("scale", environment=environment)

    assert told.returncode == 1
    assert told.stderr.count("\n") == 1
    assert "`riskline doctor` says more" in told.stderr


def test_bounds_that_contradict_each_other_are_named(environment: dict[str, str]) -> None:
    told = riskline("scale", "--min", "5", "--max", "2", environment=environment)

    assert told.returncode == 1
    assert told.stderr == "riskline: RISKLINE_SCALE_MIN is 5, more than RISKLINE_SCALE_MAX, 2\n"
