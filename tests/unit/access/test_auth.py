"""Every route asks for the key that it should: through Falcon, and on the wire where the fast path may answer."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import falcon.inspect
import orjson
import pytest
from structlog.testing import capture_logs

from riskline.cli.operate.api_keys import make
from riskline.ingest.auth.authentication import Authenticator, create_gate
from riskline.ingest.auth.scopes import ACCESS, BY_SESSION, OPEN
from riskline.ingest.main import application
from riskline.shared.access.api_keys import ApiKey, Scope
from riskline.shared.access.key_file import HEADER, KeyFile
from riskline.shared.errors import InstallationError, SettingsError
from riskline.shared.settings import load_settings
from tests.integration.running import PATIENCE_SECONDS
from tests.support.api import Api
from tests.support.factories import transaction_json
from tests.support.wire import Answer, Wire, request, serving

NOW = datetime(2026, 11, 24, 3, 15, tzinfo=UTC)
ELSEWHERE = "0.0.0.0"  # noqa: S104  # what is tested
ROUTES = sorted(
    (method.method, route.path)
    for route in falcon.inspect.inspect_compiled_router(Api().app._router)
    for method in route.methods
    if not method.internal
)
CONSOLE = [route for route in ROUTES if ACCESS.get(("GET" if route[0] == "HEAD" else route[0], route[1])) is BY_SESSION]
KEYED = [route for route in ROUTES if route not in CONSOLE]
FAST = [("POST", "/score-transaction"), ("POST", "/transactions")]
OPEN_PATHS = {"/health", "/health/live", "/health/ready", "/openapi.json", "/docs", "/docs/assets/{name}"}
OPEN_PATHS |= {"/", "/docs/problems", "/docs/problems/{name}", "/console/sign-in", "/console/static/{name}"}
MAY = {
    "score": {("POST", "/score-transaction")},
    "submit": {
        *(("POST", path) for path in ("/transactions", "/transactions/batch")),
        *(("GET", path) for path in ("/transactions/batch", "/transactions/{transaction_id}")),
    },
    "read": {
        ("GET", path) for path in ("/transactions/batch", "/transactions/{transaction_id}", "/decisions", "/metrics")
    },
    "admin": set(ROUTES),
}
"""What each scope opens, beside what is open: written down once more, so that a slip in the table is seen."""

KEYS: dict[str, tuple[str, ApiKey]] = {
    **{scope.value: make(scope.value, [scope], now=NOW, expires_at=None) for scope in Scope},
    "expired": make("expired", [Scope.ADMIN], now=NOW, expires_at=NOW + timedelta(days=1)),
    "revoked": make("revoked", [Scope.ADMIN], now=NOW, expires_at=None),
    "unknown": make("unknown", [Scope.ADMIN], now=NOW, expires_at=None),
}
SECRETS = {name: secret for name, (secret, _) in KEYS.items()}
HEADERS: dict[str, str | None] = {
    "no key": None,
    **{name: f"Bearer {secret}" for name, secret in SECRETS.items()},
    "lower case": f"bearer {SECRETS['admin']}",
    "no scheme": SECRETS["admin"],
    "basic": "Basic YWRtaW46YWRtaW4=",
    "nothing behind": "Bearer",
    "two keys": f"Bearer {SECRETS['admin']} {SECRETS['admin']}",
    "a hash": f"Bearer {KEYS['admin'][1].digest.hex()}",
    "a slip": f"Bearer {SECRETS['admin'][:-1]}",
    "longer": f"Bearer {SECRETS['admin']}A",
    "not ascii": f"Bearer {SECRETS['admin']}\xe9",
}


def api_with_keys() -> Api:
    """One that knows all but the unknown, of which one has expired and one was revoked since."""
    gate = Authenticator(own_keys=tuple(key for name, (_, key) in KEYS.items() if name not in ("unknown", "revoked")))
    gate._now = lambda: NOW + timedelta(days=2)
    return Api(gate=gate)


def expected(who: str, route: tuple[str, str]) -> int | None:
    """The status of the refusal; None where there is none."""
    if route[1] in OPEN_PATHS:
        return None
    route = ("GET" if route[0] == "HEAD" else route[0], route[1])
    scope = {"lower case": "admin"}.get(who, who)
    if scope not in MAY:
        return 401
    return None if route in MAY[scope] else 403


def check(who: str, route: tuple[str, str], status: int, headers: Any, body: bytes) -> None:
    """The answer is the one that the table wants, and says what a client needs."""
    wanted = expected(who, route)
    if wanted is None:
        assert status not in (401, 403)
        return
    challenge = headers["www-authenticate"]
    assert status == wanted
    assert challenge.startswith('Bearer realm="riskline"')
    if route[0] == "HEAD":
        return
    problem = orjson.loads(body)
    if wanted == 403:
        assert problem["type"] == "urn:riskline:problem:forbidden"
        assert any(problem["detail"].endswith(f"scope {scope}.") for scope in ACCESS[route].scopes)
        assert 'error="insufficient_scope"' in challenge
    else:
        given = str(HEADERS[who]).lower().startswith("bearer")
        assert ('error="invalid_token"' in challenge) is given
        del problem["instance"]
        assert problem == {
            "type": "urn:riskline:problem:key-needed",
            "title": "A valid API key is needed",
            "status": 401,
            "detail": "Send the header Authorization: Bearer KEY, with a key that is known here and has neither "
            "expired nor been revoked.",
        }


@pytest.mark.parametrize("who", HEADERS)
@pytest.mark.parametrize("route", KEYED, ids=" ".join)
def test_each_route_lets_in_whom_it_should_and_nobody_else(route: tuple[str, str], who: str) -> None:
    method, path = route
    authorization = HEADERS[who]
    headers = {"Authorization": authorization} if authorization else {}

    answer = api_with_keys().client.simulate_request(
        method, path.replace("{transaction_id}", "tx-1").replace("{name}", "docs.js"), headers=headers
    )

    check(who, route, answer.status_code, answer.headers, answer.content)


@pytest.mark.parametrize("route", CONSOLE, ids=" ".join)
def test_a_page_of_the_console_asks_for_a_session_whatever_key_comes_with_the_request(route: tuple[str, str]) -> None:
    method, path = route
    api = api_with_keys()
    path = path.replace("{transaction_id}", "tx-1").replace("{kind}", "transactions")

    for authorization in HEADERS.values():
        headers = {"Authorization": authorization} if authorization else {}
        headers |= {"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}
        answer = api.client.simulate_request(method, path, headers=headers, body="csrf=x" if method == "POST" else "")

        assert answer.status_code == 303
        assert answer.headers["location"].partition("?")[0] == "/console/sign-in"
        assert answer.content == b""
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("who", HEADERS)
@pytest.mark.parametrize("route", FAST, ids=" ".join)
@pytest.mark.parametrize("fast", [True, False], ids=["fast path", "uvicorn alone"])
async def test_on_the_wire_each_door_lets_in_whom_it_should_also_a_second_time(
    route: tuple[str, str], who: str, *, fast: bool
) -> None:
    authorization = HEADERS[who]
    headers = [f"Authorization: {authorization}"] if authorization else []
    api = api_with_keys()
    body = orjson.dumps(transaction_json())

    async with serving(api.app) as server:
        wire = server.connect(fast=fast)
        found = [(await wire.send(request(route[1], body, *headers)).answers(number))[-1] for number in (1, 2)]

    for answer in found:
        check(who, route, answer.status, answer.headers, answer.body)
    taken = len(api.store.records) + api.recorder.pending
    assert (taken > 0) is (expected(who, route) is None)


def test_no_route_is_without_a_rule_and_no_rule_without_a_route() -> None:
    assert {route for route in ROUTES if route[0] != "HEAD"} == set(ACCESS)
    assert {path for (_, path), access in ACCESS.items() if access is OPEN} == OPEN_PATHS
    below = {path for _, path in ACCESS if path == "/console" or path.startswith("/console/")}
    assert {path for (_, path), access in ACCESS.items() if access is BY_SESSION} == below - OPEN_PATHS


class Forgotten:
    """A route that somebody adds without a thought for keys."""

    async def on_get(self, _req: Any, resp: Any) -> None:
        resp.media = {"secret": 1}

    async def on_get_more(self, _req: Any, resp: Any) -> None:
        resp.media = {"secret": 1}


@pytest.mark.parametrize("suffix", [None, "more"])
def test_a_route_without_a_rule_is_closed_to_all_but_admin(suffix: str | None) -> None:
    api = api_with_keys()
    api.app.add_route("/forgotten", Forgotten(), suffix=suffix)

    found = {
        who: api.client.simulate_get("/forgotten", headers={"Authorization": f"Bearer {secret}"}).status_code
        for who, secret in SECRETS.items()
    }

    assert api.client.simulate_get("/forgotten").status_code == 401
    score = {"Authorization": f"Bearer {SECRETS['score']}"}
    assert api.client.simulate_head("/forgotten", headers=score).status_code == 403
    assert found.pop("admin") == 200
    assert {found[who] for who in ("score", "submit", "read")} == {403}
    assert {found[who] for who in ("expired", "revoked", "unknown")} == {401}


def test_a_method_that_a_path_does_not_take_is_told_to_those_with_a_key() -> None:
    client = api_with_keys().client
    key = {"Authorization": f"Bearer {SECRETS['score']}"}

    assert client.simulate_put("/score-transaction").status_code == 401
    assert client.simulate_put("/score-transaction", headers=key).status_code == 405
    assert client.simulate_post("/health").status_code == 405
    assert client.simulate_options("/score-transaction").status_code == 200
    assert client.simulate_get("/nothing-here").status_code == 404


async def test_a_refusal_does_not_wait_for_the_body() -> None:
    async with serving(api_with_keys().app) as server:
        head = b"POST /score-transaction HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        plain = server.connect(fast=True).send(head + b"Content-Length: 1000\r\n\r\n")
        expecting = server.connect(fast=True).send(head + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")

        assert (await plain.answers())[0].status == 401
        answer = (await expecting.answers())[0]
    assert (answer.status, answer.headers["connection"]) == (401, "close")
    assert b"100 Continue" not in expecting.transport.written


def test_of_two_authorization_headers_none_counts() -> None:
    keys = [("Authorization", f"Bearer {SECRETS['admin']}")] * 2

    answer = api_with_keys().client.simulate_get("/decisions", headers=keys)

    assert answer.status_code == 401


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "api_keys")


def kept(file: KeyFile, *names: str) -> None:
    with file.changing() as keys:
        keys[:] = [KEYS[name][1] for name in names]


class Caller:
    """Sends the same two requests again and again, by a connection that the fast path serves."""

    def __init__(self, wire: Wire, who: str) -> None:
        self._wire, self._who, self._count = wire, who, 0

    async def statuses(self) -> list[int]:
        found: list[Answer] = []
        for _, path in FAST:
            self._count += 1
            name = f"{self._who}-{self._count:03d}"
            body = orjson.dumps(transaction_json(transaction_id=name))
            self._wire.send(request(path, body, f"Authorization: {HEADERS[self._who]}"))
            found.append((await self._wire.answers(self._count))[-1])
        return [each.status for each in found]


PASSED, REFUSED = [200, 202], [401, 401]


async def test_what_the_fast_path_remembers_ends_with_the_key(file: KeyFile) -> None:
    kept(file, "admin", "revoked")
    gate = Authenticator(file=file)
    gate.read()
    async with serving(Api(gate=gate).app) as server:
        wire = server.connect(fast=True)
        staying, leaving, coming = (Caller(server.connect(fast=True), who) for who in ("admin", "revoked", "unknown"))
        before = [await each.statuses() for each in (staying, leaving, coming) for _ in range(2)]
        known = dict(wire.protocol._fast_path.heads)

        kept(file, "admin", "unknown")
        await gate.follow()
        after = [await each.statuses() for each in (staying, leaving, coming) for _ in range(2)]

    assert before == [PASSED, PASSED, PASSED, PASSED, REFUSED, REFUSED]
    assert len(known) == 4
    assert after == [PASSED, PASSED, REFUSED, REFUSED, PASSED, PASSED]


async def test_what_the_fast_path_remembers_ends_when_the_key_expires(file: KeyFile) -> None:
    kept(file, "expired")
    now = [NOW]
    gate = Authenticator(file=file, now=lambda: now[0])
    gate.read()
    async with serving(Api(gate=gate).app) as server:
        caller = Caller(server.connect(fast=True), "expired")
        before = await caller.statuses()

        now[0] = NOW + timedelta(days=1)
        await gate.follow()

        assert (before, await caller.statuses()) == (PASSED, REFUSED)


async def test_a_head_that_was_admitted_before_a_change_is_not_remembered_after_it(file: KeyFile) -> None:
    kept(file, "admin")
    gate = Authenticator(file=file)
    gate.read()
    head = request("/score-transaction", b"", f"Authorization: {HEADERS['admin']}")
    body = orjson.dumps(transaction_json())
    head = head.replace(b"Content-Length: 0", b"Content-Length: %d" % len(body))
    async with serving(Api(gate=gate).app) as server:
        wire = server.connect(fast=True).send(head)
        kept(file, "read")
        await gate.follow()

        wire.send(body)

        assert wire.protocol._fast_path.heads == {}
        assert (await wire.send(head + body).answers(2))[-1].status == 401


async def test_the_first_key_closes_an_api_that_was_open(file: KeyFile) -> None:
    gate = Authenticator(file=file)
    gate.read()
    async with serving(Api(gate=gate).app) as server:
        stranger, guest = Caller(server.connect(fast=True), "unknown"), Caller(server.connect(fast=True), "admin")
        assert await stranger.statuses() == PASSED

        kept(file, "admin")
        await gate.follow()

        assert (await stranger.statuses(), await guest.statuses()) == (REFUSED, PASSED)


DAMAGE = {
    "torn": lambda file: file.path.write_text(HEADER + KEYS["admin"][1].line()[:-4]),
    "empty": lambda file: file.path.write_text(""),
    "binary": lambda file: file.path.write_bytes(b"\xff\x00"),
    "a directory": lambda file: (file.path.unlink(), file.path.mkdir()),
    "gone": lambda file: file.path.unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
async def test_a_damaged_file_leaves_the_keys_that_were_known_and_is_logged_once(file: KeyFile, how: str) -> None:
    kept(file, "admin")
    gate = Authenticator(file=file)
    gate.read()
    DAMAGE[how](file)

    with capture_logs() as logs:
        await gate.follow()
        await gate.follow()

    assert gate.admits(HEADERS["admin"], ACCESS["GET", "/decisions"])
    assert not gate.admits(None, ACCESS["GET", "/decisions"])
    assert [line["log_level"] for line in logs] == ["error"]
    assert KEYS["admin"][1].digest.hex()[:20] not in str(logs)


async def test_a_file_that_is_emptied_of_keys_lets_nobody_in(file: KeyFile) -> None:
    kept(file, "admin")
    gate = Authenticator(file=file)
    gate.read()

    kept(file)
    await gate.follow()

    assert not gate.admits(HEADERS["admin"], ACCESS["GET", "/decisions"])
    assert not gate.admits(None, ACCESS["GET", "/decisions"])


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("API_KEYS", "API_KEYS_FILE", "AUTH", "HOST"):
        monkeypatch.delenv(f"RISKLINE_{name}", raising=False)
    monkeypatch.setenv("RISKLINE_DATA", str(tmp_path))
    return tmp_path


def test_only_an_api_on_loopback_that_was_never_given_keys_is_open(data: Path, file: KeyFile) -> None:
    line = KEYS["admin"][1].line()

    assert not create_gate(load_settings()).asks
    assert not create_gate(load_settings(host=ELSEWHERE, auth="off")).asks
    assert create_gate(load_settings(api_keys=KEYS["expired"][1].line())).asks
    assert create_gate(load_settings(host=ELSEWHERE, api_keys=line)).admits(HEADERS["admin"], ACCESS["GET", "/metrics"])
    kept(file)
    assert create_gate(load_settings()).asks
    assert create_gate(load_settings(host=ELSEWHERE)).asks
    assert not create_gate(load_settings(auth="off")).asks


@pytest.mark.parametrize("host", [ELSEWHERE, "::", "10.0.0.1", "example.com"])
def test_an_address_that_others_reach_is_refused_without_keys_and_says_what_to_do(data: Path, host: str) -> None:
    with pytest.raises(SettingsError, match=r"riskline keys new .* RISKLINE_AUTH=off"):
        create_gate(load_settings(host=host))


def test_a_damaged_file_refuses_the_start(data: Path, file: KeyFile) -> None:
    file.path.write_text("")

    with pytest.raises(InstallationError, match="correct or restore"):
        create_gate(load_settings())


def test_a_file_that_is_named_must_be_there(data: Path) -> None:
    with pytest.raises(SettingsError, match="RISKLINE_API_KEYS_FILE"):
        create_gate(load_settings(api_keys_file=data / "mounted"))


def secrets() -> Iterator[str]:
    for secret, key in KEYS.values():
        yield from (secret, key.digest.hex(), str(key.digest))


def test_neither_a_key_nor_its_hash_is_in_an_answer_a_metric_or_a_log_line(capfd: pytest.CaptureFixture[str]) -> None:
    api = api_with_keys()
    shown = []

    with capture_logs() as logs:
        for header in HEADERS.values():
            for method, path in ROUTES:
                headers = {"Authorization": header} if header else {}
                answer = api.client.simulate_request(method, path, headers=headers)
                shown += [answer.text, str(answer.headers)]
        api.serving.require = None  # type: ignore[assignment]  # a fault of ours, for its traceback
        failed = api.client.simulate_post(
            "/score-transaction", json=transaction_json(), headers={"Authorization": str(HEADERS["score"])}
        )
        shown += [failed.text, str(logs), *capfd.readouterr()]

    assert failed.status_code == 500
    assert [line["key"] for line in logs if line["event"] == "request failed"] == ["score"]
    assert not [secret for secret in secrets() for text in shown if secret in text]


async def test_a_look_that_fails_is_not_the_last(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.auth.authentication.LOOK_SECONDS", 0.001)
    gate = Authenticator(file=file)
    running = asyncio.create_task(gate.run())
    file.path.write_text("torn")
    await asyncio.sleep(0.05)
    assert not gate.asks

    kept_elsewhere = KeyFile(file.path.with_name("good"))
    kept(kept_elsewhere, "admin")
    kept_elsewhere.path.replace(file.path)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not gate.asks:  # noqa: ASYNC110  # the gate wakes nobody
            await asyncio.sleep(0.001)
    running.cancel()

    assert gate.admits(HEADERS["admin"], ACCESS["GET", "/metrics"])


def test_nothing_is_served_past_the_routes() -> None:
    app = Api().app

    assert (list(app._sinks), list(app._static_routes)) == ([], [])


async def test_what_follows_a_chunked_body_is_no_header() -> None:
    head = b"POST /score-transaction HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(api_with_keys().app) as server:
        wire = server.connect(fast=True)
        wire.send(head + b"1\r\n{\r\n0\r\nAuthorization: " + str(HEADERS["admin"]).encode() + b"\r\n\r\n")

        assert (await wire.answers())[0].status == 401


def test_behind_another_server_loopback_needs_keys_too(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")

    with pytest.raises(SettingsError, match="another server"):
        application()


def test_once_there_were_keys_a_missing_file_refuses_the_start_until_the_marker_is_deleted(
    data: Path, file: KeyFile
) -> None:
    kept(file, "admin")
    file.path.unlink()

    with pytest.raises(InstallationError, match=r"api_keys\.required"):
        create_gate(load_settings())
    file.marker.unlink()
    assert not create_gate(load_settings()).asks


def test_a_name_that_is_in_the_setting_and_in_the_file_refuses_the_start(data: Path, file: KeyFile) -> None:
    kept(file, "admin")

    with pytest.raises(InstallationError, match="at odds"):
        create_gate(load_settings(api_keys=KEYS["admin"][1].line()))


async def test_a_file_that_stays_unreadable_is_complained_of_each_minute_and_by_readiness(file: KeyFile) -> None:
    kept(file, "admin")
    now = [NOW]
    gate = Authenticator(file=file, now=lambda: now[0])
    gate.read()
    DAMAGE["torn"](file)

    with capture_logs() as logs:
        for _ in range(3):
            await gate.follow()
            now[0] += timedelta(seconds=40)

    assert len(logs) == 2
    ready = Api(gate=gate).client
    assert "log says why" in (await asyncio.to_thread(ready.simulate_get, "/health/ready")).json["checks"]["keys"]


async def test_a_look_that_hangs_keeps_no_expired_key(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(file, "expired")
    now = [NOW]
    gate = Authenticator(file=file, now=lambda: now[0])
    gate.read()
    released, forgotten = threading.Event(), []
    gate.on_change(lambda: forgotten.append(True))
    monkeypatch.setattr(file, "stamp", released.wait)
    monkeypatch.setattr("riskline.ingest.auth.authentication.ANSWER_SECONDS", 0.01)
    now[0] += timedelta(days=2)

    await gate.follow()

    assert forgotten == [True]
    assert "does not answer" in gate.problem
    released.set()


class Ending(Authenticator):
    """Lets in for so many questions."""

    left = 1

    def admits(self, authorization: str | None, access: Any) -> bool:
        self.left -= 1
        return self.left >= 0 and super().admits(authorization, access)


def test_a_batch_ends_with_its_key_and_says_what_was_accepted() -> None:
    gate = Ending(own_keys=(KEYS["admin"][1],))
    api = Api(gate=gate)
    rows = [orjson.dumps(transaction_json(transaction_id=f"t-{number}")) for number in range(1500)]
    headers = {"Authorization": str(HEADERS["admin"]), "Content-Type": "application/x-ndjson"}

    answer = api.client.simulate_post("/transactions/batch", body=b"\n".join(rows), headers=headers)

    assert answer.status_code == 401
    assert answer.json["accepted"] == len(api.store.records) > 0


def test_what_was_waited_for_is_withheld_when_the_key_has_ended() -> None:
    gate = Ending(own_keys=(KEYS["admin"][1],))
    gate.left = 0
    headers = {"Authorization": str(HEADERS["admin"])}

    answer = Api(gate=gate).client.simulate_get("/decisions", headers=headers)

    assert answer.status_code == 401
    assert "decisions" not in answer.json
