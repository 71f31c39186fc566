"""`python -m tests.bench.receiver PORT… [--seconds S] [--dead PORT]`: receivers of callbacks that cost next to nothing.

Each answers 204 after so many seconds; a dead one takes connections and requests and never answers. GET /count says how
many different `webhook-id`s have come to that port, and how many requests.
"""

import argparse
import asyncio
from functools import partial

import uvloop

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver(asyncio.Protocol):
    """One connection; requests come one after the other, each with a Content-Length."""

    def __init__(self, seen: dict[str, int], seconds: float) -> None:
        self._seen = seen
        self._seconds = seconds
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET"):
            self._data = b""
            text = f"{len(self._seen)} {sum(self._seen.values())}".encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
            return
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(headers[b"content-length"])
        if len(rest) >= length:
            self._data = rest[length:]
            message = headers[b"webhook-id"].decode()
            self._seen[message] = self._seen.get(message, 0) + 1
            if self._seconds >= 0:
                asyncio.get_running_loop().call_later(self._seconds, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)


async def serve(ports: list[int], seconds: float, dead: list[int]) -> None:
    """Receives until it is ended."""
    loop = asyncio.get_running_loop()
    for port in ports:
        receiver = partial(Receiver, {}, -1.0 if port in dead else seconds)
        await loop.create_server(receiver, "127.0.0.1", port, backlog=1024)
    await asyncio.Event().wait()


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser(prog="python -m tests.bench.receiver")
    options.add_argument("ports", type=int, nargs="+")
    options.add_argument("--seconds", type=float, default=0.2)
    options.add_argument("--dead", type=int, nargs="*", default=[])
    given = options.parse_args()
    uvloop.run(serve(given.ports, given.seconds, given.dead))


if __name__ == "__main__":
    main()
