"""Whatever order things happen in: the store in memory, as Lua on fakeredis, and as Lua on a real Redis."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.running import OwnRedis
from tests.integration.store_machine import StoreMachine
from tests.integration.stores import fake_store, memory_store, real_store

pytestmark = pytest.mark.integration


def some(examples: int, *, steps: int = 40) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def test_the_twin_in_memory_keeps_the_promises_whatever_the_order() -> None:
    run_state_machine_as_test(lambda: StoreMachine(memory_store()), settings=some(150))


def test_the_lua_on_fakeredis_keeps_them_too_and_answers_as_the_twin_does() -> None:
    run_state_machine_as_test(lambda: StoreMachine(fake_store(), memory_store()), settings=some(10))


def test_the_lua_on_redis_keeps_them_too_and_answers_as_the_twin_does(shared_redis: OwnRedis) -> None:
    run_state_machine_as_test(lambda: StoreMachine(real_store(shared_redis.url), memory_store()), settings=some(60))
