"""The files that the console's pages load, all from the package."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import falcon
import falcon.asgi

from ingest.console.guard import ConsolePage

STATIC_DIR = Path(__file__).parent / "static"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


class Assets(ConsolePage):
    """GET /console/static/{name}."""

    is_open = True

    def __init__(self) -> None:
        found = {path.name: path.read_bytes() for path in STATIC_DIR.iterdir() if path.suffix in TYPES}
        self._files: Mapping[str, tuple[bytes, falcon.ETag]] = {
            name: (data, falcon.ETag(sha256(data).hexdigest()[:32])) for name, data in found.items()
        }

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, name: str) -> None:
        """200 and the file, 304 where the browser has it, 404 where there is none of this name."""
        if name not in self._files:
            raise falcon.HTTPNotFound
        data, tag = self._files[name]
        resp.set_headers({"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"})
        resp.etag = tag
        if tag in (req.if_none_match or ()):
            resp.status = falcon.HTTP_304
            return
        resp.data = data
        resp.content_type = TYPES[Path(name).suffix]
