"""A real Chromium before the console of a real `riskline up` that has something to show on every page."""

import http.client
import json
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from redis import Redis

from riskline.cli.up.demo import ensure_model
from riskline.shared.model.registry import Registry
from riskline.shared.settings import load_settings
from riskline.shared.store.keys import Keys
from riskline.shared.webhooks.signing import new_secret
from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually, riskline
from tests.integration.swapping import write_forests
from tests.support.factories import transaction_json

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

PAGES = {
    "overview": "/console",
    "decisions": "/console/decisions",
    "transaction": "/console/transactions/queue-1",
    "try": "/console/try",
    "failed": "/console/failed",
    "models": "/console/models",
    "changes": "/console/changes",
}

FAILED = 3
REASONS = ("deciding it raised ValueError", "3 processes were lost while they assessed it")


class Refusing(BaseHTTPRequestHandler):
    """A receiver that takes no callback."""

    answer: ClassVar[bytes] = b"no such order"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class Site:
    """A running installation with keys."""

    def __init__(self, up: RunningUp, secrets: Mapping[str, str], hook: str) -> None:
        self.up = up
        self.secrets = secrets
        self.hook = hook
        self.url = f"http://127.0.0.1:{up.state['port']}"
        self.redis = Redis.from_url(up.state["redis_url"])

    def call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.up.state["port"], timeout=PATIENCE_SECONDS)
        headers = {"Authorization": f"Bearer {self.secrets['admin']}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def score(self, name: str, **changes: Any) -> dict[str, Any]:
        return orjson.loads(self.call("POST", "/score-transaction", transaction_json(transaction_id=name, **changes)))

    def fill(self) -> None:
        """Decisions by both doors, callbacks that are given up, and transactions that failed."""
        for number in range(60):
            self.score(f"sync-{number}", amount=17.5 + 83 * number, customer_age=18 + number)
        for number in range(12):
            body = transaction_json(transaction_id=f"queue-{number}", amount=100 + 400 * number)
            hook = {"callback_url": self.hook} if number < 2 else {}
            self.call("POST", "/transactions?explain=true", body | hook)
            self.call("GET", f"/transactions/queue-{number}?wait=10")
        for number in range(FAILED):
            self.plant_failed(f"failed-{number}", REASONS[number % 2])
        eventually(lambda: self.redis.zcard(Keys().callbacks_dead) == 2)

    def plant_failed(self, name: str, reason: str) -> None:
        """A transaction that no worker could decide."""
        transaction = transaction_json(transaction_id=name)
        record = {"v": 1, "status": "failed", "submitted_at": "2026-11-24T03:15:07.123Z", "error": reason}
        self.redis.set(Keys().transaction(name), orjson.dumps({**record, "transaction": transaction}))
        self.redis.zadd(Keys().failed, {name: self.redis.time()[0]})
        self.redis.hincrby(Keys().totals, "accepted", 1)
        self.redis.hincrby(Keys().totals, "failed", 1)

    def plant_retrying(self, name: str, *, query: str = "") -> None:
        """A callback whose last attempt failed, and whose next one is in an hour."""
        keys, now_ms = Keys(), self.redis.time()[0] * 1000
        host = "shop.example:443"
        event = {"type": "transaction.scored", "url": f"https://shop.example/hooks/riskline{query}", "body": "{}"}
        attempt = {"at": "2026-11-24T03:15:08.123Z", "status": None, "latency_ms": 3.5, "answer": None}
        kept = {"id": f"msg_{name}", "host": host, "event": orjson.dumps(event), "status": "pending", "tries": 1}
        kept |= {"due": now_ms + 3_600_000, "a1": orjson.dumps(attempt | {"error": "reset the connection"})}
        self.redis.hset(keys.callback(name), mapping=kept)
        self.redis.zadd(keys.callback_host_prefix + host, {name: now_ms + 3_600_000})
        self.redis.zadd(keys.callback_hosts, {host: now_ms + 3_600_000})
        self.redis.zadd(keys.callbacks, {name: now_ms})
        self.redis.hincrby(keys.totals, "callbacks_announced", 1)


@contextmanager
def site(data: Path, environment: Mapping[str, str], *, demo: bool = False) -> Iterator[Site]:
    """An installation with keys, two versions of a model (or the demo's), and a receiver that refuses."""
    secrets = {}
    for scope in ("admin", "read"):
        made = riskline(
            "keys", "new", "--name", scope, "--scope", scope, "--data", str(data), "--json", environment=environment
        )
        secrets[scope] = json.loads(made.stdout)["key"]
    models = {}
    if demo:
        # by itself, as training may take longer than a start is waited for
        ensure_model(load_settings(data=data), say=print)
    else:
        first, _ = write_forests(data / "two", 2, trees=5, depth=4)
        Registry(data / "two").activate(first)
        models = {"RISKLINE_MODELS": str(data / "two")}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    own = {
        "RISKLINE_CALLBACK_SECRET": new_secret(),
        "RISKLINE_CALLBACK_ALLOW": "127.0.0.1/32",
        "RISKLINE_CALLBACK_SCHEDULE": "0,0.1",
        **models,
    }
    try:
        with RunningUp(data, environment={**environment, **own}) as up:
            yield Site(up, secrets, f"http://127.0.0.1:{server.server_port}/hook")
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium of this machine; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("there is no chromium on the PATH (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        # root has no sandbox in a container
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def signed_in(browser: Browser, site: Site, *, scope: str = "admin", **options: Any) -> BrowserContext:
    """A browser's profile with a session of its own."""
    context = browser.new_context(base_url=site.url, **options)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto("/console/sign-in")
    page.fill("#key", site.secrets[scope])
    page.click("main button")
    assert page.url == f"{site.url}/console", page.text_content("main")
    page.close()
    return context


def shown_number(page: Page, selector: str) -> int:
    """A number as a page shows it."""
    digits = re.sub(r"\D", "", page.text_content(selector) or "")
    return int(digits) if digits else -1
