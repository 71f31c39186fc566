"""Riskline on two hosts that share a Redis behind a faulty network, with RQ's own workers beside it."""

import http.client
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis import Redis

from riskline.cli.up.demo import cli_command
from riskline.cli.up.redis_server import command, find_server, probe, wait_until_ready
from riskline.shared.webhooks.signing import new_secret
from tests.chaos.faults import DELIVERIES
from tests.chaos.peer import DATABASE
from tests.chaos.processes import ChaosError, Service, free_ports, last_lines, processes_with
from tests.chaos.proxy import FaultyProxy
from tests.chaos.receiver import HOST, Destinations, Receiver
from tests.integration.conftest import write_stump

ROOT = Path(__file__).resolve().parents[2]

WORKERS = ("worker 1", "worker 2", "worker 3")
"""The first two are children of `riskline up`, the third is another host's."""

CHILDREN = {
    "worker 1": "scoring worker 1",
    "worker 2": "scoring worker 2",
    "delivery worker 1": "callbacks worker 1",
    "api 1": "API",
}
"""What the state of `riskline up` calls them."""

HOSTS = ("up", "api 2", "worker 3", "delivery worker 2")
"""What the runner starts and starts again."""

PEERS = {"worker 1": "peer 1", "worker 2": "peer 2", "worker 3": "peer 3"}
"""RQ's own workers, each of which suffers what the Riskline worker with its number does."""

CALLBACK_SCHEDULE = (0, 1, 1, 2, 2, 2, 2, 2)
"""Seconds before each attempt: short, so that callbacks that cannot be delivered are given up within the run."""

READY_SECONDS = 60.0
UP_STOP_SECONDS = 45.0
STOP_SECONDS = 20.0
LEFT_SECONDS = 15.0
POLL_SECONDS = 0.05


class Fleet:
    """All processes of a run; to be used in one thread, which must be the main one."""

    def __init__(self, directory: Path, *, with_peer: bool, seed: int) -> None:
        self.directory = directory
        redis_port, proxy_port, first_api, second_api, live, dead = free_ports(6)
        self.api_urls = [f"http://127.0.0.1:{first_api}", f"http://127.0.0.1:{second_api}"]
        self.data = directory / "data"
        self.logs = directory / "logs"
        redis_dir = directory / "redis"
        for each in (self.data, self.logs, redis_dir):
            each.mkdir()
        write_stump(directory / "models")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RISKLINE_", "REDIS_URL"))}
        secret = new_secret()
        self.receiver = Receiver(port=live, secret=secret, seed=seed)
        self.destinations = Destinations(live=live, dead=dead)
        self._mark = f"RISKLINE_DATA={self.data}"
        self.environment = {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": f"redis://127.0.0.1:{proxy_port}",
            "RISKLINE_DATA": str(self.data),
            "RISKLINE_MODELS": str(directory / "models"),
            "RISKLINE_TRANSACTION": "tests.chaos.slow:SlowTransaction",
            "RISKLINE_CALLBACK_SECRET": secret,
            "RISKLINE_STOP_DELAY": "0.5",
            "RISKLINE_CALLBACK_ALLOW": f"{HOST}/32",
            "RISKLINE_CALLBACK_SCHEDULE": ",".join(map(str, CALLBACK_SCHEDULE)),
        }
        self.redis_log = self.logs / "redis-server.log"
        self.server = find_server(redis_dir)
        words = command(self.server, redis_dir=redis_dir, socket=redis_dir / "s", log_file=self.redis_log)
        self.redis_url = f"unix://{redis_dir / 's'}"
        self.redis = self._service("redis", [*words, "--port", str(redis_port), "--bind", "127.0.0.1"])
        self.proxy = FaultyProxy(port=proxy_port, upstream_port=redis_port, delays=random.Random(seed))
        up = cli_command("up", "--port", str(first_api), "--workers", "2")
        self.services = {
            "up": self._service("up", up, orphaned_signal=signal.SIGTERM),
            "api 2": self._service("api 2", cli_command("api", "--port", str(second_api))),
            "worker 3": self._service("worker 3", cli_command("worker")),
            DELIVERIES[1]: self._service(DELIVERIES[1], cli_command("worker", "--queue", "callbacks")),
        }
        self.peer_url = f"{self.environment['REDIS_URL']}/{DATABASE}"
        if with_peer:
            script = [*cli_command()[:1], "-P", "-m", "tests.chaos.peer", self.peer_url]
            self.services |= {name: self._service(name, script) for name in PEERS.values()}

    def _service(self, name: str, words: list[str], **options: Any) -> Service:
        log = self.logs / f"{name.replace(' ', '-')}.log"
        return Service(name=name, command=words, environment=self.environment, log=log, **options)

    def start(self) -> None:
        """Returns once everything works.

        Raises:
            ChaosError: something does not get going; shows its last words.
        """
        self.start_redis()
        self.proxy.start()
        self.receiver.start()
        for service in self.services.values():
            service.start()
        for name, url in zip(("up", "api 2"), self.api_urls, strict=True):
            self._wait(lambda url=url: is_ready(url), name)
        self._wait(lambda: all(self.pid(name) for name in CHILDREN), "up")
        store = self.store()
        count = len(WORKERS) + len(DELIVERIES)
        self._wait(lambda: store.scard("rq:workers") >= count, "worker 3")
        store.close()

    def _wait(self, condition: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            service = self.services[name]
            if not service.pid or time.monotonic() > deadline:
                raise ChaosError(f"{name} did not get going: {last_lines(service.log)}")
            time.sleep(POLL_SECONDS)

    def start_redis(self) -> None:
        """Starts Redis unless it runs, and returns once it has loaded what it kept."""
        if not self.redis.pid:
            self.redis.start()
        wait_until_ready(
            self.redis_url,
            exit_status=lambda: None if self.redis.pid else "it ended",
            log_file=self.redis_log,
        )

    def store(self) -> Redis:
        """Redis itself, not through the proxy."""
        return probe(self.redis_url, timeout_seconds=10.0)

    def tend(self) -> None:
        """Starts what has died again; `up` does so for its own children."""
        for service in self.services.values():
            service.revive()

    def pid(self, target: str) -> int:
        """The id of a process; 0 while it does not run."""
        if target == "redis":
            return self.redis.pid
        if target not in CHILDREN:
            return self.services[target].pid if target in self.services else 0
        try:
            state = json.loads((self.data / "run" / "state.json").read_bytes())
        except (OSError, ValueError):
            return 0
        # what an `up` wrote that is gone may name anybody by now
        alive = self.services["up"].pid != 0 and state["pid"] == self.services["up"].pid
        return int(state["children"].get(CHILDREN[target], 0)) if alive else 0

    def close(self) -> list[str]:
        """Ends everything; what had to be killed, and what was left."""
        problems = []
        # else nobody could say goodbye
        self.proxy.heal()
        for name, service in self.services.items():
            if not service.end(seconds=UP_STOP_SECONDS if name == "up" else STOP_SECONDS) and name in HOSTS:
                problems.append(f"{name} did not stop when it was told to: {last_lines(service.log)}")
        self.redis.kill()
        self.proxy.close()
        self.receiver.close()
        self.destinations.close()
        deadline = time.monotonic() + LEFT_SECONDS
        while (left := processes_with(self._mark)) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        for pid in left:
            problems.append(f"process {pid} was left: {Path(f'/proc/{pid}/cmdline').read_text()}")
            os.kill(pid, signal.SIGKILL)
        return problems


def is_ready(url: str) -> bool:
    """Whether an API can decide and queue."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2.0)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
