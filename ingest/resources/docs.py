"""The OpenAPI document, a page to browse it that needs no other host, and one for each type of problem."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import falcon
import falcon.asgi
import orjson

from riskline.ingest.problems.pages import all_pages, page
from riskline.ingest.problems.problem import PAGES_PATH
from riskline.ingest.problems.types import TYPES
from riskline.ingest.resources.static_files import Asset, send_asset

STATIC_DIR = Path(__file__).parent.parent / "static"
UI_PACKAGE = "offapi"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

ROOT_WORDS = """Riskline
  /docs          all calls, with their answers
  /console       the operators' page
  /health/ready  whether it can decide and queue, and what is missing
  /metrics       for Prometheus
"""


class OpenApiResource:
    """GET /openapi.json."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._encoded = orjson.dumps(document)

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 and the document; behind a path prefix it names that as its server."""
        resp.data = self._encoded
        if req.root_path:
            resp.data = orjson.dumps({**self._document, "servers": [{"url": req.root_path}]})


class RootResource:
    """GET /: leads a browser to the documentation."""

    answers_json = False

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """303 to the page of all calls; the body lists the others."""
        resp.status = falcon.HTTP_303
        resp.location = f"{req.root_path}/docs"
        resp.content_type = "text/plain; charset=utf-8"
        resp.text = ROOT_WORDS


class DocsResource:
    """GET /docs and GET /docs/assets/{name}."""

    answers_json = False

    def __init__(self, *, index: Path, assets: dict[str, Asset]) -> None:
        self._page = index.read_bytes()
        self._assets = assets

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 and the page."""
        resp.data = self._page
        resp.content_type = "text/html; charset=utf-8"
        resp.set_headers({"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"})

    async def on_get_asset(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, name: str) -> None:
        """200 and the file, 304 where the browser has it, 404 where the page has none of this name."""
        await send_asset(self._assets, name, req, resp)


class ProblemPagesResource:
    """GET /docs/problems and GET /docs/problems/{name}: Markdown, as readable in a terminal as in a browser."""

    answers_json = False

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """200 and all pages."""
        _show(resp, all_pages())

    async def on_get_page(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response, name: str) -> None:
        """200 and the page of a type, 404 where there is none of this name."""
        if name not in TYPES:
            raise falcon.HTTPNotFound
        _show(resp, page(name))


def _show(resp: falcon.asgi.Response, markdown: str) -> None:
    resp.text = markdown
    # browsers save text/markdown instead of showing it
    resp.content_type = "text/plain; charset=utf-8"
    resp.set_header("X-Content-Type-Options", "nosniff")


def _ui_dir() -> Path:
    """The directory of the user interface's files. Importing the package would load 40 MB of them."""
    spec = find_spec(UI_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the package {UI_PACKAGE} of the page /docs is not installed", name=UI_PACKAGE)
    return Path(spec.origin).parent


def add_docs_routes(app: Any, document: dict[str, Any]) -> None:
    """Serves the document at /openapi.json, its page at /docs, and the pages of problems below that."""
    ui_dir = _ui_dir()
    docs = DocsResource(
        index=STATIC_DIR / "docs.html",
        assets={
            "docs.js": Asset(STATIC_DIR / "docs.js", "text/javascript; charset=utf-8"),
            "swagger-ui-bundle.js": Asset(ui_dir / "swagger_bundle.js", "text/javascript; charset=utf-8"),
            "swagger-ui.css": Asset(ui_dir / "swagger_style.css", "text/css; charset=utf-8"),
        },
    )
    app.add_route("/", RootResource())
    app.add_route("/openapi.json", OpenApiResource(document))
    app.add_route("/docs", docs)
    app.add_route("/docs/assets/{name}", docs, suffix="asset")
    pages = ProblemPagesResource()
    app.add_route(PAGES_PATH, pages)
    app.add_route(f"{PAGES_PATH}/{{name}}", pages, suffix="page")
