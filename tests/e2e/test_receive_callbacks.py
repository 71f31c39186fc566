"""The receivers of the how-to take what Riskline signs, and refuse what was changed, is of others or is old."""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from riskline.shared.webhooks.signing import Signer, new_secret
from tests.integration.running import PATIENCE_SECONDS, eventually
from tests.integration.servers import free_ports

pytestmark = pytest.mark.e2e

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "receive-callbacks.md"

NODE_LIBRARY = "standardwebhooks@1.1.1"

SECRET, NEXT_SECRET = new_secret(), new_secret()

BODY = json.dumps(
    {"type": "transaction.scored", "data": {"transaction_id": "tx-1", "merchant": "Café"}}, ensure_ascii=False
).encode()


def receiver(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    return found


class Running:
    def __init__(self, port: int, log: Path) -> None:
        self._port = port
        self._log = log

    def post(self, body: bytes = BODY, headers: Mapping[str, str] | None = None) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)) as connection:
            connection.request("POST", "/", body, dict(headers or {}))
            return connection.getresponse().status

    def answers(self) -> bool:
        try:
            return self.post() == 401
        except OSError:
            return False

    def said(self) -> str:
        return self._log.read_text()


@contextmanager
def running(command: list[str | Path], directory: Path) -> Iterator[Running]:
    (port,) = free_ports(1)
    environment = {**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": str(port)}
    log = directory / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=sink, stderr=sink)
    try:
        receiver = Running(port, log)
        eventually(lambda: receiver.answers() or process.poll() is not None)
        assert process.poll() is None, receiver.said()
        yield receiver
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def in_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("python")
    (directory / "receiver.py").write_text(receiver("python"))
    with running([sys.executable, "receiver.py"], directory) as process:
        yield process


@pytest.fixture(scope="module")
def in_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the receiver in JavaScript is not tried: there is no node, or no npm")
    directory = tmp_path_factory.mktemp("node")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", NODE_LIBRARY]
    try:
        done = subprocess.run(install, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the receiver in JavaScript is not tried: npm gave no {NODE_LIBRARY} in 60 s")
    if done.returncode != 0:
        first = next(iter(done.stderr.splitlines()), "it says nothing")
        pytest.skip(f"the receiver in JavaScript is not tried: npm gave no {NODE_LIBRARY}: {first}")
    (directory / "receiver.mjs").write_text(receiver("javascript"))
    with running([node, "receiver.mjs"], directory) as process:
        yield process


@pytest.fixture(params=["in_python", "in_node"])
def receiving(request: pytest.FixtureRequest) -> Running:
    process: Running = request.getfixturevalue(request.param)
    return process


def signed(
    *secrets: str, body: bytes = BODY, message_id: str = "msg_1", age: float = 0.0, **replaced: str
) -> dict[str, str]:
    sent_at = datetime.now(UTC) - timedelta(seconds=age)
    headers = Signer(secrets or (SECRET,)).headers(message_id, sent_at=sent_at, body=body)
    return {**headers, **{name.replace("_", "-"): value for name, value in replaced.items()}}


def test_what_riskline_signs_is_taken(receiving: Running) -> None:
    assert receiving.post(headers=signed()) == 204


def test_what_two_secrets_sign_is_taken_by_a_receiver_that_has_either(receiving: Running) -> None:
    assert receiving.post(headers=signed(NEXT_SECRET, SECRET)) == 204
    assert receiving.post(headers=signed(SECRET, NEXT_SECRET)) == 204


def test_a_second_delivery_is_taken_and_known_as_such(receiving: Running) -> None:
    message_id = "msg_twice"

    for _ in range(2):
        assert receiving.post(headers=signed(message_id=message_id)) == 204

    eventually(lambda: "transaction.scored tx-1 again" in receiving.said())
    assert "transaction.scored tx-1 new" in receiving.said()


def test_every_type_of_event_is_taken(receiving: Running) -> None:
    for event in (
        {"type": "transaction.failed", "data": {"transaction_id": "tx-2", "decision": None, "error": "amount"}},
        {"type": "riskline.test", "data": {"message": "hello"}},
        {"type": "of.tomorrow", "data": {}},
    ):
        body = json.dumps(event).encode()
        assert receiving.post(body, signed(body=body)) == 204


def test_a_body_of_which_any_byte_was_changed_is_refused(receiving: Running) -> None:
    headers = signed()
    for position in range(len(BODY)):
        changed = bytearray(BODY)
        changed[position] ^= 1
        assert receiving.post(bytes(changed), headers) == 401
    for other in (BODY[:-1], BODY + b"\n", b"", b"\xff"):
        assert receiving.post(other, headers) == 401


# made when the test runs: by then those of the collection may be too old
REFUSED: dict[str, Callable[[], dict[str, str]]] = {
    "no headers": dict,
    "another id": lambda: signed(webhook_id="msg_2"),
    "no id": lambda: signed(webhook_id=""),
    "another timestamp": lambda: signed(webhook_timestamp=str(int(datetime.now(UTC).timestamp()) - 1)),
    "no timestamp": lambda: signed(webhook_timestamp="soon"),
    "another signature": lambda: signed(webhook_signature="v1,AAAA"),
    "no signature": lambda: signed(webhook_signature="v1"),
    "an empty signature": lambda: signed(webhook_signature="v1,"),
    "a signature in three parts": lambda: signed(webhook_signature="v1,a,b"),
    "a signature that is not base64": lambda: signed(webhook_signature="v1,!"),
    "another version": lambda: signed(webhook_signature=signed()["webhook-signature"].replace("v1,", "v1a,")),
    "another secret": lambda: signed(new_secret()),
    "too old": lambda: signed(age=400),
    "too new": lambda: signed(age=-400),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_signed_or_of_another_time_is_refused(receiving: Running, what: str) -> None:
    assert receiving.post(headers=REFUSED[what]()) == 401
    assert receiving.post(headers=signed()) == 204
