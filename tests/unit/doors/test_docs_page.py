"""The page /docs loads nothing from another host, and everything it loads is there."""

import re
from html.parser import HTMLParser
from typing import Any

import falcon.asgi
import pytest
from falcon import testing

from riskline.ingest.openapi.document import build_openapi
from riskline.ingest.resources.docs import CONTENT_SECURITY_POLICY, STATIC_DIR, add_docs_routes
from riskline.shared.domain.transaction import Transaction

DOCUMENT = build_openapi(Transaction, version="1.2.3")


class Loaded(HTMLParser):
    """Collects what a page loads, and the scripts written into it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get("href") if tag == "link" else given.get("src")
        if address and not address.startswith("data:"):
            self.addresses.append(address)
        self._in_script = tag in ("script", "style")
        self.inline += [name for name in given if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data)


@pytest.fixture
def client() -> Any:
    app = falcon.asgi.App()
    add_docs_routes(app, DOCUMENT)
    return testing.TestClient(app)


def test_everything_the_page_loads_is_served_from_here(client: Any) -> None:
    page = client.simulate_get("/docs")

    loaded = Loaded(page.text)
    assert page.headers["content-type"].startswith("text/html")
    assert len(loaded.addresses) == 3
    for address in loaded.addresses:
        assert not re.match(r"[a-z]+:|//", address)
        asset = client.simulate_get(f"/{address}")
        assert (asset.status_code, asset.headers["x-content-type-options"]) == (200, "nosniff")
        assert asset.headers["content-type"].startswith("text/css" if address.endswith(".css") else "text/javascript")
        assert len(asset.content) > 100


def test_the_policy_lets_the_page_reach_no_other_host_and_run_no_inline_code(client: Any) -> None:
    page = client.simulate_get("/docs")

    policy = page.headers["content-security-policy"]
    assert policy == CONTENT_SECURITY_POLICY
    assert policy.startswith("default-src 'none'; script-src 'self';")
    sources = {source for directive in policy.split("; ") for source in directive.split()[1:]}
    assert sources == {"'none'", "'self'", "data:"}
    assert Loaded(page.text).inline == []


def test_neither_the_initialiser_nor_the_stylesheet_names_another_host(client: Any) -> None:
    stylesheet = client.simulate_get("/docs/assets/swagger-ui.css").text

    assert not re.search(r"//[a-z0-9-]+\.", (STATIC_DIR / "docs.js").read_text(encoding="utf-8"))
    assert "@import" not in stylesheet
    assert not re.search(r"url\(['\"]?(https?:)?//", stylesheet)


def test_the_page_is_made_from_the_document_that_is_served(client: Any) -> None:
    assert client.simulate_get("/openapi.json").json == DOCUMENT
    assert "openapi.json" in client.simulate_get("/docs/assets/docs.js").text


def test_behind_a_path_prefix_the_document_names_it_as_its_server(client: Any) -> None:
    assert client.simulate_get("/openapi.json", root_path="/fraud").json["servers"] == [{"url": "/fraud"}]


def test_a_browser_that_has_an_asset_is_not_sent_it_again(client: Any) -> None:
    tag = client.simulate_get("/docs/assets/docs.js").headers["etag"]

    again = client.simulate_get("/docs/assets/docs.js", headers={"If-None-Match": tag})

    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["docs.html", "redoc.js", "__init__.py", "..%2Fdocs.py", "%2e%2e", ""])
def test_nothing_but_the_pages_own_assets_is_served(client: Any, name: str) -> None:
    assert client.simulate_get(f"/docs/assets/{name}").status_code == 404


def test_the_bare_address_leads_to_the_page_of_all_calls_and_says_what_else_there_is(client: Any) -> None:
    answer = client.simulate_get("/")

    assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
    assert client.simulate_get(answer.headers["location"]).status_code == 200
    assert all(path in answer.text for path in ("/docs", "/console", "/health/ready", "/metrics"))
