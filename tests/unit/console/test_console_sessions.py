"""Who gets into the console, what he may do there, and when he is out again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import orjson
import pytest

from riskline.cli.operate.api_keys import make
from riskline.ingest.auth.authentication import Authenticator
from riskline.ingest.console.frame.sessions import ABSOLUTE, BELIEVED, COOKIE, IDLE_SECONDS, digest_of_token
from riskline.shared.access.api_keys import Scope
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.console import ConsoleStore, offer_link
from riskline.shared.store.keys import Keys
from tests.support.api import Api

NOW = datetime(2026, 11, 24, 3, 15, tzinfo=UTC)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PAGES = ("", "/live", "/decisions", "/decisions.csv", "/transactions/t", "/try", "/failed", "/models", "/changes")


class Console:
    """The console with keys, and a browser that keeps its cookie."""

    def __init__(self, *scopes: Scope, expires_at: datetime | None = None) -> None:
        self.now = datetime.now(UTC)
        self.secret, self.key = make("me", list(scopes), now=self.now, expires_at=expires_at)
        self.gate = Authenticator(own_keys=(self.key,))
        self.api = Api(gate=self.gate)
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **options: Any) -> Any:
        return self.api.client.simulate_get(f"/console{path}", cookies=self.cookies, **options)

    def post(self, path: str, headers: dict[str, str] | None = None, **form: str) -> Any:
        body = "&".join(f"{name}={value}" for name, value in form.items())
        path = f"/console{path}"
        return self.api.client.simulate_post(path, body=body, headers=FORM | (headers or {}), cookies=self.cookies)

    def sign_in(self, key: str = "", **form: str) -> Any:
        answer = self.post("/sign-in", key=key or self.secret, **form)
        if COOKIE in answer.cookies:
            self.cookies = {COOKIE: answer.cookies[COOKIE].value}
        return answer

    def csrf(self) -> str:
        page = self.get("/changes").text
        return str(page.partition('name="csrf" value="')[2].partition('"')[0])


def test_nobody_sees_a_page_before_signing_in() -> None:
    console = Console(Scope.ADMIN)

    for path in PAGES:
        answer = console.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/console/sign-in")
        assert answer.content == b""


def test_who_signs_in_gets_to_the_page_that_was_asked_for() -> None:
    console = Console(Scope.ADMIN)
    asked = console.get("/decisions?action=DECLINE").headers["location"]

    form = console.get(asked.removeprefix("/console"))
    answer = console.sign_in(next="/console/decisions%3Faction%3DDECLINE")

    assert 'value="/console/decisions?action=DECLINE"' in form.text
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/decisions?action=DECLINE")
    assert console.get("/changes").status_code == 200


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/console%5C@evil.example", "/consoleevil", "javascript:alert(1)", ""],
)
def test_after_signing_in_nobody_is_sent_elsewhere(target: str) -> None:
    assert Console(Scope.ADMIN).sign_in(next=target).headers["location"] == "/console"


def test_the_cookie_is_for_the_server_alone_and_over_tls_for_tls_alone() -> None:
    console = Console(Scope.ADMIN)

    plain = console.sign_in().headers["set-cookie"]
    tls = [
        console.post("/sign-in", headers=headers, key=console.secret).headers["set-cookie"]
        for headers in (
            {"X-Forwarded-Proto": "https"},
            {"X-Forwarded-Proto": "https, http"},
            {"Forwarded": "for=192.0.2.7", "X-Forwarded-Proto": "https"},
            {"Forwarded": "for=192.0.2.7;proto=https"},
        )
    ]

    assert {"HttpOnly", "SameSite=Strict", "Path=/console"} <= set(plain.split("; "))
    assert "Secure" not in plain
    assert ["Secure" in each for each in tls] == [True] * 4


@pytest.mark.parametrize("key", ["", "rk_nonsense", "%00", "x" * 10_000])
def test_what_is_no_key_gets_nobody_in(key: str) -> None:
    console = Console(Scope.ADMIN)

    answer = console.post("/sign-in", key=key)

    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "No valid API key" in answer.text


@pytest.mark.parametrize("scope", [Scope.SCORE, Scope.SUBMIT])
def test_a_key_that_may_not_read_gets_nobody_in(scope: Scope) -> None:
    console = Console(scope)

    assert console.sign_in().status_code == 401


def test_a_key_that_may_read_may_look_and_change_nothing() -> None:
    console = Console(Scope.READ)
    console.sign_in()
    csrf = console.csrf()

    assert console.get("/failed").status_code == 200
    for path in ("/failed/transactions", "/models/switch"):
        answer = console.post(path, csrf=csrf)
        assert answer.status_code == 403
        assert "may look" in answer.text


@pytest.mark.parametrize("csrf", ["", "0" * 64])
def test_a_change_that_no_form_of_this_session_asked_for_is_refused(csrf: str) -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()

    assert console.post("/failed/transactions", csrf=csrf).status_code == 403
    assert console.post("/failed/transactions", csrf=console.csrf()).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_a_form_of_another_site_is_refused_whatever_is_in_it(headers: dict[str, str]) -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()

    assert console.post("/failed/transactions", headers=headers, csrf=console.csrf()).status_code == 403


def test_a_form_passes_behind_a_proxy_that_names_another_host() -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()

    for headers in (
        {"Origin": "https://shop.example", "X-Forwarded-Host": "shop.example"},
        {"Origin": "https://shop.example", "Sec-Fetch-Site": "same-origin"},
    ):
        assert console.post("/failed/transactions", headers=headers, csrf=console.csrf()).status_code == 303


def test_who_signs_out_is_out() -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()

    assert console.post("/sign-out", csrf="0").status_code == 303
    assert console.get("/changes").status_code == 200
    assert console.post("/sign-out", csrf=console.csrf()).status_code == 303

    assert console.get("/changes").status_code == 303


def test_a_key_that_is_revoked_or_ends_ends_its_sessions() -> None:
    console = Console(Scope.ADMIN, expires_at=datetime.now(UTC) + timedelta(hours=1))
    console.sign_in()
    assert console.get("/changes").status_code == 200

    console.gate._now = lambda: console.now + timedelta(hours=2)
    assert console.get("/changes").status_code == 303
    console.gate._now = lambda: console.now
    assert console.get("/changes").status_code == 200
    console.gate._valid = ()

    assert console.get("/changes").status_code == 303


def test_another_key_of_the_same_name_does_not_bring_a_session_back() -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()

    _, other = make("me", [Scope.ADMIN], now=console.now + timedelta(seconds=5), expires_at=None)
    console.gate._valid = (other,)

    assert console.get("/changes").status_code == 303


def test_too_many_failures_have_to_wait_and_keep_out_nobody_who_has_a_key() -> None:
    console = Console(Scope.ADMIN)

    statuses = [console.post("/sign-in", key="rk_wrong").status_code for _ in range(8)]
    statuses += [console.get("/sign-in?link=wrong").status_code for _ in range(2)]
    refused = [console.post("/sign-in", key="rk_wrong"), console.get("/sign-in?link=wrong")]

    assert statuses == [401] * 8 + [200] * 2
    assert [(each.status_code, each.headers["retry-after"]) for each in refused] == [(429, "6")] * 2
    assert "Too many attempts" in refused[0].text
    # behind the same proxy, for example
    assert console.sign_in().status_code == 303


def test_who_mistypes_a_key_gets_to_the_page_that_was_asked_for_all_the_same() -> None:
    form = Console(Scope.ADMIN).post("/sign-in", key="rk_wrong", next="/console/decisions%3Faction%3DDECLINE")

    assert 'name="next" value="/console/decisions?action=DECLINE"' in form.text


def test_what_only_asks_for_the_head_of_a_link_does_not_use_it_up() -> None:
    console = Console(Scope.ADMIN)
    offer_link(console.api.sync_redis, digest_of_token("secret"), seconds=60)

    console.api.client.simulate_head("/console/sign-in?link=secret")

    assert console.get("/sign-in?link=secret").status_code == 303


def test_a_page_that_is_left_open_does_not_keep_its_session() -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()
    key = Keys().console_session(digest_of_token(console.cookies[COOKIE]))
    console.api.sync_redis.expire(key, 100)

    assert console.get("/live?by_itself=1").status_code == 200
    assert console.api.sync_redis.ttl(key) <= 100

    assert console.get("").status_code == 200
    assert console.api.sync_redis.ttl(key) > 100


def test_who_may_only_look_pushes_no_change_out_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.shared.store.console.AUDIT_LENGTH", 5)
    console = Console(Scope.ADMIN)
    console.sign_in()
    assert console.post("/models/switch", csrf=console.csrf(), version="x").status_code == 409

    for _ in range(300):
        console.get("/decisions?f.amount.min=1")

    assert (
        "a model was not activated"
        in "".join(console.get(path).text for path in ("/changes", "/changes?before=9999999999999-0"))
        or b"a model was not activated" in str(console.api.sync_redis.xrange(Keys().console_changes)).encode()
    )
    assert console.api.sync_redis.xlen(Keys().console_changes) == 2
    assert console.api.sync_redis.xlen(Keys().console_looks) < 300


@pytest.mark.parametrize("path", ["/decisions.csv", "/transactions/t"])
def test_a_page_elsewhere_cannot_ask_for_a_part_of_the_console(path: str) -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()
    seen = console.api.sync_redis.xlen(Keys().console_looks)

    answer = console.get(path, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})

    assert answer.status_code == 403
    assert console.api.sync_redis.xlen(Keys().console_looks) == seen


def test_a_cookie_that_no_browser_has_from_us_is_nobodys() -> None:
    assert Console(Scope.ADMIN).get("", headers={"Cookie": f"{COOKIE}=\u00e9"}).status_code == 303


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
def test_what_is_no_form_is_refused(kind: str) -> None:
    console = Console(Scope.ADMIN)

    answer = console.post("/sign-in", headers={"Content-Type": kind}, key=console.secret)

    assert answer.status_code == 415


def test_a_link_signs_in_once() -> None:
    console = Console(Scope.ADMIN)
    offer_link(console.api.sync_redis, digest_of_token("secret"), seconds=60)

    answer = console.get("/sign-in?link=secret")
    again = console.get("/sign-in?link=secret")

    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    console.cookies = {COOKIE: answer.cookies[COOKIE].value}
    assert console.get("/changes").status_code == 200
    assert (again.status_code, COOKIE in again.cookies) == (200, False)
    assert "used before" in again.text


@pytest.mark.parametrize("scopes", [[Scope.ADMIN], [Scope.SCORE]])
@pytest.mark.parametrize("other_stays", [True, False])
def test_a_links_session_ends_with_the_last_key_that_was_there_when_it_was_used(
    scopes: list[Scope], *, other_stays: bool
) -> None:
    console = Console(*scopes)
    _, second = make("second", scopes, now=console.now, expires_at=None)
    _, lesser = make("lesser", [Scope.SUBMIT], now=console.now, expires_at=None)
    _, later = make("later", [Scope.ADMIN], now=console.now, expires_at=None)
    console.gate._valid = (console.key, second, *((lesser,) if Scope.ADMIN in scopes else ()))
    offer_link(console.api.sync_redis, digest_of_token("secret"), seconds=60)
    answer = console.get("/sign-in?link=secret")
    console.cookies = {COOKIE: answer.cookies[COOKIE].value}
    assert console.get("/changes").status_code == 200

    console.gate._valid = (lesser, later, *((second,) if other_stays else ()))

    assert console.get("/changes").status_code == (200 if other_stays else 303)


def test_a_key_that_is_made_again_by_the_same_name_does_not_keep_a_links_session() -> None:
    console = Console(Scope.ADMIN)
    offer_link(console.api.sync_redis, digest_of_token("secret"), seconds=60)
    console.cookies = {COOKIE: console.get("/sign-in?link=secret").cookies[COOKIE].value}

    _, again = make("me", [Scope.ADMIN], now=console.now + timedelta(seconds=5), expires_at=None)
    console.gate._valid = (again,)

    assert console.get("/changes").status_code == 303


def test_a_link_is_of_no_use_while_no_key_is_valid_and_not_used_up_by_that() -> None:
    console = Console(Scope.ADMIN)
    offer_link(console.api.sync_redis, digest_of_token("secret"), seconds=60)
    console.gate._valid = ()
    assert COOKIE not in console.get("/sign-in?link=secret").cookies

    console.gate._valid = (console.key,)

    assert console.get("/sign-in?link=secret").status_code == 303


def test_a_session_of_an_earlier_release_that_came_by_a_link_has_ended() -> None:
    console = Console(Scope.ADMIN)
    offer_link(console.api.sync_redis, digest_of_token("secret"), seconds=60)
    console.cookies = {COOKIE: console.get("/sign-in?link=secret").cookies[COOKIE].value}
    key = Keys().console_session(digest_of_token(console.cookies[COOKIE]))
    kept = orjson.loads(console.api.sync_redis.get(key))
    del kept["vouched_by"]
    console.api.sync_redis.set(key, orjson.dumps(kept))

    assert console.get("/changes").status_code == 303


def test_redis_has_nothing_that_signs_in() -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()
    token = console.cookies[COOKIE]

    redis = console.api.sync_redis
    everything = b" ".join(key + b" " + (redis.get(key) or b"") for key in redis.keys("*console_session*"))

    assert token.encode() not in everything
    assert console.secret.encode() not in everything
    assert 0 < redis.ttl(Keys().console_session(digest_of_token(token))) <= IDLE_SECONDS


def test_a_session_ends_after_half_an_hour_of_idleness_and_after_half_a_day_in_any_case() -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()
    sessions = console.api.sessions
    key = Keys().console_session(digest_of_token(console.cookies[COOKIE]))

    sessions._now = lambda: datetime.now(UTC) + ABSOLUTE
    assert console.get("/changes").status_code == 303
    sessions._now = lambda: datetime.now(UTC)
    assert console.get("/changes").status_code == 200
    console.api.sync_redis.delete(key)

    assert console.get("/changes").status_code == 303


def test_without_redis_who_was_seen_may_look_on_for_a_while_and_nobody_signs_in() -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()
    assert console.get("").status_code == 200
    sessions = console.api.sessions

    class Away(ConsoleStore):
        async def session(self, digest: str) -> str | None:
            raise StoreUnavailableError("Redis: away")

        async def open_session(self, digest: str, session: str, *, idle_seconds: int) -> None:
            raise StoreUnavailableError("Redis: away")

    sessions._store = Away(fakeredis.FakeAsyncRedis())

    assert console.get("").status_code == 200
    assert console.sign_in().status_code == 503
    sessions._now = lambda: datetime.now(UTC) + BELIEVED + timedelta(seconds=1)
    away = console.get("")
    assert away.status_code == 503
    assert "Redis does not answer" in away.text


def test_without_keys_the_console_is_open_to_this_machine_alone() -> None:
    client = Api(allowed_hosts=()).client

    for host in ("127.0.0.1", "localhost", "[::1]", "riskline.localhost"):
        assert client.simulate_get("/console/changes", host=host).status_code == 200, host
    for host in ("evil.example", "127.0.0.1.evil.example"):
        assert client.simulate_get("/console/changes", host=host).status_code == 421, host


def test_without_keys_a_change_needs_its_form_too() -> None:
    client = Api().client
    page = client.simulate_get("/console/changes", host="127.0.0.1")
    cookies = {COOKIE: page.cookies[COOKIE].value}
    csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]

    for token, status in (("", 403), (csrf, 303)):
        answer = client.simulate_post(
            "/console/failed/transactions", body=f"csrf={token}", headers=FORM, host="127.0.0.1", cookies=cookies
        )
        assert answer.status_code == status


def test_every_page_forbids_scripts_that_are_not_its_own() -> None:
    console = Console(Scope.ADMIN)
    console.sign_in()

    for path in PAGES:
        headers = console.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_a_form_that_is_too_large_or_none_is_refused() -> None:
    console = Console(Scope.ADMIN)

    assert console.post("/sign-in", key="x" * 70_000).status_code == 413
    other = console.api.client.simulate_post("/console/sign-in", body="{}", headers={"Content-Type": "text/plain"})
    assert other.status_code == 415
