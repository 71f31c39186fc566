"""`riskline scale`: the number of workers for the present load, and for many times of it."""

import json
import time
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import typer
from redis import Redis
from redis.exceptions import ResponseError

from riskline.cli.installation import installation_settings, installation_store
from riskline.cli.options import DataOption, JsonOption
from riskline.shared.domain.capacity import Load, Target, pace, times, workers_needed
from riskline.shared.errors import InstallationError
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.operations import AllAudits
from riskline.shared.store.status.counts import Counts, together
from riskline.shared.store.status.paces import Paces

MEASURE_SECONDS = 3.0
"""Long enough for a few requests of many transactions each."""

FACTORS = (10, 100)

UNBOUNDED = 1_000_000_000

UTILISATION = "The part of the time that a worker shall be busy (RISKLINE_SCALE_UTILISATION, default 0.7)."
DRAIN = "Seconds in which a backlog shall be decided (RISKLINE_SCALE_DRAIN, default 60)."
LEAST = "The least workers to propose (RISKLINE_SCALE_MIN, default 1)."
MOST = "The most workers to propose (RISKLINE_SCALE_MAX, default 100)."


class QueueSample(NamedTuple):
    """The state of the queue at one moment."""

    at: float
    counts: Counts
    redis_seconds: Sequence[float] | None
    """Processor seconds that the Redis of each shard has used; None where one does not report them."""


def scale(
    *,
    data: DataOption = None,
    measure: Annotated[float, typer.Option("--measure", min=0.5, help="Seconds of watching.")] = MEASURE_SECONDS,
    utilisation: Annotated[float | None, typer.Option("--utilisation", help=UTILISATION, show_default=False)] = None,
    drain: Annotated[float | None, typer.Option("--drain", help=DRAIN, show_default=False)] = None,
    least: Annotated[int | None, typer.Option("--min", min=1, help=LEAST, show_default=False)] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help=MOST, show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many scoring workers the present load and backlog need, and ten and a hundred times the load."""
    given = {"scale_utilisation": utilisation, "scale_drain": drain, "scale_min": least, "scale_max": most}
    target = installation_settings(data=data, **given).scale_target
    with installation_store(data=data) as store:
        before = _queue_state(store.shards)
        time.sleep(measure)
        after = _queue_state(store.shards)
        timed = Paces(store.first).read().timed
    counts = after.counts
    if counts.arrived < before.counts.arrived:
        raise InstallationError("Redis was emptied or replaced while it was watched: try again")
    seconds = after.at - before.at
    load = Load((counts.arrived - before.counts.arrived) / seconds, counts.undecided, counts.workers, pace(timed))
    oldest_seconds = (counts.oldest_ms or 0) / 1000
    share = _share(before, after)
    if as_json:
        typer.echo(json.dumps(_figures(load, target, oldest_seconds=oldest_seconds, redis_share=share)))
    else:
        _print_need(load, target, measured_seconds=seconds, oldest_seconds=oldest_seconds, redis_share=share)


def _queue_state(shards: Sequence[Redis]) -> QueueSample:
    counts = together(AllAudits(shards).counts())
    at = time.monotonic()
    with redis_faults_named():
        try:
            return QueueSample(at, counts, [_seconds(redis.info("cpu")) for redis in shards])
        except ResponseError:
            # where INFO is not allowed
            return QueueSample(at, counts, None)


def _seconds(used: dict[str, Any]) -> float:
    # that of the thread which runs commands; Redis before 7.0 names the process's alone
    kind = "_main_thread" if "used_cpu_user_main_thread" in used else ""
    return float(used[f"used_cpu_sys{kind}"]) + float(used[f"used_cpu_user{kind}"])


def _share(before: QueueSample, after: QueueSample) -> float | None:
    if before.redis_seconds is None or after.redis_seconds is None:
        return None
    # of several servers the busiest: it is where more workers end to help
    used = max(later - earlier for earlier, later in zip(before.redis_seconds, after.redis_seconds, strict=True))
    return max(0.0, used / (after.at - before.at))


def _figures(load: Load, target: Target, *, oldest_seconds: float, redis_share: float | None) -> dict[str, object]:
    known = load.pace
    return {
        "arrivals_per_second": round(load.per_second, 3),
        "worker_pace_per_second": None if known is None else round(known.per_second, 1),
        "pace_is_measured": None if known is None else known.measured,
        "undecided": load.undecided,
        "oldest_seconds": oldest_seconds,
        "workers": load.workers,
        "workers_needed": workers_needed(load, target),
        "workers_needed_at": {str(factor): workers_needed(times(load, factor), target) for factor in FACTORS},
        "redis_core_share": None if redis_share is None else round(redis_share, 3),
        "target": target._asdict(),
    }


def _print_need(
    load: Load, target: Target, *, measured_seconds: float, oldest_seconds: float, redis_share: float | None
) -> None:
    unbounded = target._replace(most=UNBOUNDED)
    needed = workers_needed(load, unbounded)
    lines = [
        ("present load", f"{load.per_second:,.0f}/s, watched for {measured_seconds:.0f} s"),
        ("one worker", _pace_in_words(load)),
        ("backlog", f"{load.undecided:,}" + (f", the oldest {oldest_seconds:.1f} s old" if load.undecided else "")),
        ("Redis", "does not say how busy it is" if redis_share is None else f"uses {redis_share:.0%} of a core"),
    ]
    for name, words in lines:
        typer.echo(f"{name:<14}{words}")
    lives = "1 lives" if load.workers == 1 else f"{load.workers:,} live"
    if needed > target.most:
        typer.echo(f"\n{_workers(needed)} would be needed, more than the {target.most:,} that --max allows; {lives}")
    else:
        typer.echo(f"\n{_workers(needed)} {'is' if needed == 1 else 'are'} enough; {lives}")
    if load.pace is None:
        typer.echo("(no rate is known before a worker has decided a few batches: start one, and send it transactions)")
    elif load.per_second:
        many = (f"at {factor} times the load: {workers_needed(times(load, factor), unbounded):,}" for factor in FACTORS)
        typer.echo(", ".join(many))
    if redis_share is not None and redis_share * FACTORS[0] > 1 and load.per_second:
        typer.echo(f"Redis may be the limit at {1 / redis_share:.0f} times the load, where more workers do not help")


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number:,} workers"


def _pace_in_words(load: Load) -> str:
    if load.pace is None:
        return "has decided nothing yet, or too little to say"
    how = "" if load.pace.measured else f", foretold from batches of up to {load.pace.seen_batch:.0f}"
    return f"decides {load.pace.per_second:,.0f}/s when it is never idle{how}"
