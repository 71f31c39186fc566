"""`riskline history backfill` and `verify` on a real Redis."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.observation import Observing
from riskline.shared.domain.history.plan import History
from riskline.shared.model.history import Fold
from riskline.shared.settings import load_settings
from riskline.shared.store.history.memory_history import MemoryHistory
from riskline.shared.store.history.secret import history_secret
from riskline.shared.store.keys import FIRST
from riskline.shared.store.records import queued_record
from tests.integration.conftest import clean_environment
from tests.integration.running import OwnRedis, riskline
from tests.support.histories import Purchase, purchase

pytestmark = pytest.mark.integration

SECRET = "a secret of this test"
NOW = "2026-11-24T03:15:07.{:03d}Z"


@pytest.fixture
def history() -> History:
    found = history_of(Purchase)
    assert found is not None
    return found


@pytest.fixture
def environment(shared_redis: OwnRedis, tmp_path: Path) -> dict[str, str]:
    """Of an installation over an empty Redis."""
    with Redis.from_url(shared_redis.url) as redis:
        redis.flushall()
    return {
        **clean_environment(),
        "REDIS_URL": shared_redis.url,
        "RISKLINE_DATA": str(tmp_path / "data"),
        "RISKLINE_HISTORY_SECRET": SECRET,
        "RISKLINE_TRANSACTION": "tests.support.histories:Purchase",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


def told(*words: str, environment: Mapping[str, str], code: int = 0) -> str:
    done = riskline("history", *words, environment=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def write_file(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(count: int) -> list[dict[str, Any]]:
    return [purchase(number, seconds=60 * number - 86_400 * 365) for number in range(count)]


async def serve(redis: Redis, history: History, some: list[dict[str, Any]], **wrong: float) -> None:
    """Keeps the records of transactions as they would have been served; the third with other values."""
    observing = Observing(history, history_secret(load_settings(history_secret=SECRET)))
    store, fold = MemoryHistory(history), Fold(history)
    for number, row in enumerate(some):
        transaction = Purchase.from_row(row)
        observation = observing.of(transaction)
        (seen,) = await store.observe([observation])
        values, order, *_ = fold.columns(observation, seen)
        by_name = dict(zip((each.name for each in history.columns), values, strict=True))
        by_name |= wrong if number == 2 else {}
        served = transaction.with_history(list(by_name.values()), order)
        record = queued_record(served, submitted_at=NOW.format(number)).record
        redis.set(FIRST.transaction(transaction.transaction_id), record)


async def test_verify_says_that_all_is_identical_or_names_the_first_difference_and_fails(
    environment: dict[str, str], shared_redis: OwnRedis, history: History
) -> None:
    assert "there is nothing to verify" in told("verify", environment=environment)
    with Redis.from_url(shared_redis.url) as redis:
        await serve(redis, history, rows(50))
        values = 50 * len(history.columns)
        assert f"{values} values of 50 transactions computed anew: all are identical" in told(
            "verify", environment=environment
        )
        await serve(redis, history, rows(50), mean_30d=48.6)
        said = told("verify", environment=environment, code=1)
        assert f"{values} values of 50 transactions computed anew: 1 differ" in said
        assert "first difference: mean_30d of P-2 was served as 48.6, and comes to 48.5" in said
        redis.delete(FIRST.transaction("P-0"))
        assert "no value of 49 transactions" not in told("verify", environment=environment, code=0)


def test_backfill_lists_bad_rows_says_what_was_added_and_adds_nothing_twice(
    environment: dict[str, str], history: History, tmp_path: Path
) -> None:
    bad = [{**purchase(50), "cost": -1}, purchase(51, seconds=10**9)]
    file = str(write_file(tmp_path / "past.ndjson", [*rows(50), *bad]))

    refused = told("backfill", file, environment=environment, code=1)
    assert "2 rows that are no transactions" in refused
    assert "row 51: cost: Input should be greater than 0" in refused
    assert "row 52: at: Input should be at most five minutes ahead of the present time" in refused

    said = told("backfill", file, "--skip-bad-rows", environment=environment)
    assert "card_id: 50 transactions of 1 entity added; the past is there from 2025-11-24T03:15:07.000Z to" in said
    again = json.loads(
        told("backfill", file, "--skip-bad-rows", "--json", environment=environment).partition("]\n")[0] + "]"
    )
    assert {each["events"] for each in again} == {0}
    assert "backfilled from 2025-11-24T03:15:07.000Z" in told("status", environment=environment)


def test_without_redis_and_without_history_each_says_what_to_do(environment: dict[str, str], tmp_path: Path) -> None:
    file = str(write_file(tmp_path / "past.ndjson", rows(3)))
    del environment["REDIS_URL"]

    for words in (("backfill", file), ("verify",)):
        assert "no `riskline up` runs on" in told(*words, environment=environment, code=1)
        plain = {**environment, "RISKLINE_TRANSACTION": "riskline.shared.domain.transaction:Transaction"}
        assert "has no columns of history" in told(*words, environment=plain, code=1)
