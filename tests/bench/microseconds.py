"""Where each microsecond goes: the steps of a transaction, each by itself, on one core, as a Markdown table.

    .venv/bin/python -m tests.bench.microseconds --data .riskline

Needs an installation with a model, and a redis-server. Each figure is the best of many short runs: what the step costs
where nothing disturbs it. docs/explanation/performance.md has such a table.
"""

import argparse
import asyncio
import logging
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import structlog
from redis import Redis

from riskline.cli.up.redis_server import command, find_server, wait_until_ready
from riskline.shared.clock import utc_now
from riskline.shared.domain.assessment import decide, decide_all
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.registry import Registry
from riskline.shared.store.connect.connection import connect_async
from riskline.shared.store.interfaces import Claim
from riskline.shared.store.records import Queueing, decided, decided_at_once, queued_record
from riskline.shared.store.redis_queue import RedisIntake, RedisQueue
from riskline.worker.scoring import drain as draining
from riskline.worker.scoring.pulse import Pulse
from riskline.worker.training.data.simulate import simulate
from tests.support.api import Api
from tests.support.wire import request, serving

ROWS = 8192
BATCH = 256
TTL = {"result_ttl_seconds": 86_400, "feed_length": 1_000_000}
LIMITS = {**TTL, "failed_ttl_seconds": 604_800}

Table = list[tuple[str, str, float]]


def best(work: Callable[[Sequence[Any]], object], items: Sequence[Any]) -> float:
    """Microseconds an item, in the quickest of the runs over a batch."""
    found = []
    for start in range(0, len(items) - BATCH + 1, BATCH):
        part = items[start : start + BATCH]
        began = time.perf_counter()
        work(part)
        found.append((time.perf_counter() - began) / len(part) * 1e6)
    return min(found)


def steps(model: Any, transactions: list[Transaction]) -> Table:
    """The steps in Python and in the kernel."""
    bodies = [each.to_json() for each in transactions]
    vectors = [each.features() for each in transactions]
    now = utc_now()
    decisions = decide_all(transactions, model, scored_at=now)
    explained = decide_all(transactions, model, scored_at=now, explain=range(len(transactions)))
    submissions = [queued_record(each, submitted_at=now, request_id="0690187fef76-1f4c") for each in transactions]
    records = [orjson.loads(each.record) for each in submissions]
    claimed = [(each.transaction_id, record) for each, record in zip(submissions, records, strict=True)]
    shown = [orjson.dumps(each.to_dict()) for each in decisions]

    def outcomes(part: Sequence[Any]) -> object:
        return draining.outcomes(Claim(list(part)), model=model, transaction_class=Transaction)

    return [
        ("API", "validate the body", best(lambda part: [Transaction.parse(each) for each in part], bodies)),
        ("API", "score one (kernel)", best(lambda part: [model.score_one(each) for each in part], vectors)),
        (
            "API",
            "decide one: score, act, round",
            best(lambda part: [decide(each, model, scored_at=now) for each in part], transactions),
        ),
        ("API", "serialise the decision", best(lambda part: [orjson.dumps(e.to_dict()) for e in part], decisions)),
        (
            "API",
            "make the record of a decision",
            best(
                lambda part: [
                    decided_at_once(each.transaction_id, transaction=each.to_json(), scored_at=now, shown=answer)
                    for each, answer in part
                ],
                list(zip(transactions, shown, strict=True)),
            ),
        ),
        (
            "API",
            "make a record to be queued",
            best(
                lambda part: [queued_record(each, submitted_at=now, request_id="0690187fef76-1f4c") for each in part],
                transactions,
            ),
        ),
        ("worker", "read a record", best(lambda part: [orjson.loads(each.record) for each in part], submissions)),
        (
            "worker",
            "validate it",
            best(lambda part: [Transaction.from_row(each["transaction"]) for each in part], records),
        ),
        ("worker", "score, of a batch of 256 (kernel)", best(lambda part: model.score(np.array(part)), vectors)),
        ("worker", "score and explain it (kernel)", best(lambda part: model.explain(np.array(part)), vectors)),
        (
            "worker",
            "decide, of a batch of 256",
            best(lambda part: decide_all(part, model, scored_at=now), transactions),
        ),
        (
            "worker",
            "the same with reasons for all",
            best(lambda part: decide_all(part, model, scored_at=now, explain=range(len(part))), transactions),
        ),
        (
            "worker",
            "make the record of the decision",
            best(lambda part: [decided(*each) for each in part], list(zip(records, decisions, strict=True))),
        ),
        (
            "worker",
            "the same with reasons",
            best(lambda part: [decided(*each) for each in part], list(zip(records, explained, strict=True))),
        ),
        ("worker", "all between claim and decide", best(outcomes, claimed)),
    ]


async def requests(model: Any, transactions: list[Transaction]) -> Table:
    """The API's own part of a plain request, from the bytes that came to those that go."""
    async with serving(Api(model, record_capacity=10**9).app) as server:
        wire = server.connect(fast=True)
        wire.transport.write = lambda _data: None  # type: ignore[method-assign]
        data = [request("/score-transaction", each.to_json()) for each in transactions]
        for each in data:
            wire.send(each)
        return [("API", "a whole request, sockets left out", best(lambda part: [wire.send(e) for e in part], data))]


async def accepted(url: str, transactions: list[Transaction], *, explain: bool) -> None:
    """Has them all wait."""
    redis = connect_async(url, timeout_seconds=5)
    queueing = Queueing(submitted_at=utc_now(), explain=explain, request_id="0690187fef76-1f4c")
    intake = RedisIntake(redis, queue_limit=10**7, **TTL)
    for start in range(0, len(transactions), BATCH):
        await intake.accept([queueing.submission(each) for each in transactions[start : start + BATCH]])
    await redis.aclose()


async def recorded(url: str, transactions: list[Transaction], shown: list[bytes]) -> None:
    """Records them all."""
    redis = connect_async(url, timeout_seconds=5)
    intake = RedisIntake(redis, queue_limit=10**7, **TTL)
    outcomes = [
        decided_at_once(each.transaction_id, transaction=each.to_json(), scored_at=utc_now(), shown=answer)
        for each, answer in zip(transactions, shown, strict=True)
    ]
    for start in range(0, len(outcomes), BATCH):
        await intake.record(outcomes[start : start + BATCH])
    await redis.aclose()


def in_redis(model: Any, transactions: list[Transaction], directory: Path) -> Table:
    """Redis's own time, by its own account, in batches of 256, each write on disk before it is acknowledged."""
    draining.WAIT_SECONDS, draining.HOT_WAITS = 0.01, 1
    socket, log = directory / "s", directory / "log"
    server = subprocess.Popen(command(find_server(directory), redis_dir=directory, socket=socket, log_file=log))
    url = f"unix://{socket}"
    try:
        wait_until_ready(url, exit_status=lambda: None, log_file=log)
        with Redis.from_url(url) as client:

            def spent(work: Callable[[], object]) -> float:
                def seconds() -> float:
                    cpu: dict[str, Any] = client.info("cpu")
                    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])

                before = seconds()
                work()
                return (seconds() - before) / len(transactions) * 1e6

            def drain() -> object:
                return draining.drain(
                    RedisQueue(client, **LIMITS),
                    worker="w1",
                    pulse=Pulse(),
                    model=lambda: model,
                    transaction_class=Transaction,
                    time_is_over=lambda: False,
                )

            shown = [orjson.dumps(each.to_dict()) for each in decide_all(transactions, model, scored_at=utc_now())]
            table = [("Redis", "record", spent(lambda: asyncio.run(recorded(url, transactions, shown))))]
            for explain, what in ((False, ""), (True, ", reasons for all")):
                client.flushall()
                accept = spent(lambda explain=explain: asyncio.run(accepted(url, transactions, explain=explain)))
                table.append(("Redis", f"accept{what}", accept))
                table.append(("Redis", f"claim and decide{what}", spent(drain)))
        return table
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Measures and prints."""
    options = argparse.ArgumentParser()
    options.add_argument("--data", type=Path, default=Path(".riskline"))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    model = Registry(options.parse_args().data / "models").load_active(inputs_of(Transaction))
    rows = simulate(rows=ROWS, seed=1).select(list(Transaction.model_fields)).to_dicts()
    transactions = [Transaction.from_row(row) for row in rows]
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # a socket's path must be short
        table = [
            *asyncio.run(requests(model, transactions)),
            *steps(model, transactions),
            *in_redis(model, transactions, Path(directory)),
        ]
    print("| where | what | us |\n|---|---|---|")
    for where, what, microseconds in sorted(table, key=lambda row: ("API", "worker", "Redis").index(row[0])):
        print(f"| {where} | {what} | {microseconds:.1f} |")


if __name__ == "__main__":
    main()
