"""Clients that send a byte a second harm nobody else, and are sent away."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest

from tests.integration.apis import RunningApi
from tests.integration.running import OwnRedis
from tests.support.factories import transaction_json
from tests.support.wire import request

pytestmark = pytest.mark.integration

SLOW_CLIENTS = 500
MEASURED_SECONDS = 4.0
PACE_SECONDS = 0.004
NOISE_SECONDS = 0.005
"""What a shared machine may add to the slowest requests."""

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
        process.wait(seconds + 20)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def p99_seconds(port: int) -> float:
    data = request("/score-transaction", orjson.dumps(transaction_json()))
    times = []
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + MEASURED_SECONDS
        while time.perf_counter() < end:
            began = time.perf_counter()
            client.sendall(data)
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
            times.append(time.perf_counter() - began)
            time.sleep(PACE_SECONDS)
    return sorted(times)[int(len(times) * 0.99)]


def test_five_hundred_slow_clients_slow_nobody_down_and_are_told_to_go(
    shared_redis: OwnRedis, demo_environment: dict[str, str]
) -> None:
    environment = {**demo_environment, "RISKLINE_REQUEST_TIMEOUT": "6", "RISKLINE_LOG_LEVEL": "WARNING"}
    with RunningApi(shared_redis.url, environment=environment) as api:
        p99_seconds(api.port)
        alone = p99_seconds(api.port)
        with slow_clients(api.port, seconds=12) as slow:
            beside = p99_seconds(api.port)
            left, told = slow.stdout.readline().split()
        print(
            f"p99 alone {alone * 1000:.2f} ms, beside {SLOW_CLIENTS} slow clients {beside * 1000:.2f} ms, 408: {told}"
        )

    assert beside <= 2 * alone + NOISE_SECONDS
    assert int(left) == 0
    assert int(told) == SLOW_CLIENTS
