"""Keys come and go in every process of a running API, and none of it is seen from outside."""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.running import PATIENCE_SECONDS, OwnRedis, RunningUp, eventually, riskline
from tests.support.factories import transaction_json

pytestmark = pytest.mark.integration

CONNECTIONS = 8
"""Enough that each of two processes has some of them."""

PROCESSES = 2


class Api:
    """`riskline api` in two processes, asked over many connections that stay open."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.environment, self.log = environment, log
        self.connections: list[http.client.HTTPConnection] = []

    def connect(self, port: int) -> bool:
        """Opens connections at once, so that no process is idle enough to take them all; whether each has some."""
        for connection in self.connections:
            connection.close()
        self.connections = [
            http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS) for _ in range(CONNECTIONS)
        ]
        for connection in self.connections:
            connection.connect()
        answered_by = []
        for connection in self.connections:
            connection.request("GET", "/health/live")
            response = connection.getresponse()
            response.read()
            answered_by.append(response.headers["X-Request-ID"].partition("-")[0])
        return len(set(answered_by)) == PROCESSES

    def ask(self, key: str | None) -> list[int]:
        """The status that each connection gets for the same request, by the fast path where the key is good."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        found = []
        for connection in self.connections:
            connection.request("POST", "/score-transaction", json.dumps(transaction_json()), headers)
            response = connection.getresponse()
            response.read()
            found.append(response.status)
        return found

    def all_get(self, key: str | None, status: int) -> bool:
        return self.ask(key) == [status] * CONNECTIONS


def new_key(environment: dict[str, str], name: str, *words: str) -> str:
    made = riskline("keys", "new", "--name", name, "--scope", "score", *words, environment=environment)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture
def api(tmp_path: Path, demo_environment: dict[str, str], redis: OwnRedis) -> Iterator[Api]:
    port = free_port()
    environment = {
        **demo_environment,
        "RISKLINE_DATA": str(tmp_path / "data"),
        "RISKLINE_PORT": str(port),
        "RISKLINE_LOG_LEVEL": "DEBUG",
        "REDIS_URL": redis.url,
    }
    running = Api(environment, tmp_path / "log")
    new_key(environment, "first")
    with running.log.open("wb") as log:
        command = [sys.executable, "-m", "riskline.cli", "api", "--processes", str(PROCESSES)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        eventually(lambda: is_ready(port))
        eventually(lambda: running.connect(port))
        yield running
    finally:
        for connection in running.connections:
            connection.close()
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_a_new_key_works_and_a_revoked_one_stops_in_every_process(api: Api) -> None:
    assert api.all_get(None, 401)

    key = new_key(api.environment, "shop")
    eventually(lambda: api.all_get(key, 200))
    assert riskline("keys", "revoke", "shop", environment=api.environment).returncode == 0
    eventually(lambda: api.all_get(key, 401))

    said = api.log.read_text()
    assert "API keys read" in said
    assert key not in said
    assert api.all_get(None, 401)


def test_no_process_shows_a_key_or_its_hash_on_its_command_line_or_in_its_log(api: Api) -> None:
    key = new_key(api.environment, "shop")
    eventually(lambda: api.all_get(key, 200))
    file = Path(api.environment["RISKLINE_DATA"]) / "api_keys"
    hashes = [line.rpartition(":")[2] for line in file.read_text().splitlines()]

    shown = api.log.read_text() + "".join(map(command_line, Path("/proc").glob("[0-9]*")))

    assert not [secret for secret in (key, *hashes[1:]) if secret in shown]


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


def test_up_makes_the_first_key_of_an_api_that_others_reach_and_puts_it_into_a_file(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    with RunningUp(tmp_path, environment=demo_environment, flags=("--host", "0.0.0.0")) as up:  # noqa: S104
        eventually(lambda: up.said("Try it"))
        (named,) = [line.split()[2] for line in up.lines if line.strip().startswith("key ")]
        key = Path(named.rstrip(":")).read_text().strip()
        refused, _ = up.request("GET", "/decisions")
        connection = http.client.HTTPConnection("127.0.0.1", up.state["port"], timeout=PATIENCE_SECONDS)
        connection.request("GET", "/decisions", headers={"Authorization": f"Bearer {key}"})
        passed = connection.getresponse().status
        connection.close()

    assert (refused, passed) == (401, 200)
    assert key not in "".join(up.lines)
    with RunningUp(tmp_path, environment=demo_environment, flags=("--host", "0.0.0.0")) as again:  # noqa: S104
        assert again.request("GET", "/decisions")[0] == 401
    assert not again.said("rk_")


def test_up_gives_a_link_that_signs_in_to_the_console_once(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    with RunningUp(tmp_path, environment=demo_environment, flags=("--host", "0.0.0.0")) as up:  # noqa: S104
        eventually(lambda: up.said("Try it"))
        file = tmp_path / "console_link"
        link = urlsplit(file.read_text().strip())
        first, second = (_got(up, f"{link.path}?{link.query}") for _ in range(2))
        inside = _got(up, "/console/changes", Cookie=first[1]["set-cookie"].partition(";")[0])
        outside = _got(up, "/console/changes")

    token = link.query.removeprefix("link=")
    assert (first[0], first[1]["location"]) == (303, "/console")
    assert (second[0], second[1].get("set-cookie")) == (200, None)
    assert (inside[0], outside[0]) == (200, 303)
    assert (len(token), file.stat().st_mode & 0o777) == (43, 0o600)
    assert token not in "".join(up.lines)


def _got(up: RunningUp, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", up.state["port"], timeout=PATIENCE_SECONDS)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.headers


@pytest.mark.parametrize("damaged", [False, True], ids=["none", "damaged"])
def test_an_api_that_others_reach_does_not_start_without_keys_that_can_be_read(
    tmp_path: Path, demo_environment: dict[str, str], *, damaged: bool
) -> None:
    if damaged:
        (tmp_path / "api_keys").touch()
    environment = {**demo_environment, "REDIS_URL": f"unix://{tmp_path}/nowhere", "RISKLINE_DATA": str(tmp_path)}

    refused = riskline("api", "--host", "0.0.0.0", environment=environment)  # noqa: S104  # what is tested

    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert ("correct or restore" if damaged else "riskline keys new") in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == (["api_keys"] if damaged else [])


QUOTA = 400
"""So many that their sending takes much longer than processes know nothing of each other."""


def test_a_keys_rate_holds_for_all_processes_together_and_without_redis(api: Api, redis: OwnRedis) -> None:
    key = new_key(api.environment, "batch", "--rate", f"{QUOTA}/h")
    other = new_key(api.environment, "shop")
    eventually(lambda: api.all_get(other, 200))

    passed = 0
    while (statuses := api.ask(key)) != [429] * CONNECTIONS:
        passed += statuses.count(200)

    assert QUOTA <= passed < 1.5 * QUOTA
    assert api.all_get(other, 200)
    redis.stop()
    second = new_key(api.environment, "late", "--rate", f"{QUOTA}/h")
    eventually(lambda: all(status in {200, 429} for status in api.ask(second)))
    assert 200 in api.ask(second)
    eventually(lambda: api.all_get(second, 429))
    assert api.all_get(key, 429)
    assert api.all_get(other, 200)
