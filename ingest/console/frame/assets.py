"""The files that the console's pages load, all from the package."""

from pathlib import Path

import falcon.asgi

from riskline.ingest.console.frame.guard import ConsolePage
from riskline.ingest.resources.static_files import Asset, send_asset

STATIC_DIR = Path(__file__).parents[1] / "static"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


class Assets(ConsolePage):
    """GET /console/static/{name}."""

    is_open = True

    def __init__(self) -> None:
        self._assets = {
            path.name: Asset(path, TYPES[path.suffix]) for path in STATIC_DIR.iterdir() if path.suffix in TYPES
        }

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, name: str) -> None:
        """200 and the file, 304 where the browser has it, 404 where there is none of this name."""
        await send_asset(self._assets, name, req, resp)
