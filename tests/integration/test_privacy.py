"""What a transaction says is nowhere but in its answers and in Redis: not in logs, metrics or what processes print."""

import socket
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from riskline.cli.up.redis_server import probe
from riskline.shared.webhooks.signing import new_secret
from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually
from tests.integration.servers import free_ports
from tests.integration.team_classes import RAISING_AGE, UNLUCKY_AGE
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

AMOUNT, DISTANCE, TEXT = 76543.2125, 65432.1875, "MARK3R"
MARKS = (str(AMOUNT), str(DISTANCE), TEXT)


def marked(transaction_id: str, **changes: Any) -> dict[str, Any]:
    return transaction_json(
        **{"transaction_id": transaction_id, "amount": AMOUNT, "distance_from_home": DISTANCE, **changes}
    )


def bad_rows(prefix: str) -> list[dict[str, Any]]:
    return [
        marked(f"{prefix}-text", amount=TEXT),
        marked(f"{prefix}-unknown", colour=TEXT),
        marked(f"{prefix}-{TEXT} {TEXT}"),
        marked(f"{prefix}-raises", customer_age=UNLUCKY_AGE),
        marked(f"{prefix}-url", callback_url=f"http://10.0.0.1/{TEXT}"),
    ]


def raw(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(data)
        client.settimeout(PATIENCE_SECONDS)
        client.recv(65_536)


def test_nothing_of_a_transaction_is_logged_or_counted_whatever_becomes_of_it(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    [nobody_listens] = free_ports(1)
    callback_url = f"http://127.0.0.1:{nobody_listens}/hooks"
    settings = {
        "RISKLINE_TRANSACTION": "tests.integration.team_classes:Talkative",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RISKLINE_CALLBACK_SECRET": new_secret(),
        "RISKLINE_CALLBACK_ALLOW": "127.0.0.1/32",
        "RISKLINE_CALLBACK_SCHEDULE": "0,0",
    }
    answers = []
    with RunningUp(tmp_path / "data", environment={**demo_environment, **settings}) as up:
        port = up.state["port"]
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS)
        for door in ("/score-transaction", "/transactions"):
            answers += [client.post(door, json=row) for row in bad_rows(door[1])]
            answers.append(client.post(door, content=orjson.dumps(marked("cut"))[:-5] + TEXT.encode()))
        client.post("/score-transaction", json=marked("sync"))
        client.post("/score-transaction", json=marked("sync-raises", customer_age=RAISING_AGE))
        answers.append(client.post("/transactions/batch", json=[*bad_rows("batch"), marked("good")]))
        client.post("/transactions", json=marked("raises", customer_age=RAISING_AGE))
        client.post("/transactions", json=marked("called", callback_url=callback_url))
        answers.append(client.post("/transactions", json=marked("called")))
        eventually(lambda: client.get("/transactions/raises").json()["status"] == "failed")
        eventually(lambda: (client.get("/transactions/called").json()["callback"] or {}).get("status") == "dead")
        raw(port, b"POST /transactions HTTP/1.1\r\nX " + TEXT.encode() + b": y\r\n\r\n")
        raw(port, b"GET /%b HTTP/7.7\r\n\r\n" % TEXT.encode())
        raw(port, b"POST /transactions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % TEXT.encode())
        with probe(up.state["redis_url"]) as redis:
            redis.delete("riskline:{0}:undecided")
            redis.set("riskline:{0}:undecided", "x")
            client.post("/transactions", json=marked("broken-store"))
            client.post("/transactions/batch", json=[marked("broken-store-too")])
            redis.delete("riskline:{0}:undecided")
        assert client.delete("/transactions/called").status_code == 204
        metrics = up.read("/metrics").decode()
        client.close()

    said = "".join(up.lines)
    assert [mark for mark in MARKS if mark in said] == [], [line for line in up.lines if any(m in line for m in MARKS)]
    assert [mark for mark in MARKS if mark in metrics] == []
    assert "KeyError" in said, "what went wrong is told all the same"
    told = [str(answer.json().get("detail")) for answer in answers]
    assert [detail for detail in told if any(mark in detail for mark in MARKS)] == []
