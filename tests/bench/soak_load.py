"""What clients do in a soak, all of it at once, from a process of its own."""

import asyncio
import multiprocessing
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import uvloop

from tests.bench.processes import BenchError

TELL_SECONDS, ANSWER_SECONDS = 0.5, 10.0

CONNECTIONS = 16
"""Few, so that at a low rate none idles until the API closes it."""

ROW = (
    '{{"transaction_id":"%s%09d-{0:02d}","amount":{1},"merchant_category_code":5411,"customer_age":{2},'
    '"distance_from_home":12.5,"is_online_transaction":1}}'
)
JSON, LINES = "Content-Type: application/json\r\n", "Content-Type: application/x-ndjson\r\n"
GET = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"
NEXT, LENGTH = re.compile(rb'"next":"([^"]+)"}$'), re.compile(rb"content-length: *(\d+)", re.IGNORECASE)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Kind:
    """A request: its share of all, how many transactions it has, and what it may be answered."""

    name: str
    share: float
    path: str
    rows: int = 1
    good: tuple[int, ...] = (200,)
    headers: str = JSON

    def template(self) -> str:
        """The request; wants what the ids begin with and a number, once a row."""
        if not self.rows:
            return GET.format(self.path)
        # amounts of which some are declined, and so explained
        body = "\n".join(ROW.format(i, 1 + 130 * (i % 10), 18 + i) for i in range(self.rows))
        length = len(body % (("s", 0) * self.rows))
        return f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\n{self.headers}Content-Length: {length}\r\n\r\n{body}"


KINDS = (
    Kind("batch", 0.02, "/transactions/batch", 100, (202,), LINES),
    Kind("single", 0.45, "/transactions", good=(202,)),
    Kind("score", 0.29, "/score-transaction"),
    Kind("wait", 0.08, "/transactions", good=(200, 202), headers=f"{JSON}Prefer: wait=5\r\n"),
    Kind("poll", 0.14, "/transactions/%s", rows=0),
    Kind("visit", 0.01, "/score-transaction?explain=true"),
    Kind("leave", 0.01, "/transactions", good=()),
)
ANSWERS = {"transactions", "feed", "feed 410", "closed while idle", *(kind.name for kind in KINDS)}
PER_REQUEST = sum(kind.share * kind.rows for kind in KINDS if kind.good)


class Load:
    """Clients on keep-alive connections and some that come and go, at a rate or as fast as they are answered."""

    def __init__(self, *, port: int, prefix: str, per_second: float | None) -> None:
        self.counts: Counter[str] = Counter()
        self._port = port
        self._prefix = prefix
        self._pause_seconds = PER_REQUEST / per_second if per_second else 0.0
        self._next_at = time.monotonic()
        self._number = 0
        self._known_id = ""
        self._templates = {kind: kind.template() for kind in KINDS}
        self._rng = random.Random(prefix)

    async def run(self, *, seconds: float, tell: Callable[[Counter[str]], None]) -> None:
        """Returns when the time is over and every client has its answer."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._client(until))
            group.create_task(self._follow(until))
            while time.monotonic() < until:
                await asyncio.sleep(TELL_SECONDS)
                tell(self.counts)
        tell(self.counts)

    async def _client(self, until: float) -> None:
        streams = await self._connect()
        while (at := self._slot()) < until:
            await asyncio.sleep(at - time.monotonic())
            kind = self._rng.choices(KINDS, [each.share for each in KINDS])[0]
            # where there is nothing to poll for yet, it submits
            kind = KINDS[1] if kind.name == "poll" and not self._known_id else kind
            try:
                if kind.name in ("visit", "leave"):
                    await self._visit(kind)
                    continue
                if streams[0].at_eof():
                    self.counts["closed while idle"] += 1
                    streams = await self._connect()
                await self._ask(streams, kind)
            except (OSError, EOFError, TimeoutError) as error:
                self.counts[f"error: {kind.name} {error!r}"] += 1
                streams[1].close()
                streams = await self._connect()
        streams[1].close()

    def _slot(self) -> float:
        """When the next request is due; of what is missed only the last second is made up for."""
        now = time.monotonic()
        self._next_at = max(self._next_at + self._pause_seconds * self._rng.uniform(0.5, 1.5), now - 1)
        return max(self._next_at, now) if self._pause_seconds else now

    async def _connect(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _visit(self, kind: Kind) -> None:
        """A connection for one request, or for a part of one."""
        streams = await self._connect()
        if kind.good:
            await self._ask(streams, kind)
        else:
            request = self._request(kind)
            streams[1].write(request[: self._rng.randrange(len(request))])
            self.counts[kind.name] += 1
        streams[1].close()

    def _request(self, kind: Kind) -> bytes:
        if not kind.rows:
            return (self._templates[kind] % self._known_id).encode()
        self._number += 1
        return (self._templates[kind] % ((self._prefix, self._number) * kind.rows)).encode()

    async def _ask(self, streams: Streams, kind: Kind) -> None:
        request = self._request(kind)
        first_id = f"{self._prefix}{self._number:09d}-00"
        status, body = await answer(streams, request)
        if status in kind.good and (kind.name != "batch" or b'"refused":0' in body):
            self.counts[kind.name] += 1
            self.counts["transactions"] += kind.rows
            self._known_id = first_id if kind.name in ("single", "batch") else self._known_id
        else:
            self._complain(kind.name, status, body)

    async def _follow(self, until: float) -> None:
        """Who reads the feed; 410 is for one that is slower than the feed is long, as the trial may make it."""
        streams, after = await self._connect(), "latest"
        while time.monotonic() < until:
            status, page = await answer(streams, GET.format(f"/decisions?after={after}&wait=1").encode())
            if status not in (200, 410):
                self._complain("feed", status, page)
            self.counts["feed 410" if status == 410 else "feed"] += 1
            found = NEXT.search(page)
            after = found[1].decode() if found else "latest"
        streams[1].close()

    def _complain(self, name: str, status: int, body: bytes) -> None:
        self.counts["503" if status == 503 else f"error: {name} {status} {body[:160].decode(errors='replace')}"] += 1


async def answer(streams: Streams, request: bytes) -> tuple[int, bytes]:
    """Status and body."""
    async with asyncio.timeout(ANSWER_SECONDS):
        streams[1].write(request)
        head = await streams[0].readuntil(b"\r\n\r\n")
        found = LENGTH.search(head)
        return int(head[9:12]), await streams[0].readexactly(int(found[1]) if found else 0)


def generate(pipe: Connection, port: int, prefix: str, seconds: float, per_second: float | None) -> None:
    """The process of the load."""
    # Ctrl-C is for the one who started it, which ends it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = Load(port=port, prefix=prefix, per_second=per_second)
        runner.run(load.run(seconds=seconds, tell=pipe.send))


@contextmanager
def generating(
    port: int, prefix: str, *, seconds: float, per_second: float | None = None
) -> Iterator[Callable[[float], Counter[str]]]:
    """Drives the load beside the block; gives what waits until it ends, or so many seconds, and says the counts."""
    spawn = multiprocessing.get_context("spawn")
    pipe, others = spawn.Pipe(duplex=False)
    process = spawn.Process(target=generate, args=(others, port, prefix, seconds, per_second), daemon=True)
    process.start()
    counts: Counter[str] = Counter()

    def wait(wait_seconds: float) -> Counter[str]:
        nonlocal counts
        process.join(wait_seconds)
        while pipe.poll():
            counts = pipe.recv()
        if process.exitcode:
            raise BenchError(f"the load generator ended with {process.exitcode}; what it said is above")
        return counts

    try:
        yield wait
    finally:
        process.terminate()
        process.join()
