"""Redis servers and sentinels of a test's own."""

import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from riskline.cli.up.redis_server import probe, server_candidates
from tests.integration.running import eventually


def free_ports(count: int) -> list[int]:
    with_sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in with_sockets]
    for each in with_sockets:
        each.close()
    return ports


class Servers:
    """Redis servers of the test's own, none of which outlives it."""

    def __init__(self, directory: Path, *, server: Path) -> None:
        self._directory = directory
        self._server = server
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self.kill(name)

    def start(self, name: str, *words: str) -> None:
        # last, as a file with the rules must come first
        options = ["--dir", self._directory, "--logfile", self._directory / f"{name}.log"]
        self._processes[name] = subprocess.Popen([self._server, *words, *options])

    def freeze(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()


class Watched(Servers):
    """A master, its replica and a sentinel."""

    def __enter__(self) -> Self:
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start_all(self) -> None:
        first_port, second_port, sentinel_port = free_ports(3)
        self.url = f"redis+sentinel://127.0.0.1:{sentinel_port}/main"
        # from a file at once: it would wait for more replicas
        self.start("first", "--port", str(first_port), "--save", "", "--repl-diskless-sync", "no")
        master = f"127.0.0.1 {first_port}"
        self.start("second", "--port", str(second_port), "--save", "", "--replicaof", master)
        self.first = probe(f"redis://127.0.0.1:{first_port}")
        self.second = probe(f"redis://127.0.0.1:{second_port}")
        eventually(lambda: answer(self.second, "master_link_status") == "up")
        rules = self._directory / "sentinel.conf"
        rules.write_text(
            f"sentinel monitor main {master} 1\n"
            "sentinel down-after-milliseconds main 1000\n"
            "sentinel failover-timeout main 3000\n"
        )
        self.start("sentinel", str(rules), "--sentinel", "--port", str(sentinel_port))
        self.sentinel = probe(f"redis://127.0.0.1:{sentinel_port}")
        eventually(self._replica_is_known)

    def fail_over(self) -> bool:
        """Has the replica made the master while the master lives; false while Sentinel does not know it well enough."""
        try:
            return bool(self.sentinel.execute_command("SENTINEL", "FAILOVER", "main"))
        except RedisError:
            return False

    def _replica_is_known(self) -> bool:
        try:
            return self.sentinel.sentinel_masters()["main"]["num-slaves"] == 1
        except (RedisError, KeyError):
            assert self._processes["sentinel"].poll() is None, "the sentinel ended"
            return False

    def __exit__(self, *_: object) -> None:
        for client in ("first", "second", "sentinel"):
            if hasattr(self, client):
                getattr(self, client).close()
        super().__exit__()


def answer(redis: Redis, name: str) -> str | None:
    try:
        return redis.info("replication").get(name)
    except RedisError:
        return None


def server_versions() -> dict[str, Path]:
    """One server of each version: up to 6.2 a script says otherwise that it met a replica."""
    found: dict[str, Path] = {}
    for path in server_candidates():
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        found.setdefault(shown.partition(" sha=")[0].rpartition("v=")[2], path)
    return found
