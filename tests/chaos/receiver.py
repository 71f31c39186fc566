"""A receiver of callbacks as there are real ones: mostly it works, at times it fails, is slow, hangs or is away."""

import asyncio
import random
import socket
import threading
import time
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from standardwebhooks import Webhook, WebhookVerificationError

from riskline.shared.webhooks.signing import ID

HOST = "127.0.0.1"

CALL_SECONDS = 10.0

FAILS = 0.04
CLOSES = 0.03
IS_SLOW = 0.03
"""Shares of the requests that are answered 500, not at all, and late; for as long as there are faults."""

SLOW_SECONDS = 1.0

CALLED_BACK = 0.5
"""The share of the transactions that have a callback."""

DEAD = 0.03
LONELY = 0.006
"""Of the callbacks, those to the host that never answers, and those to one that never answers and gets nothing else."""

LONELY_HOSTS = 24
"""They take turns, so that a callback has used up its attempts before its host's gate closes: it takes 10 failures."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that came, and what the receiver made of it."""

    at: float
    message_id: str
    body: bytes
    problem: str | None
    """Why it cannot be taken for ours."""
    taken: bool
    """Whether it was answered that all is well: then it is delivered, unless that is lost on its way."""


class Receiver:
    """Listens in a thread of its own; the faults are set by calls from any thread."""

    def __init__(self, *, port: int, secret: str, seed: int) -> None:
        self.port = port
        self._arrivals: dict[str, list[Arrival]] = {}
        self.strange: list[str] = []
        """What came that is no event of a transaction."""
        self.misbehaves = True
        self._webhook = Webhook(secret)
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._answering = asyncio.Event()
        self._answering.set()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)

    def start(self) -> None:
        """Returns once it listens."""
        self._thread.start()
        self.come_back()

    def close(self) -> None:
        """Closes every connection and ends the thread."""
        if not self._thread.is_alive():
            return
        self.thaw()
        self.go_away()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    def go_away(self) -> None:
        """Resets every connection, and refuses new ones."""

        async def leave() -> None:
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in list(self._writers):
                writer.transport.abort()
            # those who served them see to it before the loop ends
            await asyncio.sleep(0)

        self._do(leave())

    def come_back(self) -> None:
        """Listens (again)."""

        async def listen() -> None:
            if self._server is None:
                self._server = await asyncio.start_server(self._serve, HOST, self.port, backlog=1000)

        self._do(listen())

    def freeze(self) -> None:
        """Takes requests, and answers none before `thaw`."""
        self._loop.call_soon_threadsafe(self._answering.clear)

    def thaw(self) -> None:
        """Answers again, also who may have given up."""
        self._loop.call_soon_threadsafe(self._answering.set)

    def heal(self) -> None:
        """From here on it is as good a receiver as there can be."""
        self.misbehaves = False
        self.thaw()
        self.come_back()

    def arrivals_now(self) -> dict[str, list[Arrival]]:
        """What came until now, by transaction, each in its order."""
        now: dict[str, list[Arrival]] = {}

        async def copy() -> None:
            now.update({id_: list(found) for id_, found in self._arrivals.items()})

        self._do(copy())
        return now

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        # delivery workers are killed and stopped: their connections end in every way
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._serve_one(reader, writer):
                pass
        self._writers.discard(writer)
        writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")[1:]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        body = await reader.readexactly(int(headers["content-length"]))
        await self._answering.wait()
        mood = self._rng.random() if self.misbehaves else 1.0
        status = HTTPStatus.NO_CONTENT
        if mood < FAILS:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        elif mood < FAILS + CLOSES:
            self._note(headers, body, taken=False)
            return False
        elif mood < FAILS + CLOSES + IS_SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        taken = status == HTTPStatus.NO_CONTENT and not writer.is_closing()
        # before the answer: nobody may know of a delivery that is not in this book
        self._note(headers, body, taken=taken)
        length = "" if status == HTTPStatus.NO_CONTENT else "Content-Length: 0\r\n"
        writer.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{length}\r\n".encode())
        await writer.drain()
        return True

    def _note(self, headers: dict[str, str], body: bytes, *, taken: bool) -> None:
        problem = None
        try:
            self._webhook.verify(body, headers)
        except (WebhookVerificationError, ValueError) as error:
            problem = f"it does not verify: {error}"
        try:
            transaction_id = str(orjson.loads(body)["data"]["transaction_id"])
        except (ValueError, KeyError, TypeError):
            self.strange.append(f"a request that is no event: {body[:300]!r}")
            return
        arrival = Arrival(time.time(), headers.get(ID, ""), body, problem, taken)
        self._arrivals.setdefault(transaction_id, []).append(arrival)


class Destinations:
    """Where callbacks are to go: the receiver that lives, a host that never answers, and some that hardly get any."""

    def __init__(self, *, live: int, dead: int) -> None:
        self.live = f"{HOST}:{live}"
        self.dead = f"{HOST}:{dead}"
        self._reserved = ExitStack()
        self._reserve(dead)
        self.lonely = [f"{HOST}:{self._reserve(0)}" for _ in range(LONELY_HOSTS)]
        self._turn = 0

    def _reserve(self, port: int) -> int:
        # bound and never listening: connections are refused, and nobody else can have the port
        holder = self._reserved.enter_context(socket.socket())
        holder.bind((HOST, port))
        return int(holder.getsockname()[1])

    def close(self) -> None:
        """Lets go of the ports."""
        self._reserved.close()

    def choose(self, rng: random.Random) -> str | None:
        """The callback_url of a new transaction; None where it has none."""
        if rng.random() >= CALLED_BACK:
            return None
        number = rng.random()
        host = self.live
        if number < DEAD:
            host = self.dead
        elif number < DEAD + LONELY:
            host = self.lonely[self._turn % len(self.lonely)]
            self._turn += 1
        return url_at(host)


def url_at(host: str) -> str:
    """The URL at which a host takes callbacks, in its one spelling."""
    return f"http://{host}/callbacks"
