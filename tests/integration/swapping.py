"""Model versions that differ in every score, and clients that see whether an answer is that of the version it names."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import orjson

from riskline.shared.domain.assessment import decide
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.registry import Registry
from riskline.shared.model.trees import LEAF, Trees
from tests.integration.running import PATIENCE_SECONDS
from tests.support.factories import transaction_json
from tests.support.models import SCORING, write_version

ANSWER_SECONDS = 30.0
ROWS = 200
SCORE, QUEUE = "/score-transaction?explain=true", "/transactions?explain=true"
SPANS = np.array([5000.0, 9999.0, 130.0, 500.0, 1.0])
"""What each feature's values are spread over."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def forest(*, seed: int, trees: int, depth: int) -> Trees:
    """Full trees with random splits: each node's value is the mean of its children's, and each root's the base."""
    random = np.random.default_rng(seed)
    inner, size = 2**depth - 1, 2 ** (depth + 1) - 1
    node = np.arange(size)
    feature = np.where(node < inner, random.integers(0, len(SPANS), (trees, size)), LEAF).astype(np.int32)
    threshold = np.where(feature == LEAF, 0.0, random.uniform(0, 1, (trees, size)) * SPANS[feature])
    value = np.full((trees, size), SCORING.base)
    for i in range(inner):
        step = random.uniform(-0.39, 0.39, trees) / (i + 1)
        value[:, 2 * i + 1], value[:, 2 * i + 2] = value[:, i] - step, value[:, i] + step
    start = (np.arange(trees) * size)[:, None]
    children = [np.where(node < inner, start + 2 * node + side, LEAF).astype(np.int32) for side in (1, 2)]
    flat = [np.ravel(array) for array in (feature, threshold, *children, np.clip(value, 0.0, 1.0))]
    return Trees(*flat[:4], value=flat[4], roots=start.ravel().astype(np.int32))


def write_forests(models_dir: Path, number: int, *, trees: int, depth: int) -> list[str]:
    """Writes so many versions; none is active."""
    return [
        write_version(
            models_dir,
            trees=forest(seed=seed, trees=trees, depth=depth),
            created_at=f"2026-11-{seed + 1:02d}T00:00:00.000Z",
        ).version
        for seed in range(number)
    ]


class Oracle:
    """What each version says of each of some transactions, as the use case behind all doors has it."""

    def __init__(self, models_dir: Path, versions: Iterable[str]) -> None:
        chance = Random(0)
        self.bodies = [
            transaction_json(
                amount=round(chance.uniform(1, 5000), 2),
                merchant_category_code=chance.randint(1, 9999),
                customer_age=chance.randint(18, 130),
                distance_from_home=round(chance.uniform(0, 500), 1),
                is_online_transaction=chance.randint(0, 1),
            )
            for _ in range(ROWS)
        ]
        self._expected = {version: self._decided(Registry(models_dir).load(version)) for version in versions}
        self._base = SCORING.base

    def _decided(self, model: Any) -> list[dict[str, Any]]:
        rows = [Transaction.from_row(body) for body in self.bodies]
        return [orjson.loads(orjson.dumps(decide(row, model, scored_at="", explain=True).to_dict())) for row in rows]

    def problem(self, row: int, decision: dict[str, Any]) -> str | None:
        """Why a decision about a row is not wholly that of the version that it names; None where it is."""
        version = decision["model_version"]
        if version not in self._expected:
            return f"an unknown version {version}"
        expected = self._expected[version][row]
        same = {**expected, "transaction_id": decision["transaction_id"], "scored_at": decision["scored_at"]}
        if decision != same:
            return f"not what {version} says: {decision}, not {same}"
        moved = sum(reason["contribution"] for reason in decision["reasons"])
        # the probability is rounded to four places
        if abs(self._base + moved - decision["fraud_probability"]) > 0.00005 + 1e-9:
            return f"reasons that do not add up: {decision}"
        return None

    def differ(self) -> bool:
        """Whether no two versions agree on a row: else a mixture of them could not be seen."""
        scores = zip(*([row["fraud_probability"] for row in rows] for rows in self._expected.values()), strict=True)
        return sum(len(set(each)) == len(self._expected) for each in scores) > ROWS * 0.9


class Answered(NamedTuple):
    """One answer: by which door, when, and how long it took."""

    door: str
    at: float
    seconds: float


class Traffic:
    """Clients on connections that are kept, each asking again when it is answered, or a pause later."""

    def __init__(self, port: int, oracle: Oracle, *, name: str = "s", pause_seconds: float = 0.0) -> None:
        self.answered: list[Answered] = []
        self.versions: Counter[tuple[str, str]] = Counter()
        self.errors: list[str] = []
        self._port = port
        self._oracle = oracle
        self._numbers = count()
        self._name = name
        self._pause_seconds = pause_seconds
        self.stopping = asyncio.Event()

    async def run(self, *, scoring: int, queueing: int) -> None:
        """Asks until told to stop, on so many connections for each door."""
        async with asyncio.TaskGroup() as group:
            for door, number in ((SCORE, scoring), (QUEUE, queueing)):
                for _ in range(number):
                    group.create_task(self._client(door))

    async def _client(self, door: str) -> None:
        streams = await asyncio.open_connection("127.0.0.1", self._port)
        while not self.stopping.is_set():
            number = next(self._numbers)
            row = number % ROWS
            body = orjson.dumps({**self._oracle.bodies[row], "transaction_id": f"{self._name}-{number}"})
            started = time.monotonic()
            try:
                status, answer = await _ask(streams, door, body)
            except (OSError, EOFError, TimeoutError) as error:
                # a connection that is dropped is an error, and not made good
                self.errors.append(f"{door}: {error!r}")
                return
            now = time.monotonic()
            self.answered.append(Answered(door, now, now - started))
            self._judge(door, row, status, answer)
            if self._pause_seconds:
                await asyncio.sleep(self._pause_seconds)
        streams[1].close()
        await streams[1].wait_closed()

    def _judge(self, door: str, row: int, status: int, answer: bytes) -> None:
        if status != 200:
            self.errors.append(f"{door}: {status} {answer[:200].decode(errors='replace')}")
            return
        decision = orjson.loads(answer)
        decision = decision["decision"] if door == QUEUE else decision
        self.versions[door, decision["model_version"]] += 1
        problem = self._oracle.problem(row, decision)
        if problem is not None:
            self.errors.append(f"{door}: {problem}")


async def _ask(streams: Streams, door: str, body: bytes) -> tuple[int, bytes]:
    wait = f"Prefer: wait={ANSWER_SECONDS:.0f}\r\n" if door == QUEUE else ""
    head = f"POST {door} HTTP/1.1\r\nHost: localhost\r\n{wait}Content-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n"
    async with asyncio.timeout(PATIENCE_SECONDS):
        streams[1].write(f"{head}\r\n".encode() + body)
        answer = await streams[0].readuntil(b"\r\n\r\n")
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(answer[9:12]), await streams[0].readexactly(int(length.partition(b":")[2]))
