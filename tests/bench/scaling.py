"""How far it scales: what a worker and a Redis can do on this machine, and what a burst does to 1 to 1,000 workers.

    .venv/bin/python -m tests.bench.scaling --data .riskline

Needs an installation with a model (`riskline demo-model` makes one), and a redis-server; takes a minute.
With --pace, --accept and --decide nothing is measured. docs/how-to/size-an-installation.md has what it prints.
"""

import argparse
import logging
import math
import sys
from pathlib import Path

import structlog

from riskline.shared.domain.capacity import Target, pace
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.registry import Registry
from riskline.worker.training.data.simulate import simulate as simulated_rows
from tests.bench.scaling_measures import Cost, measure, timed
from tests.bench.scaling_simulation import Redis, Rules, Run, burst, simulate

ROWS = 8192
WORKERS = (1, 3, 10, 30, 100, 300, 1_000)

BURST_AT, RAMP_SECONDS, BURST_SECONDS, FACTOR = 60.0, 10.0, 120.0, 10
SECONDS = 1800.0

BUSY = Target().utilisation

MILLION = 1_000_000


def costs_table(costs: dict[int, Cost]) -> list[str]:
    """What was measured."""
    lines = [
        "| batch | one worker, /s | Redis: accept, us | Redis: claim and decide, us | one Redis, /s |",
        "|---:|---:|---:|---:|---:|",
    ]
    for size, cost in costs.items():
        redis = Redis(cost.accept_redis, cost.decide_redis)
        lines.append(
            f"| {size} | {cost.timed.transactions / cost.timed.seconds:,.0f} | {cost.accept_redis * MILLION:.1f} | "
            f"{cost.decide_redis * MILLION:.1f} | {redis.most_per_second:,.0f} |"
        )
    return lines


def bursts_table(per_worker: float, redis: Redis, *, shards: bool, start_seconds: float) -> list[str]:
    """A burst for each number of workers, which are busy for 0.7 of the time before it."""
    of_redis = "Redis" if shards else "share of one Redis"
    first = f"workers | load, /s | {of_redis} | as many workers: backlog | drained after"
    lines = [
        f"| {first} | scaled: backlog | workers | longest wait | drained after |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for workers in WORKERS:
        load = BUSY * workers * per_worker
        needed = load * FACTOR / redis.most_per_second
        if not shards and load > redis.most_per_second:
            lines.append(
                f"| {workers:,} | {load:,.0f} | {load / redis.most_per_second:.1f} | one Redis has ended | | | | | |"
            )
            continue
        fixed, scaled = (
            _run(per_worker, workers, redis, rules, shards=math.ceil(needed) if shards else 1)
            for rules in (None, Rules(most=20 * workers, start_seconds=start_seconds))
        )
        share = f"{math.ceil(needed)}" if shards else f"{load / redis.most_per_second:.2f}"
        lines.append(
            f"| {workers:,} | {load:,.0f} | {share} | {_backlog(fixed)} | {_drained(fixed)} | {_backlog(scaled)} | "
            f"{scaled.peak_workers:,} | {max(scaled.waits()):,.0f} s | {_drained(scaled)} |"
        )
    return lines


def _run(per_worker: float, workers: int, redis: Redis, rules: Rules | None, *, shards: int) -> Run:
    load = BUSY * workers * per_worker
    return simulate(
        burst(load, factor=FACTOR, at=BURST_AT, ramp_seconds=RAMP_SECONDS, lasts_seconds=BURST_SECONDS),
        seconds=SECONDS,
        workers=workers,
        pace=per_worker,
        rules=rules,
        redis=redis,
        shards=shards,
    )


def _backlog(run: Run) -> str:
    return f"{run.peak_backlog:,.0f}"


def _drained(run: Run) -> str:
    after = run.drained_after(BURST_AT)
    return f"not in {SECONDS - BURST_AT:,.0f} s" if after is None else f"{after:,.0f} s"


def main() -> None:
    """Measures, simulates and prints."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=Path(".riskline"), help="an installation with a model")
    options.add_argument("--pace", type=float, help="transactions a second of one worker, in place of the measured")
    options.add_argument("--accept", type=float, help="microseconds of Redis for each one accepted")
    options.add_argument("--decide", type=float, help="microseconds of Redis for each one claimed and decided")
    options.add_argument("--start", type=float, default=10.0, help="seconds until a new pod decides")
    chosen = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    per_worker, accept, decide = chosen.pace, chosen.accept, chosen.decide
    if None in (per_worker, accept, decide):
        model = Registry(chosen.data / "models").load_active(inputs_of(Transaction))
        rows = simulated_rows(rows=ROWS, seed=1).select(list(Transaction.model_fields)).to_dicts()
        costs = measure(
            model, [Transaction.from_row(row) for row in rows], say=lambda what: print(what, file=sys.stderr)
        )
        print("\n".join(costs_table(costs)), end="\n\n")
        largest, known = costs[max(costs)], pace(timed(costs))
        per_worker = (known.per_second if known else 0.0) if per_worker is None else per_worker
        accept = largest.accept_redis * MILLION if accept is None else accept
        decide = largest.decide_redis * MILLION if decide is None else decide
    redis = Redis(accept / MILLION, decide / MILLION)
    print(
        f"One worker decides {per_worker:,.0f}/s; one Redis ends at {redis.most_per_second:,.0f}/s, which is", end=" "
    )
    print(f"{redis.most_per_second / per_worker:,.1f} workers that are never idle.")
    print(f"The burst: {FACTOR} times the load within {RAMP_SECONDS:.0f} s, for {BURST_SECONDS:.0f} s.")
    for shards, title in ((False, "One Redis:"), (True, "As many Redis as the burst takes:")):
        print(f"\n{title}\n")
        print("\n".join(bursts_table(per_worker, redis, shards=shards, start_seconds=chosen.start)))


if __name__ == "__main__":
    main()
