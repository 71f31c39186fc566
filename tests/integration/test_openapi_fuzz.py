"""The API answers as its OpenAPI document says, whatever requests can be made of the document.

In `make test-slow` the requests are the same each time. `make fuzz` makes many more, others with each seed.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.running import RunningUp, riskline

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]

CASES = int(os.environ.get("OPENAPI_FUZZ_CASES", "0"))
"""How many requests there have to be at least; 0: so many as are made in a minute, always the same."""

SEED = os.environ.get("OPENAPI_FUZZ_SEED", "1")

HERE = Path(__file__).parent

FEW = 10
"""Examples for each operation and phase where the requests are always the same."""

WITH_A_KEY, WITHOUT_ONE = "with a key", "without one"

SHARED_BY = {WITH_A_KEY: 5, WITHOUT_ONE: 10}
"""Over how many operations the requests are spread at the least: of the rest there are few different ones to make."""

CONFIGURATIONS = {WITH_A_KEY: "schemathesis.toml", WITHOUT_ONE: "schemathesis_without_key.toml"}
"""All checks are on, as they are where nothing is said; the files have the exceptions, each with its reason."""


@pytest.mark.parametrize("caller", [WITH_A_KEY, WITHOUT_ONE])
def test_requests_made_from_the_document_are_answered_as_it_says(
    tmp_path: Path, demo_environment: dict[str, str], caller: str
) -> None:
    data = tmp_path / "data"
    key = new_key(data, demo_environment)
    secret = riskline("keys", "new", "--webhook", "--json", environment=demo_environment)
    settings = {"RISKLINE_CALLBACK_SECRET": json.loads(secret.stdout)["secret"], "RISKLINE_LOG_LEVEL": "WARNING"}
    # nobody waits for half a minute here
    settings["RISKLINE_MAX_WAITS"] = "0"
    with RunningUp(data, environment={**demo_environment, **settings}) as up:
        command = [
            Path(sys.executable).with_name("schemathesis"),
            "--config-file",
            HERE / CONFIGURATIONS[caller],
            "run",
        ]
        command += [f"http://127.0.0.1:{up.state['port']}/openapi.json", "--no-color"]
        command += ["--seed", SEED, "--request-timeout", "15"]
        if CASES:
            command += ["--max-examples", str(CASES // SHARED_BY[caller]), "--generation-database", "none"]
        else:
            command += ["--max-examples", str(FEW), "--generation-deterministic"]
        if caller == WITH_A_KEY:
            command += ["--header", f"Authorization: Bearer {key}"]
        hooks = {"SCHEMATHESIS_HOOKS": "tests.integration.openapi_hooks", "PYTHONPATH": str(HERE.parents[1])}
        done = subprocess.run(
            command,
            env={**os.environ, **hooks},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=1700,
            check=False,
        )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    made = re.search(r"(\d[\d,]*) generated", done.stdout)
    assert made is not None, done.stdout[-2000:]
    print(f"{caller}: {made[1]} requests, seed {SEED}")
    assert int(made[1].replace(",", "")) >= CASES
    assert not up.said("Traceback")


def new_key(data: Path, environment: dict[str, str]) -> str:
    made = riskline(
        "keys", "new", "--name", "f", "--scope", "admin", "--data", str(data), "--json", environment=environment
    )
    return str(json.loads(made.stdout)["key"])
