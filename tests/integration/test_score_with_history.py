"""`riskline score` of a class with history: by the file's own past, by none, and by what the installation observed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis

from riskline.cli.main import run
from riskline.shared.domain.assessment import decide_all
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.observation import Observing
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.model.bundle import ServingModel
from riskline.shared.model.history import Fold
from riskline.shared.model.registry import Registry
from riskline.shared.settings import load_settings
from riskline.shared.store.history.memory_history import MemoryHistory
from riskline.shared.store.history.opening import open_history
from riskline.shared.store.history.secret import history_secret
from tests.integration.running import OwnRedis
from tests.support.bursts import in_bursts
from tests.support.files import save
from tests.support.histories import Purchase

pytestmark = pytest.mark.integration

NAMES = ("DATA", "MODELS", "MODEL_VERSION", "TRANSACTION", "STORE_URL", "HISTORY_URL", "HISTORY_SECRET")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An installation with a model of purchases."""
    data = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.delenv(f"RISKLINE_{name}", raising=False)
        patch.delenv("REDIS_URL", raising=False)
        patch.setenv("RISKLINE_TRANSACTION", "tests.support.histories:Purchase")
        patch.setattr("riskline.worker.training.fit.FOREST_TREES", 10)
        file = save(data / "purchases.csv", in_bursts())
        assert run(["train", str(file), "--no-report", "--data", str(data)]) == 0
        yield data


@pytest.fixture
def model(trained: Path, monkeypatch: pytest.MonkeyPatch) -> ServingModel:
    monkeypatch.setenv("RISKLINE_DATA", str(trained))
    return Registry(trained / "models").load_active(inputs_of(Purchase))


def purchases(rows: list[dict[str, Any]]) -> list[Purchase]:
    return [Purchase.from_row({name: row[name] for name in Purchase.model_fields}) for row in rows]


def decisions(model: ServingModel, transactions: list[Purchase]) -> list[dict[str, Any]]:
    return [without_time(each.to_dict()) for each in decide_all(transactions, model, scored_at="")]


def one_by_one(rows: list[dict[str, Any]]) -> list[Purchase]:
    """The purchases with the history that doors give them."""
    history = history_of(Purchase)
    assert history is not None
    observing, fold, store = Observing(history, b"secret"), Fold(history), MemoryHistory(history)
    transactions = purchases(rows)
    observations = [observing.of(each) for each in transactions]
    whole: dict[int, Purchase] = {}
    for at in sorted(range(len(rows)), key=lambda at: observations[at].at_us):
        (seen,) = asyncio.run(store.observe([observations[at]]))
        whole[at] = transactions[at].with_history(fold.columns(observations[at], seen).values)
    return [whole[at] for at in range(len(rows))]


def scored(path: Path, rows: list[dict[str, Any]], *words: str) -> list[dict[str, Any]]:
    file, out = save(path / "rows.csv", rows), path / "out.ndjson"
    assert run(["score", str(file), "--out", str(out), *words]) == 0
    return [without_time(orjson.loads(line)) for line in out.read_bytes().splitlines()]


def without_time(decision: dict[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in decision.items() if name != "scored_at"}


@pytest.mark.parametrize("processes", ["1", "2"])
def test_each_row_is_decided_with_the_past_that_the_file_has_of_it(
    model: ServingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    monkeypatch.setattr("riskline.worker.training.data.dataset.BATCH_ROWS", 100)
    rows = in_bursts()

    found = scored(tmp_path, rows, "--processes", processes)

    assert found == decisions(model, one_by_one(rows))
    assert {each["action"] for each in found} == {"APPROVE", "DECLINE"}
    assert not any("history" in each for each in found)


def test_rows_that_are_no_transactions_are_in_no_history(model: ServingModel, tmp_path: Path) -> None:
    rows = in_bursts()[:200]
    bad = [{**row, "cost": -1} if number % 10 == 3 else row for number, row in enumerate(rows)]
    good = [row for number, row in enumerate(rows) if number % 10 != 3]

    assert run(["score", str(save(tmp_path / "bad.csv", bad))]) == 1
    assert scored(tmp_path, bad, "--skip-bad-rows") == decisions(model, one_by_one(good))


def test_without_history_the_twin_decides_and_each_decision_says_so(
    model: ServingModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = in_bursts()[:50]

    found = scored(tmp_path, rows, "--history", "none")

    assert found == decisions(model, purchases(rows))
    assert {each["history"] for each in found} == {"away"}
    assert "each by the model's twin, without history" in capsys.readouterr().err


@pytest.mark.parametrize("processes", ["1", "2"])
def test_live_rows_are_looked_up_in_the_installation_and_nothing_is_added(
    model: ServingModel, tmp_path: Path, shared_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    monkeypatch.setenv("REDIS_URL", shared_redis.url)
    history, settings = history_of(Purchase), load_settings()
    assert history is not None
    observing, fold, memory = Observing(history, history_secret(settings)), Fold(history), MemoryHistory(history)
    before, rows = in_bursts()[:300], in_bursts()[300:400]
    observed = [observing.of(each) for each in purchases(before)]

    async def observe() -> None:
        store = open_history(settings, history, timeout_seconds=60)
        await store.observe(observed)
        await store.close()

    with Redis.from_url(shared_redis.url) as redis:
        redis.flushall()
        asyncio.run(observe())
        asyncio.run(memory.observe(observed))
        kept = redis.dbsize()

        found = scored(tmp_path, rows, "--history", "live", "--processes", processes)

        assert redis.dbsize() == kept
    looked = [observing.of(each) for each in purchases(rows)]
    seen = zip(purchases(rows), looked, asyncio.run(memory.look(looked)), strict=True)
    assert found == decisions(model, [each.with_history(fold.columns(at, kept).values) for each, at, kept in seen])


def test_a_past_that_cannot_be_asked_is_told(
    model: ServingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(save(tmp_path / "rows.csv", in_bursts()[:5]))
    for words in (["--history", "yesterday"], ["--history", "none", "--url", "http://127.0.0.1:1"]):
        assert run(["score", file, *words]) == 2

    assert run(["score", file, "--history", "live"]) == 1
    assert "REDIS_URL names no Redis" in capsys.readouterr().err
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    assert run(["score", file, "--history", "live"]) == 1
    monkeypatch.delenv("RISKLINE_TRANSACTION")
    assert run(["score", file, "--history", "file"]) == 2
    assert "is for a transaction class with history" in capsys.readouterr().err
