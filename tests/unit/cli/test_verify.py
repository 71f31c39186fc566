"""A secret is made for callbacks, and a callback that was kept is verified with it."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from riskline.cli.operate.api_keys import new
from riskline.cli.operate.verify import read_request, verify
from riskline.shared.errors import InstallationError, RisklineError, SettingsError
from riskline.shared.webhooks.signing import Signer, new_secret, parse_secrets

FIRST, SECOND = new_secret(), new_secret()
BODY = '{"type":"riskline.test","data":{"message":"Café"}}'.encode()

app = typer.Typer()
app.command("verify")(verify)
keys = typer.Typer()
keys.command("new")(new)
app.add_typer(keys, name="keys")


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISKLINE_CALLBACK_SECRET", f"{FIRST},{SECOND}")


def headers_of(*, secret: str = SECOND, age: float = 0.0) -> dict[str, str]:
    sent_at = datetime.now(UTC) - timedelta(seconds=age)
    return Signer([secret]).headers("msg_1", sent_at=sent_at, body=BODY)


def as_http(headers: dict[str, str], *, line: str = "POST /hooks HTTP/1.1", end: str = "\r\n") -> bytes:
    lines = [*([line] if line else []), *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return end.join(lines).encode() + BODY


def as_json(headers: dict[str, str]) -> bytes:
    return json.dumps({"headers": headers, "body": BODY.decode()}, indent=2).encode()


def spelled_otherwise(headers: dict[str, str]) -> bytes:
    content = as_http({"Host": "example.com"} | headers, line="")
    return content.replace(b"webhook-id: ", b"WEBHOOK-ID:").replace(b"webhook-timestamp: ", b"Webhook-Timestamp:  ")


@pytest.mark.parametrize(
    "form",
    [as_http, partial(as_http, end="\n"), partial(as_http, line=""), spelled_otherwise, as_json],
    ids=["http", "line feeds", "no request line", "spelled otherwise", "json"],
)
@pytest.mark.parametrize("stdin", [False, True])
def test_a_request_that_was_kept_is_verified(
    form: Callable[[dict[str, str]], bytes], stdin: bool, tmp_path: Path
) -> None:
    content = form(headers_of())
    (tmp_path / "kept").write_bytes(content)

    done = CliRunner().invoke(app, ["verify", "-" if stdin else str(tmp_path / "kept")], input=content)

    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("signed by secret 2 of 2, ")
    assert done.stdout.endswith(" s ago\n")


def told(content: bytes, *, code: int) -> str:
    done = CliRunner().invoke(app, ["verify", "-"], input=content)
    assert done.exit_code == code, done.output
    return done.stdout


def test_what_is_wrong_is_told() -> None:
    assert "no signature is of any of the 2 secrets" in told(as_http(headers_of(secret=new_secret())), code=1)
    changed = told(as_http(headers_of())[:-1] + b" ", code=1)
    assert changed.startswith("NOT VERIFIED: ")
    assert "line break" not in changed
    assert "are missing" in told(b"a: b\n\n{}", code=1)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_break_that_was_added_to_the_body_is_found(end: bytes) -> None:
    assert "it fits without the line break at the end" in told(as_http(headers_of()) + end, code=1)


def test_an_old_one_is_signed_and_a_receiver_refuses_it() -> None:
    out = told(as_http(headers_of(age=7200)), code=0)

    assert re.match(r"signed by secret 2 of 2, 2:00:\d\d ago; a receiver refuses it by now: sent 2:00:\d\d ago", out)


def test_programs_are_told_the_same() -> None:
    good = json.loads(CliRunner().invoke(app, ["verify", "-", "--json"], input=as_http(headers_of(age=7200))).stdout)
    assert good.pop("age_seconds") == pytest.approx(7200, abs=20)
    assert "2:00:" in good.pop("refusal")
    assert good == {"webhook_id": "msg_1", "secret": 2, "problem": None}

    done = CliRunner().invoke(app, ["verify", "-", "--json"], input=b"a: b\n\n")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["secret"] is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a: b",
        b"a: b\nno header\n\nbody",
        b"{",
        b"{}",
        b'{"headers":{},"body":{}}',
        b'{"headers":[],"body":""}',
        b'{"headers":{"a":1},"body":""}',
        b"\xff\xfe\n\n",
    ],
)
def test_what_is_no_request_is_an_error(content: bytes) -> None:
    with pytest.raises(RisklineError, match=r"^the request "):
        read_request(content)


def test_the_head_ends_at_the_first_blank_line_and_the_body_is_left_as_it_is() -> None:
    assert read_request(b"a: b\r\nA: c\r\n\r\n\r\n\r\nx\n\n") == ({"a": "b, c"}, b"\r\n\r\nx\n\n")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match="cannot be read: No such file"):
        verify(file=tmp_path / "none")


def test_without_a_secret_one_is_told_how_to_make_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RISKLINE_CALLBACK_SECRET", "")

    with pytest.raises(SettingsError, match="RISKLINE_CALLBACK_SECRET is not set"):
        verify(file=tmp_path / "none")


def test_a_new_secret_stands_alone_on_standard_output() -> None:
    done = CliRunner().invoke(app, ["keys", "new", "--webhook"])

    assert done.exit_code == 0, done.output
    assert parse_secrets(done.stdout.removesuffix("\n")) == (done.stdout.strip(),)
    assert "RISKLINE_CALLBACK_SECRET" in done.stderr
    assert done.stderr.count("\n") == 1

    as_json = CliRunner().invoke(app, ["keys", "new", "--webhook", "--json"])
    assert len(parse_secrets(json.loads(as_json.stdout)["secret"])) == 1


def test_a_new_secret_is_for_something() -> None:
    done = CliRunner().invoke(app, ["keys", "new"])

    assert done.exit_code == 2
    assert done.stdout == ""
    assert "an API key has a name" in done.stderr
