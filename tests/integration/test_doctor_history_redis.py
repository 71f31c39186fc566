"""`riskline doctor` on the history's Redis and its secret."""

import asyncio
from pathlib import Path

import pytest

from riskline.cli.doctor.finding import Finding, Verdict
from riskline.cli.doctor.history_redis import check_history_redis
from riskline.shared.domain.history.observation import Observing
from riskline.shared.settings import Settings, load_settings
from riskline.shared.store.history.opening import open_history
from riskline.shared.store.history.secret import history_secret
from tests.integration.observing_process import purchases
from tests.integration.running import OwnRedis
from tests.support.histories import Purchase, purchase

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(redis: OwnRedis, tmp_path: Path) -> Settings:
    return load_settings(
        redis_url="redis://127.0.0.1:1",
        history_url=redis.url,
        data=tmp_path,
        transaction="tests.support.histories:Purchase",
    )


def findings(settings: Settings) -> dict[str, Verdict]:
    return {each.detail: each.verdict for each in check_history_redis(settings)}


def observe(settings: Settings) -> None:
    async def observed() -> None:
        store = open_history(settings, purchases(), timeout_seconds=60)
        await store.observe([Observing(purchases(), history_secret(settings)).of(Purchase.from_row(purchase()))])
        await store.close()

    asyncio.run(observed())


def test_where_there_is_no_secret_yet_none_is_made(settings: Settings, tmp_path: Path) -> None:
    told = findings(settings)

    assert told[f"no secret yet: the first API process makes {tmp_path}/history_secret"] is Verdict.OK
    assert list(tmp_path.glob("history_secret*")) == []


def test_a_history_that_answers_and_keeps_what_it_has_is_well(settings: Settings) -> None:
    history_secret(settings)
    new = findings(settings)
    observe(settings)
    used = findings(settings)

    assert set(new.values()) == set(used.values()) == {Verdict.OK}
    assert "answers, and was kept with our secret" in new
    assert used == new


def test_everysec_will_do_and_an_eviction_will_not(settings: Settings, redis: OwnRedis) -> None:
    history_secret(settings)
    with redis.client() as client:
        client.config_set("appendfsync", "everysec")
        assert set(findings(settings).values()) == {Verdict.OK}
        client.config_set("maxmemory-policy", "allkeys-lru")

    [(failed, _)] = [each for each in findings(settings).items() if each[1] is Verdict.FAIL]

    assert "maxmemory-policy is allkeys-lru: Redis may drop entities" in failed
    assert "set it to noeviction" in failed


def test_a_secret_that_differs_is_told(settings: Settings) -> None:
    observe(settings)

    told = findings(load_settings(**{**settings.model_dump(), "history_secret": "another secret of tests"}))

    [failed] = [each for each, verdict in told.items() if verdict is Verdict.FAIL]
    assert failed.startswith("what is kept was hashed with another secret: set RISKLINE_HISTORY_SECRET to that one")
    assert failed.endswith("or forget the history with `riskline history erase --all`")


def test_a_secret_that_others_may_read_is_told(settings: Settings, tmp_path: Path) -> None:
    observe(settings)
    (tmp_path / "history_secret").chmod(0o644)

    told = findings(settings)

    assert told[f"others may read {tmp_path}/history_secret: `chmod 600` it"] is Verdict.WARN


def test_a_redis_that_is_away_is_told_without_its_password(settings: Settings) -> None:
    away = load_settings(**{**settings.model_dump(), "history_url": "redis://:hidden@127.0.0.1:1"})

    history_secret(away)
    told = list(check_history_redis(away))

    assert {each.verdict for each in told} == {Verdict.FAIL}
    assert any("RISKLINE_HISTORY_URL" in each.detail for each in told)
    assert not any("hidden" in each.detail for each in told)


def test_a_class_without_history_has_nothing_to_check(settings: Settings) -> None:
    found: list[Finding] = list(
        check_history_redis(load_settings(**{**settings.model_dump(), "transaction": "riskline:Transaction"}))
    )

    assert found == []
