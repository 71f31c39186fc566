"""`riskline doctor` on what looks healthy and is not, and in an outage."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from riskline.cli.doctor.doctor import check_port, diagnose
from riskline.cli.doctor.finding import Finding, Verdict
from riskline.cli.doctor.redis import decided_by_workers
from riskline.shared.settings import load_settings
from riskline.shared.store.status.counts import Counts
from riskline.shared.store.status.processes import ProcessState

API = ProcessState(
    process="a", kind="api", host="h", pid=1, version="v", since=None, wanted="v", pinned=False, problem=None
)


@contextmanager
def api_that_says(status: int, ready: dict[str, Any]) -> Iterator[int]:
    """Something that answers each request so; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(ready).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def frozen() -> Iterator[tuple[int, list[socket.socket]]]:
    """A port that takes connections and never answers; gives those that it took, too."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield server.getsockname()[1], taken
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in taken:
                each.close()


def port_finding(port: int, data: Path) -> Finding:
    [finding] = check_port(load_settings(port=port, data=data))
    return finding


@pytest.mark.parametrize(
    ("counts", "processes", "verdict", "said"),
    [
        (Counts(workers=1), [API], Verdict.OK, "1 lives"),
        (Counts(workers=2), [], Verdict.OK, "2 live"),
        (Counts(), [API], Verdict.FAIL, "none lives, and the API queues what none will decide"),
        (Counts(undecided=7), [], Verdict.FAIL, "none lives, and 7 transactions wait"),
        (Counts(), [], Verdict.WARN, "none lives, and no API"),
    ],
)
def test_no_living_worker_is_a_finding_before_anything_waits(
    counts: Counts, processes: list[ProcessState], verdict: Verdict, said: str
) -> None:
    finding = decided_by_workers(counts, processes)

    assert finding.verdict is verdict
    assert finding.detail.startswith(said)
    assert verdict is Verdict.OK or "start `riskline worker`" in finding.detail


def test_the_port_of_an_api_that_is_not_ready_is_not_to_be_freed(tmp_path: Path) -> None:
    away = {"status": "unready", "missing": ["redis"], "checks": {"redis": "Redis: no answer within 1 s"}}
    with api_that_says(503, away) as port:
        finding = port_finding(port, tmp_path)

    assert finding.verdict is Verdict.FAIL
    assert "API answers" in finding.detail
    assert "not ready: redis (Redis: no answer within 1 s)" in finding.detail
    assert "stop what listens" not in finding.detail


def test_an_api_that_is_ready_and_degraded_says_what_is_amiss(tmp_path: Path) -> None:
    degraded = {"status": "ready", "missing": [], "degraded": ["workers"], "checks": {"workers": "none lives"}}
    with api_that_says(200, degraded) as port:
        finding = port_finding(port, tmp_path)

    assert finding.verdict is Verdict.OK
    assert "degraded: workers (none lives)" in finding.detail


def test_the_port_that_another_program_has_is_to_be_freed(tmp_path: Path) -> None:
    with api_that_says(200, {"hello": "world"}) as port:
        finding = port_finding(port, tmp_path)

    assert finding.verdict is Verdict.FAIL
    assert "stop what listens there" in finding.detail


def test_a_redis_that_hangs_is_asked_once(tmp_path: Path) -> None:
    with frozen() as (port, taken):
        findings = list(diagnose(data=tmp_path, redis_url=f"redis://127.0.0.1:{port}/0", port=0))

    redis = [each for each in findings if each.check in {"redis", "store", "versions", "workers", "callbacks"}]
    assert [(each.check, each.verdict) for each in redis] == [("redis", Verdict.FAIL)]
    assert "does not answer in time" in redis[0].detail
    assert len(taken) == 1
