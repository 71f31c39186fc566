"""What the fold of history costs: microseconds a transaction, rows a second, bytes an entity, as a Markdown table.

    .venv/bin/python -m tests.bench.history_fold

Each time is the best of many short runs: what it costs where nothing disturbs it.
"""

import random
import time
from collections.abc import Callable, Iterator

import numpy as np

from riskline.shared.domain.history.observation import Observation, Part, SeenBefore
from riskline.shared.domain.history.plan import History
from riskline.shared.model.history import Fold
from tests.support.history import DAY, HOUR, SECOND, entity_plan, every_kind, history, kept_after, purchases, usual

NOW = 1_760_000_000 * SECOND
LENGTHS = {"card": (60, 30 * DAY), "merchant": (5_000, 30 * DAY), "device": (5, 7 * DAY)}
"""Events of each entity, and the time that they are spread over."""

ROWS, ENTITIES = 1_000_000, 20_000
RUNS, CALLS = 2_000, 50
FLOOD = 100_000


def quickest(
    work: Callable[[], object], *, runs: int, calls: int = 1, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of a call."""
    found = []
    for _ in range(runs):
        began = clock()
        for _ in range(calls):
            work()
        found.append((clock() - began) / calls)
    return min(found)


def seen(plan: History, fold: Fold) -> tuple[Observation, SeenBefore]:
    """A transaction of a card, a merchant and a device of usual lengths."""
    chance, parts, before = random.Random(1), [], []
    for number, (count, over_us) in enumerate(LENGTHS.values()):
        *past, last = purchases(plan.entities[number], chance, count=count + 1, over_us=over_us, until_us=NOW)
        parts.append(Part("", last.packed()))
        before.append(kept_after(fold, number, past))
    return Observation("", NOW, tuple(parts)), SeenBefore(tuple(before))


def live() -> Iterator[tuple[str, str]]:
    """The figures of a transaction."""
    plan, fold = usual(), Fold(usual())
    observation, kept = seen(plan, fold)
    nothing = SeenBefore((b"",) * len(plan.entities))
    for name, each in zip(LENGTHS, kept.before, strict=True):
        yield (
            f"bytes of a {name}: {LENGTHS[name][0]:,} events in {LENGTHS[name][1] // DAY} days",
            f"{len(each or b''):,}",
        )
    for what, before in (("of usual lengths", kept), ("without any events", nothing)):
        spent = quickest(lambda before=before: fold.columns(observation, before), runs=RUNS, calls=CALLS)
        yield f"columns: {len(plan.columns)} over {len(plan.entities)} entities {what}", f"{spent * 1e6:.1f} us"
    merchant = kept.before[1] or b""
    spent = quickest(lambda: fold.packed(1, merchant), runs=RUNS)
    yield "pack the merchant", f"{spent * 1e6:.1f} us"


def replayed() -> Iterator[tuple[str, str]]:
    """The figures of a file."""
    plan, fold, chance = usual(), Fold(usual()), np.random.default_rng(1)
    groups, times = chance.integers(0, ENTITIES, ROWS), np.sort(NOW + chance.integers(0, 90 * DAY, ROWS))
    for number, (name, entity) in enumerate(zip(LENGTHS, plan.entities, strict=True)):
        numbers = chance.integers(100, 30_000, (ROWS, len(entity.numbers)))
        texts = chance.integers(1, 1 << 62, (ROWS, len(entity.texts))).astype(np.uint64)

        def work(number: int = number, numbers: object = numbers, texts: object = texts) -> object:
            return fold.replay(number, groups, times, numbers, texts)  # type: ignore[arg-type]  # bound by its default

        # a run is too long to find a core for itself
        spent = quickest(work, runs=5, clock=time.process_time)
        yield f"replay: {ROWS:,} rows of {ENTITIES:,} {name}s", f"{ROWS / spent / 1e6:.2f} million rows/s of a core"


def flooded() -> Iterator[tuple[str, str]]:
    """The bytes of an entity with more than usual."""
    plan = entity_plan(every_kind(HOUR, DAY, 30 * DAY), keep_us=37 * DAY, places=(2,), texts=1)
    events = purchases(plan, random.Random(1), count=FLOOD, over_us=HOUR, until_us=NOW)
    past = purchases(plan, random.Random(2), count=FLOOD // 10, over_us=60 * DAY, until_us=NOW - HOUR)
    kept = kept_after(Fold(history(plan)), 0, past + events)
    yield f"bytes of a merchant with every kind in three windows after {FLOOD:,} events in an hour", f"{len(kept):,}"


def main() -> None:
    """Measures and prints."""
    print("| what | figure |\n|---|---|")
    for what, figure in (*live(), *replayed(), *flooded()):
        print(f"| {what} | {figure} |")


if __name__ == "__main__":
    main()
