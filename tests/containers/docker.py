"""Docker's command line, with one line for what fails."""

import os
import shutil
import subprocess
from collections.abc import Mapping

COMMAND_SECONDS = 120.0
BUILD_SECONDS = 420.0


def run(
    *words: str, environment: Mapping[str, str] | None = None, seconds: float = COMMAND_SECONDS, check: bool = True
) -> str:
    """The output of a command; fails with its last lines."""
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    if check:
        assert done.returncode == 0, f"{' '.join(words)}: exit {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}"
    return done.stdout


def docker(*words: str, seconds: float = COMMAND_SECONDS) -> str:
    return run("docker", *words, seconds=seconds).strip()


def why_not() -> str | None:
    """Why nothing can be run in containers here; None where it can."""
    client = shutil.which("docker")
    if client is None:
        return "docker is not installed"
    asked = subprocess.run([client, "info"], capture_output=True, text=True, timeout=30, check=False)
    if asked.returncode != 0:
        return f"no Docker daemon answers: {asked.stderr.strip().splitlines()[-1] if asked.stderr else 'docker info'}"
    return None if compose_command() else "neither `docker compose` nor `docker-compose` is installed"


def compose_command() -> list[str]:
    """Compose, of whichever generation is here; COMPOSE names another."""
    if named := os.environ.get("COMPOSE"):
        return named.split()
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]):
            asked = subprocess.run([*words, "version"], capture_output=True, timeout=30, check=False)
            if asked.returncode == 0:
                return words
    return []
