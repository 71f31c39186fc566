"""Files of the package that pages load."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import falcon
import falcon.asgi


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a page loads."""

    path: Path
    content_type: str


async def send_asset(
    assets: Mapping[str, Asset], name: str, req: falcon.asgi.Request, resp: falcon.asgi.Response
) -> None:
    """Answers 200 and the file, or 304 where the browser has it.

    Raises:
        HTTPNotFound: there is none of this name.
    """
    if name not in assets:
        raise falcon.HTTPNotFound
    asset = assets[name]
    data, tag = await asyncio.to_thread(_read, asset.path)
    resp.set_headers({"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"})
    resp.etag = tag
    if tag in (req.if_none_match or ()):
        resp.status = falcon.HTTP_304
        return
    resp.data = data
    resp.content_type = asset.content_type


@cache
def _read(path: Path) -> tuple[bytes, falcon.ETag]:
    """A file and its tag; read when a page first asks for it, since most processes never serve one."""
    data = path.read_bytes()
    return data, falcon.ETag(sha256(data).hexdigest()[:32])
