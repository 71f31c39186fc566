"""Real rows through all three doors of a running installation: one decision, and scikit-learn's own probability.

`make test` takes a sample; `make parity` takes every row of the test month (THREE_DOORS_ROWS=0).
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.registry import Registry
from riskline.worker.training.data.dataset import read_batches
from riskline.worker.training.data.labelled import read_labelled
from riskline.worker.training.data.periods import Moment, TrainingPeriods, split
from riskline.worker.training.fit import Algorithm, fit
from riskline_client import Client
from tests.integration.running import PATIENCE_SECONDS, RunningUp, riskline

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

REAL_DATA = Path(__file__).parents[3] / "shared" / "data" / "transactions.csv.gz"
SAMPLE_ROWS = int(os.environ.get("THREE_DOORS_ROWS", "1500"))
CLIENTS = 16
SEED = 0


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], Path, list[str]]:
    """A data directory with a model trained on the real file, or on a simulated one in a clone alone."""
    home = tmp_path_factory.mktemp("doors")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RISKLINE_", "REDIS_URL"))}
    file, split_words = REAL_DATA, ["--test-from", "2025-06-01", "--skip-bad-rows"]
    if not REAL_DATA.exists():
        file, split_words = home / "simulated.csv.gz", ["--test-from", "2025-03-01"]
        assert riskline("data", str(file), environment=environment).returncode == 0
    trained = riskline("train", str(file), *split_words, "--data", str(home), environment=environment)
    assert trained.returncode == 0, trained.stderr
    return home, environment, file, split_words


def without_time(decision: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in decision.items() if name != "scored_at"}


def test_every_door_gives_the_decision_that_scikit_learn_would_give(
    installation: tuple[Path, dict[str, str], Path, list[str]], tmp_path: Path
) -> None:
    home, environment, file, split_words = installation
    periods = TrainingPeriods(test_from=Moment.parse(split_words[1]))
    labelled = read_labelled(file, Transaction, label="is_fraud", skip_bad_rows=True)
    training = split(labelled, periods, seed=SEED).training
    rows = [
        transaction
        for batch in read_batches(file, Transaction, needed=["timestamp"])
        for transaction, extra in zip(batch.transactions, batch.extras, strict=True)
        if extra["timestamp"] >= split_words[1]
    ]
    step = max(1, len(rows) // SAMPLE_ROWS) if SAMPLE_ROWS else 1
    rows = rows[::step]
    sample = tmp_path / "sample.ndjson"
    sample.write_bytes(b"".join(row.to_json() + b"\n" for row in rows))

    forest = fit(training, Algorithm.RANDOM_FOREST, seed=SEED)
    expected = forest.probabilities(_matrix(rows))
    scored = riskline(
        "score",
        str(sample),
        "--explain",
        "--out",
        str(tmp_path / "out.ndjson"),
        "--data",
        str(home),
        environment=environment,
    )
    assert scored.returncode == 0, scored.stderr
    from_file = [orjson.loads(line) for line in (tmp_path / "out.ndjson").read_bytes().splitlines()]
    with RunningUp(home, environment=environment) as up, _client(up) as client, ThreadPoolExecutor(CLIENTS) as clients:
        at_once = list(clients.map(lambda row: client.score(row, explain=True).document, rows))
        accepted = list(clients.map(lambda row: client.submit(_renamed(row), explain=True), rows))
        queued = list(
            clients.map(lambda state: client.wait_for(state.transaction_id, PATIENCE_SECONDS).decision, accepted)
        )

    base = Registry(home / "models").load_active(inputs_of(Transaction)).base
    for row, sync, by_worker, read, probability in zip(rows, at_once, queued, from_file, expected, strict=True):
        assert by_worker is not None
        decision = {**by_worker.document, "transaction_id": row.transaction_id}
        assert without_time(sync) == without_time(read) == without_time(decision)
        assert sync["fraud_probability"] == round(float(probability), 4)
        assert sync["action"] == ("DECLINE" if probability > 0.85 else "APPROVE")
        total = base + sum(reason["contribution"] for reason in sync["reasons"])
        assert total == pytest.approx(float(probability), abs=1e-9)


def _matrix(rows: list[Transaction]) -> Any:
    return np.array([row.features() for row in rows], dtype=np.float64)


def _renamed(row: Transaction) -> Transaction:
    return Transaction.from_row({**row.model_dump(), "transaction_id": f"async-{row.transaction_id}"})


def _client(up: RunningUp) -> Client:
    return Client(f"http://127.0.0.1:{up.state['port']}", score_timeout=PATIENCE_SECONDS, timeout=PATIENCE_SECONDS)
