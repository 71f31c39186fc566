"""An API that asks for no key answers to names that are its own: whatever page a browser shows (DNS rebinding)."""

from datetime import UTC, datetime
from typing import Any

import falcon.inspect
import orjson
import pytest

from riskline.cli.operate.api_keys import make
from riskline.ingest.auth.authentication import Authenticator
from riskline.ingest.auth.hosts import AllowedHosts
from riskline.ingest.fastpath.requests import FastPathProtocol
from riskline.shared.access.api_keys import Scope
from riskline.shared.errors import SettingsError
from riskline.shared.settings import load_settings
from tests.support.api import Api
from tests.support.factories import transaction_json
from tests.support.wire import Answer, serving

NOW = datetime(2026, 11, 24, 3, 15, tzinfo=UTC)
GOOD = orjson.dumps(transaction_json())
SECRET, KEY = make("me", list(Scope), now=NOW, expires_at=None)

OURS = [
    "127.0.0.1",
    "127.0.0.1:8000",
    "localhost",
    "LOCALHOST:8000",
    "localhost.",
    "riskline.localhost:8000",
    "[::1]:8000",
    "[::1]",
    "192.168.1.7:80",
    "203.0.113.9",
    "[2001:db8::1]:8000",
]
OTHERS = [
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evillocalhost",
    "127.0.0.1@evil.example",
    "evil.example@127.0.0.1",
    "127.0.0.1:8000:evil.example",
    "[::1].evil.example",
    "[evil.example]",
    "0x7f.1",
    "2130706433",
    "127.1",
    "127.0.0.1, evil.example",
    "127.0.0.1 evil.example",
    "riskline",
    "loc\xe4lhost",
    ":8000",
]
NAMED = ["riskline.internal", "Riskline.Internal:8000", "a.ops.example", "a.b.ops.example"]
SETTING = ("riskline.internal", "*.ops.example")


def head(host: str, *, path: str = "/score-transaction", body: bytes = GOOD) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


async def answer_to(host: str, api: Api, *, fast: bool) -> Answer:
    async with serving(api.app) as server:
        (answer,) = await server.connect(fast=fast).send(head(host)).answers()
    return answer


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("host", [*OURS, *NAMED])
async def test_addresses_names_of_this_machine_and_those_of_the_setting_are_taken(host: str, *, fast: bool) -> None:
    assert (await answer_to(host, Api(allowed_hosts=SETTING), fast=fast)).status == 200


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("host", [*OTHERS, "ops.example", "notriskline.internal", "a.riskline.internal"])
async def test_other_names_are_refused_with_the_setting_that_allows_them(host: str, *, fast: bool) -> None:
    api = Api(allowed_hosts=SETTING)

    answer = await answer_to(host, api, fast=fast)

    problem = orjson.loads(answer.body)
    if answer.status != 400:  # what is no host at all may be refused as no HTTP
        assert (answer.status, problem["type"]) == (421, "urn:riskline:problem:host-not-allowed")
        assert "RISKLINE_ALLOWED_HOSTS" in problem["detail"]
    assert not api.recorder.pending


def test_no_route_answers_to_the_name_of_another_site() -> None:
    api = Api(allowed_hosts=())
    seen = 0
    for route in falcon.inspect.inspect_compiled_router(api.app._router):
        for method in (each for each in route.methods if not each.internal):
            answer = api.client.simulate_request(method.method, route.path, host="evil.example")
            assert answer.status_code == 421, (method.method, route.path)
            seen += 1
    assert seen > 30


def test_the_console_says_on_a_page_which_setting_allows_a_name() -> None:
    answer = Api(allowed_hosts=()).client.simulate_get("/console", host="evil.example")

    assert (answer.status_code, answer.headers["content-type"]) == (421, "text/html; charset=utf-8")
    assert "RISKLINE_ALLOWED_HOSTS" in answer.text


@pytest.mark.parametrize("path", ["/score-transaction", "/transactions"])
async def test_the_fast_path_takes_the_same_names_also_where_a_head_is_known(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Any] = []
    take = FastPathProtocol._take
    monkeypatch.setattr(FastPathProtocol, "_take", lambda *args: taken.append(args) or take(*args))
    async with serving(Api(allowed_hosts=SETTING).app) as server:
        wire, statuses = server.connect(fast=True), []
        for count, host in enumerate(
            ("localhost:8000", "evil.example", "localhost:8000", "evil.example", "x.ops.example"), 1
        ):
            body = orjson.dumps(transaction_json(transaction_id=f"t-{count}"))
            answers = await wire.send(head(host, path=path, body=body)).answers(count)
            statuses.append(answers[-1].status)

    good = 200 if path == "/score-transaction" else 202
    assert statuses == [good, 421, good, 421, good]
    assert len(taken) == 3


async def test_each_of_several_names_has_to_be_one() -> None:
    async with serving(Api(allowed_hosts=()).app) as server:
        data = head("localhost").replace(b"Host: localhost", b"Host: localhost\r\nHost: evil.example")
        [answer] = await server.connect(fast=True).send(data).answers()

    assert answer.status in (400, 421)


def test_where_keys_are_asked_for_any_name_is_taken() -> None:
    api = Api(gate=Authenticator(own_keys=(KEY,)), allowed_hosts=())
    headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}

    assert (
        api.client.simulate_post("/score-transaction", body=GOOD, headers=headers, host="a.example").status_code == 200
    )
    assert api.client.simulate_get("/health", host="a.example").status_code == 200


def test_the_name_on_which_the_api_listens_is_one_of_its_own() -> None:
    settings = load_settings(host="riskline.lan", allowed_hosts=" a.example, *.b.example ,")

    assert settings.hosts == ("a.example", "*.b.example", "riskline.lan")


@pytest.mark.parametrize(
    "name", ["http://a.example", "a.example:80", "a.*.example", "*example", "*.", "a b", "a/b", "[::1]"]
)
def test_a_name_that_cannot_be_one_is_named_at_the_start(name: str) -> None:
    with pytest.raises(SettingsError, match="RISKLINE_ALLOWED_HOSTS") as caught:
        load_settings(allowed_hosts=name)

    assert "is no host name: write riskline.internal" in str(caught.value)


@pytest.mark.parametrize("host", ["evil$.example", ".", "localhost:80:90", "[fe80::1%25eth0]"])
def test_an_empty_name_on_which_the_api_listens_admits_no_host_that_is_none(host: str) -> None:
    """A browser takes names that `Host` is not read as: of those none is the API's own."""
    hosts = AllowedHosts(Authenticator(), load_settings(host="", auth="off").hosts)

    assert not hosts.admit(host)
    assert hosts.admit("localhost")
