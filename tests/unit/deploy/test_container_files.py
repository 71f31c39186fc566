"""The Dockerfiles and the compose file say what they must, whether or not there is a Docker to run them."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from riskline.ingest.lifespan import FINISH_SECONDS
from riskline.ingest.main import SHUTDOWN_SECONDS
from riskline.shared.settings import Settings, load_settings, variable_name
from tests.support.api_memory import largest_api_bytes

ROOT = Path(__file__).parents[3]
DOCKERFILES = ("Dockerfile.api", "Dockerfile.worker")

OF_THE_IMAGE = {
    "REDIS_URL",
    "RISKLINE_API_KEY",
    "RISKLINE_ALIVE_FILE",
    "RISKLINE_DATA",
    "RISKLINE_HOST",
    "RISKLINE_MODELS",
    "RISKLINE_PORT",
}
"""Where things are in a container: the compose file and the images say so, not who starts them. And whose key a
command calls a service with, which no service is to know."""

OF_OTHERS = {"prometheus", "grafana"}

VARIABLE = re.compile(r"\$\{(\w+)")


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def ours() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose()["services"].items() if name not in OF_OTHERS}


def common_part(dockerfile: str) -> str:
    text = (ROOT / dockerfile).read_text()
    return text.split("# ---- the same in", 1)[1].partition("\n")[2].partition("# ---- to here")[0]


def test_the_stages_that_both_images_share_are_the_same_to_the_byte_so_that_they_are_built_once() -> None:
    api, worker = map(common_part, DOCKERFILES)

    assert api == worker
    assert api.count("FROM ") == 3


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_packages_are_installed_before_the_code_comes_so_that_a_change_of_code_does_not_install_them_again(
    dockerfile: str,
) -> None:
    packages, code, *_ = re.split(r"^FROM ", common_part(dockerfile), flags=re.MULTILINE)[1:]

    assert "--require-hashes -r requirements.txt" in packages
    assert re.findall(r"^COPY (.*)", packages, re.MULTILINE) == ["${REQUIREMENTS} requirements.txt"]
    assert "COPY shared shared" in code


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_runs_is_started_without_a_shell_and_not_as_root(dockerfile: str) -> None:
    text = (ROOT / dockerfile).read_text()

    assert all(command.startswith("[") for command in re.findall(r"^\s*(?:CMD|ENTRYPOINT) (.*)", text, re.MULTILINE))
    assert re.findall(r"^USER (.*)", text, re.MULTILINE) == ["10001:10001"]
    assert "ARG PYTHON_IMAGE=" in text


AS_FIRST_PROCESS = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")

STOPPED_BEFORE_IT_SERVES = """
import os, signal, sys

class Stopping:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            assert os.getpid() == 1
            os.kill(1, signal.SIGTERM)

sys.meta_path.insert(0, Stopping())
import riskline.cli.main
"""
"""It is told to stop at its first import of weight."""


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*AS_FIRST_PROCESS, "true"], capture_output=True, check=False).returncode != 0,
    reason="no process may be the first of a namespace of its own here",
)
def test_the_first_process_of_a_container_heeds_a_stop_before_it_serves() -> None:
    """The kernel gives it no signal for which it has no handler: it was killed at the end of Docker's patience."""
    ended = subprocess.run([*AS_FIRST_PROCESS, sys.executable, "-c", STOPPED_BEFORE_IT_SERVES], cwd=ROOT, check=False)

    assert ended.returncode == 128 + signal.SIGTERM


def test_every_setting_that_makes_sense_in_a_container_is_passed_on_and_no_other() -> None:
    listed = [each for each in compose()["x-settings"] if not each.startswith("OTEL_")]
    passed_on = {each for each in compose()["services"]["api"]["environment"] if not each.startswith("OTEL_")}
    known = {variable_name(field) for field in Settings.model_fields}

    assert passed_on - {"REDIS_URL"} == known - OF_THE_IMAGE
    assert listed == [listed[0], *sorted(listed[1:])]


def test_a_container_gets_the_secrets_that_it_needs_and_none_has_a_default() -> None:
    secrets = {"RISKLINE_API_KEYS", "RISKLINE_API_KEYS_FILE", "RISKLINE_CALLBACK_SECRET", "RISKLINE_CALLBACK_URL"}
    secrets |= {"RISKLINE_HISTORY_SECRET"}
    given = {name: secrets & set(service.get("environment", ())) for name, service in compose()["services"].items()}

    assert {name: each for name, each in given.items() if each} == {
        "api": secrets,
        "callbacks": {"RISKLINE_CALLBACK_SECRET"},
    }
    text = (ROOT / "docker-compose.yml").read_text()
    assert set(re.findall(r"\$\{REDIS_PASSWORD(:.)", text)) == {":?"}
    assert re.findall(r"\$\{\w*PASSWORD:-[^}]", text) == []


@pytest.mark.parametrize("name", sorted(set(compose()["services"])))
def test_every_service_is_hardened_and_bounded(name: str) -> None:
    service = compose()["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit", "restart", "logging"} <= service.keys()


def test_only_loopback_is_published_unless_asked_and_redis_not_at_all() -> None:
    published = {name: service.get("ports", []) for name, service in compose()["services"].items()}

    assert published["redis"] == []
    assert published["api"] == ["${RISKLINE_PUBLISH:-127.0.0.1}:${RISKLINE_PORT:-8000}:8000"]
    others = [port for name, ports in published.items() if name != "api" for port in ports]
    assert all(port.startswith("127.0.0.1:") for port in others)


def test_redis_keeps_what_it_has_acknowledged_and_wants_a_password() -> None:
    command = " ".join(compose()["services"]["redis"]["command"])

    for words in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction", "--requirepass ${REDIS"):
        assert words in command


def test_what_needs_redis_and_a_model_waits_for_them() -> None:
    for name in ("api", "worker"):
        conditions = {of: each["condition"] for of, each in ours()[name]["depends_on"].items()}
        assert conditions == {"redis": "service_healthy", "model": "service_completed_successfully"}
    assert all("profiles" not in service for service in ours().values())


def test_the_example_of_an_env_file_names_only_what_is_read() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    read = {*VARIABLE.findall(text), *compose()["services"]["api"]["environment"]}
    shown = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert shown <= read
    assert {"REDIS_PASSWORD", "RISKLINE_AUTH", "RISKLINE_PUBLISH", "RISKLINE_CALLBACK_SECRET"} <= shown


def test_what_holds_secrets_is_neither_kept_by_git_nor_sent_to_docker() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not [line for line in ignored if line.startswith("!.")]


def test_the_api_gets_the_memory_that_its_connections_may_take_and_the_time_that_it_takes_to_stop() -> None:
    api = compose()["services"]["api"]
    [megabytes] = re.fullmatch(r"\$\{RISKLINE_API_MEMORY:-(\d+)m\}", api["mem_limit"]).groups()
    settings = load_settings()

    assert int(megabytes) * 1024**2 >= largest_api_bytes(settings)
    assert float(api["stop_grace_period"].removesuffix("s")) >= settings.stop_delay + SHUTDOWN_SECONDS + FINISH_SECONDS
