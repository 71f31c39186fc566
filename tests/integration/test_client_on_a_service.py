"""The client, and `riskline score --url`, against a real installation that is taken away and comes back meanwhile."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any, Self

import pytest

from riskline.cli.main import run
from riskline.shared.webhooks.signing import new_secret
from riskline_client import Client, ConnectionFailed, Event, Retries, verify_callback
from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually
from tests.support.factories import a_transaction, transaction_json

pytestmark = pytest.mark.integration

SECRET = new_secret()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, demo_environment: dict[str, str]) -> Iterator[RunningUp]:
    callbacks = {"RISKLINE_CALLBACK_SECRET": SECRET, "RISKLINE_CALLBACK_ALLOW": "127.0.0.1/32"}
    with RunningUp(tmp_path_factory.mktemp("up"), environment={**demo_environment, **callbacks}) as running:
        yield running


@pytest.fixture
def client(up: RunningUp) -> Iterator[Client]:
    with Client(url_of(up)) as client:
        yield client


def url_of(up: RunningUp) -> str:
    return f"http://127.0.0.1:{up.state['port']}"


@contextmanager
def receiver() -> Iterator[tuple[str, list[Event]]]:
    events: list[Event] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            events.append(verify_callback(body, self.headers, [new_secret(), SECRET]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", events
        server.shutdown()
        thread.join()


def test_a_submission_is_decided_called_back_and_followed_in_the_feed(client: Client) -> None:
    seen = []
    feed = client.decisions(client.page("latest").next)
    follower = Thread(target=lambda: seen.append(next(feed)))
    follower.start()

    with receiver() as (url, events):
        client.submit(transaction_json(transaction_id="called-back", amount=2000), callback_url=url)
        state = client.wait_for("called-back", PATIENCE_SECONDS)
        follower.join()
        (event,) = eventually(lambda: events)

    assert state.decision is not None
    assert (state.decision.fraud_probability, state.decision.action) == (0.9, "DECLINE")
    assert seen == [state.decision]
    assert event.state is not None
    assert event.state.decision == state.decision
    delivered = eventually(lambda: (callback := client.get("called-back").callback) and callback.attempts and callback)
    assert delivered.webhook_id == event.id


def test_a_submission_may_be_answered_with_its_decision(client: Client) -> None:
    state = client.submit(transaction_json(transaction_id="waited"), wait=20, explain=True)

    assert state.decision is not None
    assert state.decision.reasons


def test_many_rows_are_all_decided(client: Client) -> None:
    rows = [a_transaction(transaction_id=f"many-{number}") for number in range(2500)]

    assert client.submit_many(rows).accepted == 2500

    assert {client.wait_for(f"many-{number}", PATIENCE_SECONDS).status for number in (0, 1250, 2499)} == {"scored"}


def test_calls_go_on_over_a_restart_of_the_service(up: RunningUp) -> None:
    with Client(url_of(up), score_timeout=PATIENCE_SECONDS, retries=Retries(attempts=1000)) as client:
        before = client.score(transaction_json(transaction_id="before"))
        killed = up.kill("API")
        after = client.score(transaction_json(transaction_id="after"))
        state = client.wait_for("after", PATIENCE_SECONDS)

    assert killed
    assert before.model_version == after.model_version
    assert state.decision == after


def test_a_service_that_is_away_is_told_in_time(up: RunningUp) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(ConnectionFailed, match=r":1 cannot be reached"):
        client.score(transaction_json())


ROWS = 300


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.ndjson"
    rows = [a_transaction(transaction_id=f"row-{number}", amount=1 + number * 10).to_json() for number in range(ROWS)]
    path.write_bytes(b"\n".join(rows))
    return path


Score = Callable[..., tuple[int, str, list[dict[str, Any]] | None]]


@pytest.fixture
def score(
    file: Path, demo_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Score:
    """Runs `riskline score` on the file; gives the exit code, what was said, and the decisions of the output."""
    monkeypatch.setenv("RISKLINE_MODELS", demo_environment["RISKLINE_MODELS"])
    monkeypatch.delenv("RISKLINE_API_KEY", raising=False)

    def score(*words: str) -> tuple[int, str, list[dict[str, Any]] | None]:
        out = file.with_name("out")
        out.unlink(missing_ok=True)
        code = run(["score", str(file), "--out", str(out), *words])
        decisions = [json.loads(line) for line in out.read_bytes().splitlines()] if out.exists() else None
        return code, capfd.readouterr().err, decisions

    return score


def without_time(decisions: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [{**decision, "scored_at": None} for decision in decisions or ()]


@pytest.mark.parametrize("explain", [(), ("--explain",)])
def test_a_file_is_decided_there_as_it_is_here(up: RunningUp, score: Score, explain: tuple[str, ...]) -> None:
    *here, decided_here = score(*explain)
    *there, decided_there = score("--url", url_of(up), *explain)

    assert there == here
    assert there[0] == 0
    assert len(without_time(decided_there)) == ROWS
    assert without_time(decided_there) == without_time(decided_here)


def test_rows_that_are_no_transactions_are_met_there_as_they_are_here(up: RunningUp, file: Path, score: Score) -> None:
    file.write_bytes(file.read_bytes() + b"\n{}\nnot json\n")

    there = score("--url", url_of(up))
    assert there == score()
    assert (there[0], there[2]) == (1, None)
    assert "row 301" in there[1]

    code, said, decisions = score("--url", url_of(up), "--skip-bad-rows")
    assert code == 0
    assert "left out 2 rows" in said
    assert [decision["transaction_id"] for decision in decisions or ()] == [f"row-{number}" for number in range(ROWS)]


GOOD = {
    "transaction_id": "tx-1",
    "fraud_probability": 0.1,
    "action": "APPROVE",
    "model_version": "v1",
    "scored_at": "2026-11-24T03:15:07.123Z",
}
HEALTHY = {"status": "healthy", "model_loaded": True, "model_version": "v1"}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHECK_SECONDS", "PATIENCE_SECONDS"):
        monkeypatch.setattr(f"riskline.cli.files.scoring_service.{name}", PATIENCE_SECONDS)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients may leave as they like."""


class Failing:
    """A service that decides so many transactions, and answers otherwise from then on; None: it closes connections."""

    def __init__(self, answer: tuple[int, bytes] | None, *, after: int) -> None:
        self.keys: set[str | None] = set()
        keys = self.keys
        room = Semaphore(after)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(200, json.dumps(HEALTHY).encode())

            def do_POST(self) -> None:
                keys.add(self.headers["Authorization"])
                self.rfile.read(int(self.headers["Content-Length"]))
                if room.acquire(blocking=False):
                    self._answer(200, json.dumps(GOOD).encode())
                elif answer is None:
                    self.close_connection = True
                else:
                    self._answer(*answer)

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


REFUSALS: dict[str, tuple[tuple[int, bytes] | None, str]] = {
    "401": ((401, b"{}"), "it does not take this API key"),
    "403": ((403, b"{}"), "the API key may not score"),
    "429": ((429, b"{}"), "it takes no more requests for now"),
    "503": ((503, b'{"title": "No model serves", "detail": "None."}'), "503 No model serves: None."),
    "422": (
        (422, b'{"type": "urn:riskline:problem:invalid-transaction", "detail": "/foo: Field required."}'),
        "the service refuses it: /foo: Field required.",
    ),
    "html": ((200, b"<html>"), "does the URL lead to it"),
    "cut off": (None, "cannot be reached: "),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_goes_wrong_half_way_is_told_and_leaves_no_file(
    file: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    answer, told = REFUSALS[kind]
    monkeypatch.setattr("riskline.cli.files.scoring_service.MOST_ATTEMPTS", 3)
    monkeypatch.setenv("RISKLINE_API_KEY", "rk_secret")
    out = file.with_name("out")

    with Failing(answer, after=100) as front:
        code = run(["score", str(file), "--url", front.url, "--out", str(out)])

    said = capfd.readouterr().err
    assert code == 1
    assert told in said
    assert kind == "422" or said.count("\n") == 1
    assert "secret" not in said
    assert "Traceback" not in said
    assert front.keys == {"Bearer rk_secret"}
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("answer", "told"),
    [((503, b"{}"), "answers 503: trying again for up to"), (None, "does not answer: trying again for up to")],
)
def test_the_progress_line_says_that_rows_are_tried_again(
    file: Path, answer: tuple[int, bytes] | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("riskline.cli.files.scoring_service.MOST_ATTEMPTS", 2)
    monkeypatch.setattr("riskline.cli.files.score._describe", lambda _, text: said.append(text))

    with Failing(answer, after=100) as front:
        assert run(["score", str(file), "--url", front.url, "--out", str(file.with_name("out"))]) == 1

    # calls that are under way at the end lose their connections
    assert said[0].startswith(f"{front.url} {told}")


def test_the_key_may_be_in_a_file(file: Path) -> None:
    key_file = file.with_name("key")
    key_file.write_text("rk_secret\n")

    with Failing(None, after=ROWS) as front:
        assert run(["score", str(file), "--url", front.url, "--api-key-file", str(key_file), "--out", "/dev/null"]) == 0

    assert front.keys == {"Bearer rk_secret"}


@pytest.mark.parametrize(("url", "warns"), [("http://riskline.invalid", True), ("https://riskline.invalid", False)])
def test_a_key_that_others_can_read_on_its_way_is_warned_of(
    file: Path, url: str, warns: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("riskline.cli.files.scoring_service.CHECK_SECONDS", 0.3)
    monkeypatch.setenv("RISKLINE_API_KEY", "rk_secret")

    assert run(["score", str(file), "--url", url]) == 1

    assert (f"warning: {url} is not encrypted" in capfd.readouterr().err) == warns


@pytest.mark.parametrize(("name", "value"), [("ALL_PROXY", "socks5://127.0.0.1:1"), ("SSL_CERT_FILE", "/nonexistent")])
def test_an_environment_that_cannot_be_used_is_told_in_a_line(
    file: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)

    assert run(["score", str(file), "--url", "https://riskline.invalid"]) != 0

    said = capfd.readouterr().err
    assert name in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--url", "http://127.0.0.1:1"), "http://127.0.0.1:1 cannot be reached: "),
        (("--url", "riskline.example"), "the URL of the service must be like https://riskline.example"),
        (("--url", "http://127.0.0.1:1", "--api-key-file", "no-such-file"), "no-such-file: the API key cannot be read"),
        (("--url", "http://127.0.0.1:1", "--model", "x"), "is for scoring without --url"),
        (("--connections", "3"), "are for scoring with --url"),
    ],
)
def test_a_wrong_use_is_told_in_a_line(
    file: Path,
    words: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("riskline.cli.files.scoring_service.CHECK_SECONDS", 0.3)

    assert run(["score", str(file), *words]) != 0

    said = capfd.readouterr().err
    assert told in said
    assert said.count("\n") == 1
