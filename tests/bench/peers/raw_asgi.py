"""No framework at all: what the server itself can do."""

from typing import Any

from tests.bench.peers.falcon_constant import DECISION

HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(DECISION)).encode())]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Reads the body's one piece and answers a constant."""
    if scope["type"] != "http":
        return
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": DECISION})
