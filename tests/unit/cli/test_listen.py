"""The receiver for a developer's machine takes what is signed, refuses what is not, and shows both."""

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import typer
from typer.testing import CliRunner

from riskline.cli.operate.listen import MOST_BODY_BYTES, CallbackListener, listen, receive
from riskline.cli.operate.verify import read_request
from riskline.shared.errors import InstallationError, SettingsError
from riskline.shared.webhooks.signing import Signer, check, new_secret
from tests.integration.running import PATIENCE_SECONDS, eventually
from tests.integration.servers import free_ports

OLD, NEW = new_secret(), new_secret()
DECISION = {"transaction_id": "tx-1", "fraud_probability": 0.92, "action": "DECLINE"}


def event(kind: str = "transaction.scored", **data: object) -> bytes:
    given = {"transaction_id": "tx-1", "status": "scored", "decision": DECISION, **data}
    return json.dumps({"type": kind, "timestamp": "2026-11-24T03:15:07.123Z", "data": given}).encode()


def headers_of(body: bytes, *, secret: str = OLD, age: float = 0.0) -> dict[str, str]:
    return Signer([secret]).headers("msg_1", sent_at=datetime.now(UTC) - timedelta(seconds=age), body=body)


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("POST", "/", body, headers)
        return connection.getresponse().status


@pytest.fixture
def listener() -> Iterator[CallbackListener]:
    with CallbackListener([NEW, OLD], host="127.0.0.1", port=0) as listener:
        yield listener


def shown(listener: CallbackListener, capsys: pytest.CaptureFixture[str], *, verbose: bool = False) -> str:
    receive(listener, count=1, verbose=verbose)
    return capsys.readouterr().out


def test_a_callback_is_answered_204_and_shown_with_its_secret(
    listener: CallbackListener, capsys: pytest.CaptureFixture[str]
) -> None:
    body = event()

    assert post(listener.url, body, headers_of(body)) == 204

    line = shown(listener, capsys)
    assert line.endswith("  transaction.scored  tx-1  DECLINE  msg_1  verified by secret 2  answered 204\n")
    assert datetime.now(UTC) - datetime.fromisoformat(line.split()[0]) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (event("transaction.failed", decision=None, error="amount: too large"), "amount: too large"),
        (event("riskline.test", message="hello"), "riskline.test"),
        (b"[]", "-  -  -  msg_1"),
        (b"no json", "-  -  -  msg_1"),
        (b'{"type":"x","data":{"transaction_id":7,"decision":[]}}', "x  -  -  msg_1"),
        (b"", "-  -  -  msg_1"),
    ],
)
def test_whatever_is_signed_is_shown(
    listener: CallbackListener, capsys: pytest.CaptureFixture[str], body: bytes, told: str
) -> None:
    assert post(listener.url, body, headers_of(body)) == 204
    assert told in shown(listener, capsys, verbose=True)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (lambda: headers_of(event(), secret=new_secret()), "no signature is of any of the 2 secrets"),
        (lambda: headers_of(event() + b" "), "the body was changed"),
        (lambda: headers_of(event(), age=400), "sent 0:06:4"),
        (dict, "webhook-id, webhook-timestamp, webhook-signature are missing"),
    ],
)
def test_what_is_not_signed_or_too_old_is_answered_401_and_shown(
    listener: CallbackListener, capsys: pytest.CaptureFixture[str], headers: Callable[[], dict[str, str]], why: str
) -> None:
    assert post(listener.url, event(), headers()) == 401

    line = shown(listener, capsys)
    assert "NOT VERIFIED: " in line
    assert why in line
    assert line.endswith("answered 401\n")


@pytest.mark.parametrize(
    ("length", "status"),
    [(None, 411), ("-1", 411), ("1e3", 411), (str(MOST_BODY_BYTES + 1), 413), ("9" * 18, 413), ("100", 400)],
)
def test_a_body_that_is_not_whole_or_too_large_is_not_taken(
    listener: CallbackListener, capsys: pytest.CaptureFixture[str], length: str | None, status: int
) -> None:
    parts = urlsplit(listener.url)
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_SECONDS)) as connection:
        connection.putrequest("POST", "/")
        if length is not None:
            connection.putheader("Content-Length", length)
        connection.endheaders()
        connection.sock.shutdown(socket.SHUT_WR)

        assert connection.getresponse().status == status

    assert f"answered {status}" in shown(listener, capsys)


def test_the_largest_body_is_taken(listener: CallbackListener) -> None:
    body = b"x" * MOST_BODY_BYTES

    assert post(listener.url, body, headers_of(body)) == 204


def test_the_text_of_a_stranger_does_not_command_the_terminal(
    listener: CallbackListener, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "\x1b[2J\r\n\u009b\u202e"
    body = json.dumps({"type": bad, "data": {"transaction_id": bad * 1000}}, ensure_ascii=False).encode()
    headers = {**headers_of(body), "webhook-id": "a\x1b[2Jb"}

    for _ in range(2):
        post(listener.url, body, headers)
        post(listener.url, b"\x1b\xff\x9b", headers)
    receive(listener, count=2)
    assert max(len(line) for line in capsys.readouterr().out.split("\n")) < 1000
    receive(listener, count=2, verbose=True)

    out = capsys.readouterr().out
    assert all(each.isprintable() for line in out.split("\n") for each in line)


def test_a_body_is_shown_whole_where_one_wants_it(
    listener: CallbackListener, capsys: pytest.CaptureFixture[str]
) -> None:
    body = event()
    post(listener.url, body, headers_of(body))

    _, pretty = shown(listener, capsys, verbose=True).split("\n", 1)

    assert json.loads(pretty) == json.loads(body)
    assert pretty.count("\n") > 5


def test_a_body_nested_too_deeply_is_shown_as_it_is(
    listener: CallbackListener, capsys: pytest.CaptureFixture[str]
) -> None:
    body = b"[" * 900 + b"]" * 900
    post(listener.url, body, headers_of(body))

    assert body.decode() in shown(listener, capsys, verbose=True)


def test_a_broken_receiver_is_played(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    body, waited = event(), list[float]()
    monkeypatch.setattr("riskline.cli.operate.listen.time", SimpleNamespace(sleep=waited.append))
    with CallbackListener([OLD], host="127.0.0.1", port=0, status=503, delay_seconds=0.3) as listener:
        assert post(listener.url, body, headers_of(body)) == 503
        assert post(listener.url, body, {}) == 401
        assert receive(listener, count=2) == 1

    assert waited == [0.3, 0.3]
    assert "answered 503" in capsys.readouterr().out


def test_a_sender_that_does_not_wait_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    body = event()
    with CallbackListener([OLD], host="127.0.0.1", port=0, delay_seconds=0.3) as listener:
        parts = urlsplit(listener.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_SECONDS)
        connection.request("POST", "/", body, headers_of(body))
        # closed so that the answer meets a reset
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        assert receive(listener, count=1) == 0
        time.sleep(0.1)

    assert capsys.readouterr().err == ""


def test_it_does_not_end_before_the_last_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    body = event()
    statuses, waited = list[int](), list[float]()

    def wait(seconds: float) -> None:
        time.sleep(seconds)
        waited.append(seconds)

    monkeypatch.setattr("riskline.cli.operate.listen.time", SimpleNamespace(sleep=wait))
    with CallbackListener([OLD], host="127.0.0.1", port=0, delay_seconds=0.3) as listener:
        sender = threading.Thread(target=lambda: statuses.append(post(listener.url, body, headers_of(body))))
        sender.start()
        assert receive(listener, count=1) == 0
        assert waited == [0.3]
        sender.join()

    assert statuses == [204]


def test_what_is_saved_can_be_verified(listener: CallbackListener, tmp_path: Path) -> None:
    good, bad = event(), event(message="café\r\n\r\n")
    post(listener.url, good, {**headers_of(good), "X-Again": "1"})
    post(listener.url, bad, headers_of(good))

    assert receive(listener, count=2, save=tmp_path / "new" / "kept") == 1

    kept = sorted((tmp_path / "new" / "kept").iterdir())
    assert [path.suffix for path in kept] == [".http", ".http"]
    found = [read_request(path.read_bytes()) for path in kept]
    assert [body for _, body in found] == [good, bad]
    assert [check([OLD], headers, body, now=datetime.now(UTC)).secret for headers, body in found] == [1, None]
    assert found[0][0]["x-again"] == "1"
    assert kept[0].read_bytes().startswith(b"POST / HTTP/1.1\r\n")


def test_a_thousand_at_once_are_all_answered(listener: CallbackListener) -> None:
    body = event()
    headers = headers_of(body)
    statuses = list[int]()

    def send() -> None:
        statuses.extend(post(listener.url, body, headers) for _ in range(100))

    senders = [threading.Thread(target=send) for _ in range(10)]
    for each in senders:
        each.start()
    assert receive(listener, count=1000) == 0
    for each in senders:
        each.join()
    assert statuses == [204] * 1000


def test_a_port_in_use_is_an_error_that_says_so(listener: CallbackListener) -> None:
    port = urlsplit(listener.url).port

    with pytest.raises(InstallationError, match=rf"127\.0\.0\.1:{port} cannot be listened on: .*--port"):
        CallbackListener([OLD], host="127.0.0.1", port=port)


def test_an_address_of_ipv6_is_listened_on() -> None:
    body = event()
    with CallbackListener([OLD], host="::1", port=0) as listener:
        assert listener.url.startswith("http://[::1]:")
        assert post(listener.url, body, headers_of(body)) == 204


@pytest.mark.parametrize(("secret", "code"), [(OLD, 0), (NEW, 1)], ids=["verified", "not verified"])
def test_the_command_says_what_to_set_and_ends_after_so_many(
    monkeypatch: pytest.MonkeyPatch, secret: str, code: int
) -> None:
    monkeypatch.setenv("RISKLINE_CALLBACK_SECRET", OLD)
    app = typer.Typer()
    app.command()(listen)
    (port,) = free_ports(1)
    body = event()

    def sent() -> int:
        try:
            return post(f"http://127.0.0.1:{port}/", body, headers_of(body, secret=secret))
        except ConnectionRefusedError:
            return 0

    sender = threading.Thread(target=eventually, args=(sent,))
    sender.start()
    done = CliRunner().invoke(app, ["--port", str(port), "--count", "1"])
    sender.join()

    assert done.exit_code == code, done.output
    assert f"as callback_url give http://127.0.0.1:{port}/" in done.stderr
    assert "RISKLINE_CALLBACK_ALLOW=127.0.0.1/32" in done.stderr
    assert "transaction.scored  tx-1" in done.stdout


def test_the_command_without_a_secret_says_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RISKLINE_CALLBACK_SECRET", raising=False)

    with pytest.raises(SettingsError, match=r"RISKLINE_CALLBACK_SECRET is not set.*riskline keys new --webhook"):
        listen(count=1)
