"""The API answers as its OpenAPI document says, whatever requests can be made of the document."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.running import RunningUp, riskline

OPENAPI_FUZZ = "OPENAPI_FUZZ"
"""The variable that asks for it: what it makes of the document, and how much in its time, differs from run to run."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(OPENAPI_FUZZ not in os.environ, reason="`make fuzz` runs it"),
]

HERE = Path(__file__).parent
EXAMPLES = 10
"""For each operation and phase; what the phases make of them is bounded by time."""

RUN_SECONDS = 25

NOT_CHECKED = "allow_header_conformance"
"""`batch` may be an id, too, so /transactions/batch takes what the path of any other id takes."""


def test_requests_made_from_the_document_are_answered_as_it_says(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    data = str(tmp_path / "data")
    made = riskline(
        "keys", "new", "--name", "f", "--scope", "admin", "--data", data, "--json", environment=demo_environment
    )
    secret = riskline("keys", "new", "--webhook", "--json", environment=demo_environment)
    settings = {"RISKLINE_CALLBACK_SECRET": json.loads(secret.stdout)["secret"], "RISKLINE_LOG_LEVEL": "WARNING"}
    # nobody waits for half a minute here
    settings["RISKLINE_MAX_WAITS"] = "0"
    with RunningUp(tmp_path / "data", environment={**demo_environment, **settings}) as up:
        command = [Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml", "run"]
        command += [
            f"http://127.0.0.1:{up.state['port']}/openapi.json",
            "--checks",
            "all",
            "--exclude-checks",
            NOT_CHECKED,
            "--seed",
            "1",
            "--no-color",
        ]
        command += ["--header", f"Authorization: Bearer {json.loads(made.stdout)['key']}"]
        command += ["--max-examples", str(EXAMPLES), "--max-time", str(RUN_SECONDS), "--request-timeout", "15"]
        hooks = {"SCHEMATHESIS_HOOKS": "tests.integration.openapi_hooks", "PYTHONPATH": str(HERE.parents[1])}
        done = subprocess.run(
            command, env={**os.environ, **hooks}, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
        )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert not up.said("Traceback")
