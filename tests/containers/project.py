"""One compose project of the test's own: on a free port, with its own volumes, gone when left."""

import json
import secrets
from pathlib import Path
from typing import Any, Self

import httpx

from tests.containers.docker import compose_command, docker, run
from tests.containers.images import ROOT, TAG
from tests.integration.running import eventually
from tests.integration.servers import free_ports

START_SECONDS = 150.0
"""Of which training the demo model takes most."""

ANSWER_SECONDS = 10.0


class Project:
    """The service as `docker compose up` runs it, with a key."""

    def __init__(self, directory: Path) -> None:
        self.name = f"riskline-e2e-{secrets.token_hex(4)}"
        self.port = free_ports(1)[0]
        self.password = secrets.token_hex(12)
        # what is set where the tests run does not come in: a file is given in place of .env
        env_file = directory / "env"
        settings = {"REDIS_PASSWORD": self.password, "RISKLINE_PORT": self.port, "RISKLINE_TAG": TAG}
        env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._compose = [*compose_command(), "--env-file", str(env_file), "--project-name", self.name]
        self._compose += ["--file", str(ROOT / "docker-compose.yml")]
        self._key = ""

    def __enter__(self) -> Self:
        try:
            new_key = ["riskline", "keys", "new", "--name", "e2e", "--scope", "admin"]
            self._key = self.compose("run", "--rm", "--no-deps", "-T", "api", *new_key).split()[-1]
            self.compose("up", "--detach", "--no-build", seconds=START_SECONDS)
            eventually(self.is_ready, seconds=START_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)

    def compose(self, *words: str, seconds: float = 120.0, check: bool = True) -> str:
        return run(*self._compose, *words, seconds=seconds, check=check)

    def client(self) -> httpx.Client:
        """Calls the API with the key."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self._key}"},
            timeout=ANSWER_SECONDS,
            trust_env=False,
        )

    def containers(self, service: str) -> list[str]:
        """The running containers of a service."""
        return self.compose("ps", "--quiet", service).split()

    def running(self, service: str) -> list[str]:
        """Those of them that run."""
        return [each for each in self.containers(service) if self.inspect(each)["State"]["Running"]]

    def inspect(self, container: str) -> dict[str, Any]:
        return dict(json.loads(docker("inspect", container))[0])

    def scale(self, workers: int) -> None:
        """Changes the number of workers, and waits until so many say that they live."""
        self.compose(
            "up", "--detach", "--no-build", "--no-deps", "--no-recreate", "--scale", f"worker={workers}", "worker"
        )
        eventually(lambda: self.readiness().get("workers") == workers, seconds=60)

    def is_ready(self) -> bool:
        try:
            with self.client() as http:
                return http.get("/health/ready").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def readiness(self) -> dict[str, Any]:
        """The queue as /health/ready shows it; empty where it does not."""
        try:
            with self.client() as http:
                return http.get("/health/ready").json().get("queue") or {}
        except httpx.HTTPError:
            return {}

    def redis_cli(self, *words: str) -> str:
        return self.compose("exec", "-T", "redis", "redis-cli", *words, check=False)

    def undecided(self) -> int:
        """How many have no decision at this moment; /health/ready tells of the last second."""
        return int(self.audit()[1]["counts"]["undecided"])

    def audit(self) -> tuple[bool, dict[str, Any]]:
        """Whether `riskline doctor --audit` is content, and what it says."""
        said = json.loads(self.compose("exec", "-T", "api", "riskline", "doctor", "--audit", "--json", check=False))
        return said["healthy"], said
