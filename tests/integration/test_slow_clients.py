"""Clients that send a byte a second harm nobody else, and are sent away."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from tests.integration.apis import RunningApi
from tests.integration.running import PATIENCE_SECONDS, OwnRedis
from tests.support.factories import transaction_json
from tests.support.wire import request

pytestmark = pytest.mark.integration

SLOW_CLIENTS = 500
REQUESTS = 600
PACE_SECONDS = 0.004

SLOW = """
import socket, sys, time
port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
data = {
    0: b"GET /health HTTP/1.1\\r\\nHost: localhost\\r\\nX-Slow: ",
    1: b"POST /score-transaction HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Type: application/json\\r\\n"
    b"Content-Length: 999\\r\\n\\r\\n",
}
for number, client in enumerate(clients):
    client.sendall(data[number % 2])
print("connected", flush=True)
began, told = time.monotonic(), 0
while clients and time.monotonic() - began < seconds:
    kept = []
    for client in clients:
        try:
            client.send(b" ")
            client.setblocking(False)
            told += client.recv(4096).startswith(b"HTTP/1.1 408 ")
        except BlockingIOError:
            kept.append(client)
        except OSError:
            pass
    clients = kept
    time.sleep(1)
print(len(clients), told, flush=True)
"""


@contextmanager
def slow_clients(port: int, *, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    words = [sys.executable, "-c", SLOW, str(port), str(SLOW_CLIENTS), str(seconds)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "connected\n"
        yield process
        process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def cpu_seconds(api: RunningApi) -> float:
    """What the process had of a processor until now, all its threads together."""
    tasks = Path(f"/proc/{api.process.pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9


def answers(api: RunningApi) -> float:
    """Has requests answered one after the other, and gives what CPU that cost the API."""
    data = request("/score-transaction", orjson.dumps(transaction_json()))
    before = cpu_seconds(api)
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(REQUESTS):
            client.sendall(data)
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
            time.sleep(PACE_SECONDS)
    return cpu_seconds(api) - before


def test_five_hundred_slow_clients_slow_nobody_down_and_are_told_to_go(
    shared_redis: OwnRedis, demo_environment: dict[str, str]
) -> None:
    environment = {**demo_environment, "RISKLINE_REQUEST_TIMEOUT": "6", "RISKLINE_LOG_LEVEL": "WARNING"}
    with RunningApi(shared_redis.url, environment=environment) as api:
        answers(api)
        alone = answers(api)
        with slow_clients(api.port, seconds=PATIENCE_SECONDS) as slow:
            beside = answers(api)
            left, told = slow.stdout.readline().split()
        print(f"CPU alone {alone:.2f} s, beside {SLOW_CLIENTS} slow clients {beside:.2f} s, 408: {told}")

    assert beside <= 2 * alone
    assert int(left) == 0
    assert int(told) == SLOW_CLIENTS
