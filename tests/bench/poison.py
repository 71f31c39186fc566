"""`python -m tests.bench.poison`: what one bad transaction in 10,000 costs the other 9,999.

The same 10,000, submitted at once to `riskline up` with two workers: all good; one that makes the class raise; one that
ends each process that scores it; twenty of those. Timed from the request until all others are decided, and until the
bad ones have failed.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
from redis import Redis

from riskline.shared.store.keys import Keys
from tests.integration.conftest import write_stump
from tests.integration.running import RunningUp, eventually
from tests.integration.team_classes import RAISING_AGE, UNLUCKY_AGE
from tests.support.factories import transaction_json

ROWS = 10_000
ROUNDS = 5
LONGEST_SECONDS = 120.0
BAD = {
    "none": (1, 24),
    "one that raises": (1, RAISING_AGE),
    "one that ends its worker": (1, UNLUCKY_AGE),
    "twenty that end their worker": (20, UNLUCKY_AGE),
}
"""How many there are, and their age."""


class Took(NamedTuple):
    """Seconds from the request."""

    others: float
    bad: float


def measure(url: str, redis: Redis, *, name: str, number: int, age: int) -> Took:
    """Submits, and waits for all of them."""
    rows = [transaction_json(transaction_id=f"{name}-{i}") for i in range(ROWS)]
    for i in range(number):
        rows[(2 * i + 1) * ROWS // (2 * number)]["customer_age"] = age
    keys = Keys()
    before = redis.hgetall(keys.totals)
    began = time.monotonic()
    httpx.post(f"{url}/transactions/batch", json=rows, timeout=60).raise_for_status()

    def more(total: bytes) -> int:
        return int(redis.hget(keys.totals, total.decode()) or 0) - int(before.get(total, 0))

    eventually(lambda: more(b"decided") >= ROWS - number, seconds=LONGEST_SECONDS)
    others = time.monotonic() - began
    eventually(lambda: more(b"decided") + more(b"failed") == ROWS, seconds=LONGEST_SECONDS)
    return Took(others, time.monotonic() - began)


def main() -> None:
    """Measures by turns, and prints medians."""
    took: dict[str, list[Took]] = {kind: [] for kind in BAD}
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # a socket's path must be short
        write_stump(Path(directory) / "models")
        environment = {
            **os.environ,
            "RISKLINE_MODELS": str(Path(directory) / "models"),
            "RISKLINE_TRANSACTION": "tests.integration.team_classes:Poisonous",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        with RunningUp(Path(directory), environment=environment, flags=("--workers", "2")) as up:
            url = f"http://127.0.0.1:{up.state['port']}"
            with Redis.from_url(up.state["redis_url"]) as redis:
                for turn in range(ROUNDS):
                    for kind, (number, age) in BAD.items():
                        eventually(lambda: 0 not in up.pids() and redis.zcard(Keys().workers) == len(up.pids()) - 2)
                        took[kind].append(measure(url, redis, name=f"{turn}-{number}-{age}", number=number, age=age))
    for kind, each in took.items():
        others, bad = median(one.others for one in each), median(one.bad for one in each)
        print(f"bad in {ROWS:,}: {kind:<29} others decided after {others:5.2f} s, all after {bad:5.2f} s")


if __name__ == "__main__":
    main()
