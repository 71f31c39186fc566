"""A process may be killed at any of its Redis commands: nothing is lost, decided twice, or in the way afterwards."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.running import OwnRedis

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("operation", "least"),
    [
        *(("submit", 45), ("record", 15), ("drain", 45), ("deliver", 20)),
        pytest.param("job", 180, marks=pytest.mark.slow),
    ],
)
def test_whatever_the_command_it_is_killed_at_nothing_is_lost_or_decided_twice(
    operation: str, least: int, shared_redis: OwnRedis
) -> None:
    command = [sys.executable, "-m", "tests.integration.kill_points", operation, shared_redis.url]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    points: list[dict[str, Any]] = [json.loads(line) for line in run.stdout.splitlines()]
    bad = [point for point in points if point["problems"] or point["ended"] not in {0, -signal.SIGKILL}]
    assert bad == [], run.stderr
    assert sum(point["ended"] == -signal.SIGKILL for point in points) >= least
