"""A fuzzer of raw bytes: `python -m tests.bench.rawfuzz --requests 100000 --seed 1` against an API of its own.

It knows what HTTP and a transaction look like and breaks both, over plain sockets: bad request lines, heads and chunks,
truncated, deeply nested and huge JSON, invalid UTF-8, requests behind each other, pieces cut anywhere, connections that
end anywhere. Whatever it sends, an answer must be one that the documentation knows, and the process must go on.
"""

import argparse
import asyncio
import os
import random
import re
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from riskline.ingest.problems.problem import TYPE_PREFIX
from riskline.ingest.problems.types import PROBLEMS, REFUSALS
from tests.integration.apis import RunningApi
from tests.integration.conftest import write_stump
from tests.integration.running import OwnRedis
from tests.support.factories import transaction_json

AT_A_TIME = 32
ANSWER_SECONDS = 0.05
"""How long more may come; most of what is broken has no answer until more of it comes."""

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Z]")
TYPES = re.compile(rb'"type":"([^"]+)","title"')
KNOWN = {TYPE_PREFIX + name for name in (*PROBLEMS, *REFUSALS, "not-found", "method-not-allowed")}
UNAVAILABLE = {TYPE_PREFIX + name for name, (status, *_) in {**PROBLEMS, **REFUSALS}.items() if status == 503}

METHODS = (b"POST",) * 6 + (b"GET",) * 3 + (b"HEAD", b"OPTIONS", b"PUT", b"TRACE", b"CONNECT", b"PROPFIND", b"FOO", b"")
PATHS = (b"/score-transaction", b"/transactions", b"/transactions/batch", b"/transactions/a", b"/decisions", b"/health")
PATHS += (b"/health/ready", b"/metrics", b"/docs", b"/openapi.json", b"/%00", b"/..%2f", b"*", b"//", b"/\xc3\xa9", b"")
QUERIES = (b"",) * 4 + (
    b"?explain=true",
    b"?wait=0.01",
    b"?wait=nan",
    b"?after=9-9&limit=1",
    b"?limit=-1",
    b"?a=%zz&&=",
)
VERSIONS = (b"HTTP/1.1",) * 12 + (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.", b"http/1.1", b"")
TYPES_SENT = (b"application/json",) * 8 + (
    b"application/x-ndjson",
    b"text/plain",
    b"application/json; charset=\xff",
    b"",
)
NUMBERS = (
    b"1e999",
    b"-1e999",
    b"9" * 400,
    b"1" + b"0" * 5000,
    b"0.1e-400",
    b"NaN",
    b"-0",
    b"1e308",
    b"00",
    b"\xd9\xa1",
)
NOISE = (
    *(
        b"X-Request-ID: mine",
        b"Expect: 100-continue",
        b"Expect: x",
        b"Prefer: wait=0",
        b"Connection: close",
        b"Upgrade: h2c",
    ),
    *(
        b"Connection: upgrade",
        b"Transfer-Encoding: chunked",
        b"Content-Length: 5",
        b"Accept: text/html",
        b"Origin: null",
    ),
    *(
        b"Accept: */*",
        b"A b: c",
        b": c",
        b" folded",
        b"X: \x00",
        b"X: \xff\xfe",
        b"Content-Encoding: gzip",
        b"Range: bytes=0-",
    ),
    *(b"traceparent: 00-x", b"Host: b", b"X-Forwarded-For: ::1", b"Cookie: " + b"c" * 3000, b"Content-Length: +1"),
)


def body_of(chance: random.Random) -> bytes:  # noqa: C901, PLR0911  # a list of kinds, one a line or two
    """A body that is a transaction, or nearly one, or nothing of the kind."""
    one = orjson.dumps(transaction_json(transaction_id=f"f-{chance.getrandbits(40):x}"))
    kind = chance.randrange(12)
    if kind == 0:
        return one[: chance.randrange(len(one))]
    if kind == 1:
        deep = chance.choice((10, 199, 201, 5_000, 30_000))
        return chance.choice((b"[" * deep, b'{"amount":' * (deep // 3), b'{"x":' + b"[" * deep + b"]" * deep + b"}"))
    if kind == 2:
        return re.sub(rb"(?<=:)[0-9.]+", lambda _: chance.choice(NUMBERS), one)
    if kind == 3:
        at = chance.randrange(len(one))
        return (
            one[:at]
            + chance.choice((b"\xff", b"\xed\xa0\x80", b"\x00", b"\\ud800", b"\xf8\x88", b"\xef\xbb\xbf"))
            + one[at:]
        )
    if kind == 4:
        return chance.randbytes(chance.choice((0, 1, 50, 3_000, 70_000)))
    if kind == 5:
        return b"[" + b",".join([one] * chance.randrange(40)) + chance.choice((b"]", b",]", b"", b"]]"))
    if kind == 6:
        return b"\n".join([one] * chance.randrange(40))
    if kind == 7:
        return one.replace(b"{", b'{"callback_url":"http://127.0.0.1/",', 1)
    if kind == 8:
        mutable = bytearray(one)
        for _ in range(chance.randrange(1, 5)):
            mutable[chance.randrange(len(mutable))] = chance.randrange(256)
        return bytes(mutable)
    return one


def chunked(chance: random.Random, body: bytes) -> bytes:
    """A body in chunks, sometimes broken."""
    parts = []
    while body:
        size = chance.randint(1, max(1, len(body)))
        parts.append(b"%x\r\n%b\r\n" % (size if chance.random() < 0.95 else size + 1, body[:size]))
        body = body[size:]
    last = (b"0\r\n\r\n",) * 8 + (b"0\r\nX: y\r\n\r\n", b"zz\r\n", b"0\r\n", b"", b"-1\r\n\r\n", b"f" * 20 + b"\r\n")
    return b"".join([*parts, chance.choice(last)])


def request_of(chance: random.Random) -> bytes:
    """A request, or what is nearly one."""
    kind = chance.random()
    if kind < 0.02:
        return chance.randbytes(chance.randrange(200))
    body = body_of(chance)
    if kind < 0.5:
        path = chance.choice(PATHS[:3]) + chance.choice(QUERIES)
        if chance.random() < 0.2:
            head, body = b"Transfer-Encoding: chunked", chunked(chance, body)
        else:
            head = b"Content-Length: %d" % len(body)
        return b"POST " + path + b" HTTP/1.1\r\nContent-Type: application/json\r\n" + head + b"\r\n\r\n" + body
    lines = [
        b" ".join((chance.choice(METHODS), chance.choice(PATHS) + chance.choice(QUERIES), chance.choice(VERSIONS)))
    ]
    lines += [b"Host: localhost", b"Content-Type: " + chance.choice(TYPES_SENT)]
    if chance.random() < 0.3:
        lines += chance.choices(NOISE, k=chance.choice((1, 2, 5)))
    if chance.random() < 0.02:
        lines += [b"X-%d: y" % number for number in range(chance.choice((90, 120, 9_000)))]
    if chance.random() < 0.02:
        lines[0] = lines[0].replace(b"?", b"?" + b"q" * chance.choice((7_000, 9_000, 200_000)))
    if chance.random() < 0.25:
        lines.append(b"Transfer-Encoding: chunked")
        body = chunked(chance, body)
    elif chance.random() < 0.95:
        told = len(body) if chance.random() < 0.9 else chance.choice((0, len(body) + 7, len(body) // 2, 10**9, 10**30))
        lines.append(b"Content-Length: %d" % told)
    ending = b"\r\n" if chance.random() < 0.97 else chance.choice((b"\n", b"\r", b"\r\n\r\n"))
    return ending.join([*lines, b"", b""]) + body


def case_of(chance: random.Random) -> list[bytes]:
    """What is sent over one connection, in pieces."""
    data = b"".join(request_of(chance) for _ in range(chance.choice((1, 1, 1, 1, 2, 3, 8))))
    if chance.random() < 0.1:
        data = data[: chance.randrange(len(data) + 1)]
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 0, 1, 2, 6))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def send(port: int, pieces: list[bytes], *, patient: bool) -> bytes:
    """What came back for the pieces; an impatient client ends the connection as soon as it has sent them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    # no state of the connection is kept, which so many would fill the machine with
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    answer = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        while patient:
            more = await asyncio.wait_for(reader.read(1 << 20), ANSWER_SECONDS)
            answer += more
            patient = bool(more)
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return answer


def wrong_with(answer: bytes) -> str | None:
    """What is wrong with the answers to a case; None if they are as the documentation says."""
    types = {each.decode() for each in TYPES.findall(answer)}
    if types - KNOWN:
        return f"an unknown problem: {types - KNOWN}"
    if b"Traceback" in answer or b"text/plain; charset=utf-8\r\ncontent-length" in answer.partition(b"\r\n\r\n")[0]:
        return "an answer of the server's own"
    statuses = Counter(STATUS.findall(answer))
    if any(status[:1] == b"5" and status != b"503" for status in statuses):
        return "a 5xx"
    if statuses[b"503"] and not types & UNAVAILABLE:
        return "a 503 that is not declared"
    return None


async def fuzz(port: int, *, requests: int, seed: int) -> tuple[Counter[str], list[tuple[int, str, list[bytes]]]]:
    """Sends so many cases; how many answers of each status came, and the cases with wrong ones."""
    seen: Counter[str] = Counter()
    wrong: list[tuple[int, str, list[bytes]]] = []
    numbers = iter(range(requests))

    async def client() -> None:
        for number in numbers:
            chance = random.Random(f"{seed}-{number}")
            pieces = case_of(chance)
            answer = await send(port, pieces, patient=chance.random() < 0.9)
            seen.update(status.decode() for status in STATUS.findall(answer))
            if (what := wrong_with(answer)) is not None:
                wrong.append((number, what, pieces))

    await asyncio.gather(*(client() for _ in range(AT_A_TIME)))
    return seen, wrong


def run(api: RunningApi, *, requests: int, seed: int) -> dict[str, Any]:
    """Fuzzes an API: what was seen, and its memory after a tenth of the cases and after all."""
    began = time.monotonic()
    first, wrong = asyncio.run(fuzz(api.port, requests=requests // 10, seed=seed))
    early = api.resident_bytes
    rest, more_wrong = asyncio.run(fuzz(api.port, requests=requests - requests // 10, seed=seed + 1))
    return {
        "cases": requests,
        "seconds": round(time.monotonic() - began, 1),
        "alive": api.process.poll() is None,
        "statuses": dict(sorted((first + rest).items())),
        "rss_mb_early": round(early / 1e6, 1),
        "rss_mb_end": round(api.resident_bytes / 1e6, 1),
        "wrong": [f"{number}: {what}: {b''.join(pieces)[:300]!r}" for number, what, pieces in (*wrong, *more_wrong)],
    }


def main() -> int:
    """Starts an API with a Redis of its own and fuzzes it."""
    options = argparse.ArgumentParser(prog="python -m tests.bench.rawfuzz")
    options.add_argument("--requests", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        redis = OwnRedis(Path(directory) / "redis")
        write_stump(Path(directory) / "models")
        environment = {**os.environ, "RISKLINE_MODELS": f"{directory}/models", "RISKLINE_LOG_LEVEL": "WARNING"}
        try:
            with RunningApi(redis.url, environment=environment) as api:
                figures = run(api, requests=chosen.requests, seed=chosen.seed)
                errors = [line for line in api.lines if '"level": "error"' in line or "Traceback" in line]
        finally:
            redis.stop()
    figures["errors_logged"] = len(errors)
    print(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
    print(*errors[:5], sep="", file=sys.stderr)
    return 1 if figures["wrong"] or errors or not figures["alive"] else 0


if __name__ == "__main__":
    sys.exit(main())
