"""Whatever order things happen in: the store in memory, as Lua on fakeredis, and as Lua on a real Redis."""

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from riskline.shared.store.memory import MemoryStore
from tests.integration.running import OwnRedis
from tests.integration.store_machine import StoreMachine
from tests.integration.stores import QUEUE_LIMIT, Store, fake_store, real_store

pytestmark = pytest.mark.integration


class SteadyClock:
    """A hundredth of a second later each time that it is looked at."""

    def __init__(self) -> None:
        self._now = 1_000_000.0

    def __call__(self) -> float:
        self._now += 0.01
        return self._now


def twin(clock: Callable[[], float]) -> Store:
    both = MemoryStore(queue_limit=QUEUE_LIMIT, clock=clock)
    return Store(intake=both, queue=both, failures=both)


def some(examples: int, *, steps: int = 60) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def test_the_twin_in_memory_keeps_the_promises_whatever_the_order() -> None:
    run_state_machine_as_test(lambda: StoreMachine(twin(SteadyClock())), settings=some(120))


def test_the_lua_on_fakeredis_keeps_them_too_and_answers_as_the_twin_does() -> None:
    run_state_machine_as_test(lambda: StoreMachine(fake_store(), twin(time.time)), settings=some(10))


def test_the_lua_on_redis_keeps_them_too_and_answers_as_the_twin_does(shared_redis: OwnRedis) -> None:
    run_state_machine_as_test(lambda: StoreMachine(real_store(shared_redis.url), twin(time.time)), settings=some(40))
