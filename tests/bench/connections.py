"""`python -m tests.bench.connections`: what the connections of an API process take of its memory.

One process on a Redis of its own: idle, with connections kept open, with all of them asking at once again and again,
and with each in the middle of the largest body there may be, which is the most that they can take.
"""

import argparse
import resource
import selectors
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from riskline.shared.model.registry import Registry
from riskline.shared.settings import load_settings
from tests.bench import service
from tests.bench.memory import PeakMemory, resident_mb
from tests.bench.processes import BenchError
from tests.bench.workspace import ROOT, Workspace
from tests.integration.swapping import write_forests
from tests.support.factories import transaction_json

CONNECTIONS = 4000
ROUNDS = 10
SETTLE_SECONDS = 2.0
LONGEST_SECONDS = 120.0


def measure(bench: Workspace, count: int, say: Callable[[str], None]) -> None:
    """Says what so many connections take.

    Raises:
        BenchError: the service failed, or answered too late.
    """
    Registry(bench.models).activate(write_forests(bench.models, 1, trees=100, depth=10)[0])
    largest = load_settings().max_body_bytes
    with service.redis_server(bench) as url, service.api(bench, url) as api, PeakMemory(api.process.pid) as memory:
        idle = resident_mb(api.process.pid)

        def told(what: str, megabytes: float) -> None:
            say(f"{what:42} {megabytes:6.0f} MB, {(megabytes - idle) * 1000 / count:6.1f} KB a connection")

        say(f"{'ready':42} {idle:6.0f} MB")
        clients = [socket.create_connection(("127.0.0.1", api.port)) for _ in range(count)]
        _ask(clients, 0)
        time.sleep(SETTLE_SECONDS)
        told(f"{count:,} connections, kept open", resident_mb(api.process.pid))
        for number in range(1, ROUNDS + 1):
            _ask(clients, number)
        told(f"{count:,} connections, {ROUNDS} requests each at once", memory.largest_mb)
        _send(clients, [_request(b" " * (largest - 1), length=largest)] * count)
        time.sleep(SETTLE_SECONDS)
        told(f"{count:,} connections, each with {largest:,} bytes", resident_mb(api.process.pid))
        for client in clients:
            client.close()


def _ask(clients: Sequence[socket.socket], number: int) -> None:
    """Sends a request by each, then reads all answers."""
    bodies = [orjson.dumps(transaction_json(transaction_id=f"{number}-{i}")) for i in range(len(clients))]
    _send(clients, [_request(body, length=len(body)) for body in bodies])
    for client in clients:
        client.settimeout(LONGEST_SECONDS)
        answer = client.recv(65536)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"a request was answered {answer[:500]!r}")


def _request(body: bytes, *, length: int) -> bytes:
    head = "POST /score-transaction HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode() + body


def _send(clients: Sequence[socket.socket], requests: Sequence[bytes]) -> None:
    """Sends to all of them at once, as fast as each is read."""
    left = dict(zip(clients, requests, strict=True))
    deadline = time.monotonic() + LONGEST_SECONDS
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.setblocking(False)
            selector.register(client, selectors.EVENT_WRITE)
        while left:
            if time.monotonic() > deadline:
                raise BenchError(f"{len(left)} of {len(clients)} connections are not read")
            for key, _ in selector.select(1.0):
                client: Any = key.fileobj
                left[client] = left[client][client.send(left[client]) :]
                if not left[client]:
                    del left[client]
                    selector.unregister(client)


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    count = parser.parse_args().connections
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    (ROOT / ".riskline").mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="connections-", dir=ROOT / ".riskline"))
    try:
        measure(Workspace(directory, Path(), Path(), 1, 1.0, quick=False, say=_say), count, _say)
    except (BenchError, OSError) as error:
        _say(str(error))
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def _say(message: str) -> None:
    print(message, flush=True)


if __name__ == "__main__":
    sys.exit(main())
