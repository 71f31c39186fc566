"""What the environment says of proxies and certificates."""

import asyncio
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from riskline_client import AsyncClient, Client
from riskline_client.connection import Connection
from tests.integration.running import PATIENCE_SECONDS
from tests.support.factories import transaction_json

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def port() -> Iterator[int]:
    """Of something that decides all transactions, also those that come as to a proxy."""
    decision = {"transaction_id": "a", "fraud_probability": 0.1, "action": "APPROVE", "model_version": "v"}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({**decision, "model_version": self.path, "scored_at": "2026-11-24T03:15:07Z"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def sync_path(url: str) -> str:
    with Client(url, "rk_secret") as client:
        return client.score(transaction_json(), timeout=PATIENCE_SECONDS).model_version


def async_path(url: str) -> str:
    async def score() -> str:
        async with AsyncClient(url, "rk_secret") as client:
            return (await client.score(transaction_json(), timeout=PATIENCE_SECONDS)).model_version

    return asyncio.run(score())


both = pytest.mark.parametrize("path", [sync_path, async_path])


@both
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "socks5://127.0.0.1:1"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_comes_between_here_and_a_service_on_this_machine(
    port: int, path: Callable[[str], str], proxy: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)

    assert path(f"http://{host}:{port}") == "/score-transaction"


@both
def test_a_service_elsewhere_is_asked_through_the_proxy(
    port: int, path: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")

    assert path("http://riskline.example") == "http://riskline.example/score-transaction"


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ALL_PROXY", "socks5://user:secret@127.0.0.1:1", r"ALL_PROXY.*httpx\[socks\]"),
        ("HTTPS_PROXY", "ftp://user:secret@127.0.0.1:1", "HTTPS_PROXY.* cannot be used"),
        ("HTTP_PROXY", "http://user:p:secret", "HTTP_PROXY.* cannot be used"),
        ("SSL_CERT_FILE", "/nonexistent", "certificates to trust .*SSL_CERT_FILE"),
    ],
)
def test_what_cannot_be_used_is_named(
    client: type, variable: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(ValueError, match=told) as refused:
        client("https://riskline.example")

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "is_in_clear"),
    [
        ("http://riskline.example", True),
        ("http://10.0.0.1:8000", True),
        ("https://riskline.example", False),
        ("http://127.0.0.2:8000", False),
        ("http://[::1]:8000", False),
        ("http://localhost", False),
    ],
)
def test_what_can_be_read_on_its_way_is_known(url: str, is_in_clear: bool) -> None:
    assert Connection(url, api_key=None).is_in_clear is is_in_clear
