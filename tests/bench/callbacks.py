"""`python -m tests.bench.callbacks`: how fast callbacks are delivered, and what that costs the others.

10,000 transactions with a callback, submitted at once to `riskline up`; the receivers answer after 200 ms. To one; to
ten; to ten of which one takes requests and never answers. Then how fast transactions without callbacks are accepted and
decided, by themselves and while callbacks are delivered, by turns.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
from redis import Redis

from riskline.shared.store.keys import Keys
from riskline.shared.webhooks.signing import new_secret
from tests.integration.conftest import write_stump
from tests.integration.running import RunningUp, eventually
from tests.integration.servers import free_ports
from tests.support.factories import transaction_json

ROWS = 10_000
RECEIVER_SECONDS = 0.2
LONGEST_SECONDS = 120.0
ROUNDS = 3
BACKLOG = 40_000
"""Transactions without a callback of which it is timed how fast they are drained."""


@contextmanager
def receivers(ports: Sequence[int], *, dead: Sequence[int] = ()) -> Iterator[None]:
    """The receivers, in a process of their own."""
    words = [sys.executable, "-m", "tests.bench.receiver", *map(str, ports), "--seconds", str(RECEIVER_SECONDS)]
    with subprocess.Popen([*words, *(("--dead", *map(str, dead)) if dead else ())]) as process:
        try:
            eventually(lambda: is_up(ports[-1]))
            yield
        finally:
            process.kill()


def is_up(port: int) -> bool:
    """Whether a receiver answers."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/count").is_success
    except httpx.HTTPError:
        return False


def submit(url: str, name: str, ports: Sequence[int]) -> None:
    """ROWS transactions, their callbacks to the receivers by turns."""
    rows = [
        transaction_json(transaction_id=f"{name}-{i}", callback_url=f"http://127.0.0.1:{ports[i % len(ports)]}/hook")
        for i in range(ROWS)
    ]
    httpx.post(f"{url}/transactions/batch", json=rows, timeout=60).raise_for_status()


def delivered_after(url: str, redis: Redis, name: str, ports: Sequence[int], *, dead: Sequence[int] = ()) -> float:
    """Seconds from the submission until each receiver that lives has answered all that is for it."""
    left = redis.zcard(Keys().callbacks) + ROWS * len(dead) // len(ports)
    with receivers(ports, dead=dead):
        began = time.monotonic()
        submit(url, name, ports)
        eventually(
            lambda: redis.zcard(Keys().undecided) == 0 and redis.zcard(Keys().callbacks) == left,
            seconds=LONGEST_SECONDS,
        )
        return time.monotonic() - began


def drained_per_second(url: str, redis: Redis, name: str) -> float:
    """How fast transactions without callbacks are accepted and decided, from the first request to the last decision."""
    began = time.monotonic()
    for part in range(BACKLOG // ROWS):
        rows = [transaction_json(transaction_id=f"{name}-{part}-{i}") for i in range(ROWS)]
        httpx.post(f"{url}/transactions/batch", json=rows, timeout=60).raise_for_status()
    eventually(lambda: redis.zcard(Keys().undecided) == 0, seconds=LONGEST_SECONDS)
    return BACKLOG / (time.monotonic() - began)


def main() -> None:
    """Measures, and prints."""
    ports = free_ports(11)
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # a socket's path must be short
        write_stump(Path(directory) / "models")
        environment = {
            **os.environ,
            "RISKLINE_MODELS": str(Path(directory) / "models"),
            "RISKLINE_CALLBACK_SECRET": new_secret(),
            "RISKLINE_CALLBACK_ALLOW": "127.0.0.1/32",
            "RISKLINE_LOG_LEVEL": "ERROR",
        }
        with RunningUp(Path(directory), environment=environment) as up:
            url = f"http://127.0.0.1:{up.state['port']}"
            with Redis.from_url(up.state["redis_url"]) as redis:
                for turn in range(ROUNDS):
                    one = delivered_after(url, redis, f"one-{turn}", ports[:1])
                    ten = delivered_after(url, redis, f"ten-{turn}", ports[:10])
                    # what is left for the dead one is tried again, and fails, in the rounds to come, too
                    nine = delivered_after(url, redis, f"nine-{turn}", ports[1:], dead=ports[-1:])
                    took = f"one receiver {one:.1f} s, ten {ten:.1f} s, nine beside a dead one {nine:.1f} s"
                    print(f"{ROWS:,} callbacks: {took}", flush=True)
                dead = redis.zcard(Keys().callbacks)
                rates: dict[str, list[float]] = {"alone": [], "beside": []}
                for turn in range(ROUNDS):
                    rates["alone"].append(drained_per_second(url, redis, f"alone-{turn}"))
                    with receivers(ports[:1]):
                        submit(url, f"called-{turn}", ports[:1])
                        eventually(lambda: redis.zcard(Keys().undecided) == 0, seconds=LONGEST_SECONDS)
                        rates["beside"].append(drained_per_second(url, redis, f"beside-{turn}"))
                        left = redis.zcard(Keys().callbacks) - dead
                        eventually(lambda: redis.zcard(Keys().callbacks) == dead, seconds=LONGEST_SECONDS)
                    print(
                        f"drained per second: alone {rates['alone'][-1]:,.0f}, while callbacks are delivered "
                        f"{rates['beside'][-1]:,.0f} ({left} were left)"
                    )
                ratio = median(rates["beside"]) / median(rates["alone"])
                print(f"while callbacks are delivered: {ratio:.2f} of the rate without")


if __name__ == "__main__":
    main()
