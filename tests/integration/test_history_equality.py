"""What is served is what a model is trained on: each column of history, bit for bit, through every door."""

import http.client
import json
import os
import signal
import struct
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from riskline.shared.domain.history.derive import history_of
from riskline.shared.model.registry import Registry
from riskline.shared.store.connect.connection import connect_store
from riskline.shared.store.every_record import every_record
from riskline.worker.training.data.labelled import read_labelled
from tests.integration.conftest import clean_environment
from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually, riskline
from tests.support.handbook import TerminalPayment, payments
from tests.support.models import write_version_with_history

pytestmark = pytest.mark.integration

HISTORY = history_of(TerminalPayment)
assert HISTORY is not None
COLUMNS = [column.name for column in HISTORY.columns]

A_BATCH = 50
CONNECTIONS = 4


class Sender:
    """Sends one request after the other over several connections, again where a process dies with it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: dict[int, http.client.HTTPConnection] = {}
        self._turns = cycle(range(CONNECTIONS))

    def __call__(self, path: str, body: bytes, *, kind: str = "application/json") -> None:
        eventually(lambda: self._sent(path, body, kind))

    def _sent(self, path: str, body: bytes, kind: str) -> bool:
        number = next(self._turns)
        connection = self._open.get(number) or http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=PATIENCE_SECONDS
        )
        try:
            connection.request("POST", path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            self._open.pop(number, None)
            connection.close()
            return False
        self._open[number] = connection
        assert answer.status in (200, 202, 503), said
        return answer.status != 503

    def close(self) -> None:
        for each in self._open.values():
            each.close()


def installation(tmp_path: Path, *, shards: int) -> dict[str, str]:
    models = tmp_path / "models"
    made = write_version_with_history(models, TerminalPayment, by_history=("count_1d", 2), by_twin=("paid", 100))
    Registry(models).activate(made.version)
    return {
        **clean_environment(),
        "RISKLINE_TRANSACTION": "tests.support.handbook:TerminalPayment",
        "PYTHONPATH": str(Path(__file__).parents[2] / "src") + ":" + str(Path(__file__).parents[2]),
        "RISKLINE_MODELS": str(models),
        "RISKLINE_STOP_DELAY": "0",
        "RISKLINE_SHARDS": str(shards),
        # a machine that is busy for long is no outage
        "RISKLINE_HISTORY_TIMEOUT": "30",
    }


def send_all(up: RunningUp, rows: Sequence[bytes]) -> None:
    """By turns at once, into the queue, and in batches; each after the answer to the one before it."""
    send = Sender(up.state["port"])
    for start in range(0, len(rows), 2 * A_BATCH):
        if start <= len(rows) // 3 < start + 2 * A_BATCH:
            up.kill("scoring worker 1")
        if start <= 2 * len(rows) // 3 < start + 2 * A_BATCH:
            # what was decided at once is recorded after its answer, and would be lost with its process
            eventually(lambda kept=start: len(dict(records(up))) == kept)
            kill_an_api_process(up)
        for number, row in enumerate(rows[start : start + A_BATCH]):
            send("/score-transaction" if number % 2 else "/transactions", row)
        batch = rows[start + A_BATCH : start + 2 * A_BATCH]
        if batch:
            send("/transactions/batch", b"\n".join(batch), kind="application/x-ndjson")
    send.close()


def kill_an_api_process(up: RunningUp) -> None:
    """One of several processes, or the only one."""
    parent = up.state["children"]["API"]
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    os.kill(int(children[-1]) if len(children) > 1 else parent, signal.SIGKILL)


def records(up: RunningUp) -> Iterator[tuple[str, dict[str, Any]]]:
    state = up.state
    shards = connect_store(state["store_url"] or state["redis_url"], shards=state["shards"], makes=False)
    yield from every_record(shards)
    for each in dict.fromkeys(shards):
        each.close()


def bits(value: float) -> bytes:
    return struct.pack("d", float(value))


def matrix(file: Path) -> dict[str, dict[str, float]]:
    """The columns of history as training has them, by id."""
    ids = pl.read_parquet(file)["transaction_id"].to_list()
    rows = read_labelled(file, TerminalPayment, label="is_fraud", skip_bad_rows=False).rows
    places = [TerminalPayment.feature_names().index(name) for name in COLUMNS]
    return {name: dict(zip(COLUMNS, row, strict=True)) for name, row in zip(ids, rows[:, places].tolist(), strict=True)}


@pytest.mark.parametrize(
    ("rows", "shards", "processes"),
    [
        (1_500, 1, 1),
        (1_500, 3, 2),
        pytest.param(20_000, 1, 2, marks=pytest.mark.slow),
        pytest.param(20_000, 3, 2, marks=pytest.mark.slow),
    ],
)
def test_each_column_that_was_served_is_that_of_the_file_though_processes_were_killed(
    rows: int, shards: int, processes: int, tmp_path: Path
) -> None:
    frame = payments(rows)
    file = tmp_path / "payments.parquet"
    frame.write_parquet(file)
    bodies = [json.dumps(row).encode() for row in frame.drop("is_fraud").iter_rows(named=True)]
    environment = installation(tmp_path, shards=shards)
    flags = ("--processes", str(processes), "--workers", "2")

    with RunningUp(tmp_path / "data", environment=environment, flags=flags) as up:
        send_all(up, bodies)
        eventually(lambda: [record["status"] for _, record in records(up)] == ["scored"] * rows)
        served = dict(records(up))
        told = riskline("history", "verify", "--json", "--data", str(up.data), environment=environment)

    trained = matrix(file)
    assert len(served) == len(trained) == rows
    differ = [
        (name, column, served[name]["history"], value)
        for name, values in trained.items()
        for column, value in values.items()
        if served[name]["history"] == "away" or bits(served[name]["history"][column]) != bits(value)
    ]
    assert not differ[:3], len(differ)
    verdict = json.loads(told.stdout)
    assert told.returncode == 0, told.stderr
    assert (verdict["identical"], verdict["different"]) == (rows * len(COLUMNS), 0)
