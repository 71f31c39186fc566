"""The examples of the how-to in Python and JavaScript do what it says, against a running service."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from riskline.shared.webhooks.signing import Signer, new_secret
from tests.integration.conftest import write_stump
from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually
from tests.integration.servers import free_ports

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "call-the-api.md"
OLDEST_NODE = 18

AT_ONCE, QUEUED, ASYNC, FEED, RECEIVER = range(5)


def examples(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    data = tmp_path_factory.mktemp("up")
    write_stump(data / "models")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RISKLINE_", "REDIS_URL"))}
    with RunningUp(data, environment=environment) as running:
        yield running


def run(up: RunningUp, command: list[str], example: str, directory: Path) -> str:
    file = directory / "example.mjs"
    file.write_text(example.replace(":8000", f":{up.state['port']}"))
    done = subprocess.run(
        [*command, str(file)], cwd=directory, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (AT_ONCE, r"APPROVE 0\.1\n"),
        (QUEUED, r"scored Decision\(.*'APPROVE'.*\)\n4999 accepted; refused: \[\(0, '/amount: .*'\)\]\n"),
        (ASYNC, r"APPROVE \['amount 42.50.*\]\n"),
    ],
    ids=["at once", "queued", "asyncio"],
)
def test_the_example_in_python_says_what_became_of_its_transaction(
    up: RunningUp, tmp_path: Path, number: int, said: str
) -> None:
    assert re.fullmatch(said, run(up, [sys.executable], examples(HOW_TO, "python")[number], tmp_path))


def test_the_example_that_reads_the_feed_goes_on_where_it_was(up: RunningUp, tmp_path: Path) -> None:
    at_once, feed = (examples(HOW_TO, "python")[number] for number in (AT_ONCE, FEED))
    run(up, [sys.executable], at_once, tmp_path)

    eventually(lambda: "order-3 APPROVE" in run(up, [sys.executable], feed, tmp_path))

    run(up, [sys.executable], at_once.replace("order-3", "order-3-later"), tmp_path)
    assert eventually(lambda: run(up, [sys.executable], feed, tmp_path)) == "order-3-later APPROVE\n"


def test_the_receiver_takes_what_either_secret_signed(tmp_path: Path) -> None:
    old, new = new_secret(), new_secret()
    (port,) = free_ports(1)
    decision = {"transaction_id": "tx-1", "fraud_probability": 0.9, "action": "DECLINE", "model_version": "v"}
    time = "2026-11-24T06:46:44.903Z"
    state = {"transaction_id": "tx-1", "status": "scored", "submitted_at": time}
    data = {**state, "decision": {**decision, "scored_at": time}}
    body = json.dumps({"type": "transaction.scored", "timestamp": time, "data": data}).encode()
    environment = {**os.environ, "WEBHOOK_SECRETS": f"{new},{old}", "PORT": str(port)}
    command = [sys.executable, "-c", examples(HOW_TO, "python")[RECEIVER]]

    def status(secret: str) -> int | None:
        headers = Signer([secret]).headers("msg_1", sent_at=datetime.now(UTC), body=body)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310  # our own
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return None

    receiver = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert eventually(lambda: status(old)) == 204
        assert status(new) == 204
        assert status(new_secret()) == 401
    finally:
        receiver.kill()
        said, _ = receiver.communicate()
    assert said.splitlines()[:2] == ["msg_1 transaction.scored DECLINE"] * 2


def test_the_example_of_the_readme_runs(up: RunningUp, tmp_path: Path) -> None:
    (example,) = [each for each in examples(ROOT / "README.md", "python") if "riskline_client" in each]

    assert run(up, [sys.executable], example, tmp_path) == "APPROVE\n"


@pytest.fixture
def node() -> str:
    path = shutil.which("node")
    if path is None:
        pytest.skip("the example in JavaScript is not tried: there is no node")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"the example in JavaScript is not tried: node is {version.strip()}, not {OLDEST_NODE} or later")
    return path


def test_the_example_in_javascript_decides_queues_and_shows_what_is_wrong(
    up: RunningUp, node: str, tmp_path: Path
) -> None:
    (example,) = examples(HOW_TO, "javascript")

    said = run(up, [node], example, tmp_path)

    assert said.startswith("APPROVE 0.1\nscored APPROVE\n")
    assert "pointer: '/amount'" in said


@pytest.mark.slow
def test_the_example_in_javascript_comes_through_a_restart(up: RunningUp, node: str, tmp_path: Path) -> None:
    (example,) = examples(HOW_TO, "javascript")
    patient = example.replace("seconds = 2", "seconds = 25")
    assert patient != example
    up.kill("API")

    assert run(up, [node], patient, tmp_path).startswith("APPROVE 0.1\nscored APPROVE\n")
