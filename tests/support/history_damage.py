"""Reads damaged history in a process of its own: `python -m tests.support.history_damage LIBRARY CASES SEED`.

The library is the fold as a compiler with sanitizers made it, which ends the process at the first byte that is read
beyond those that were given, and at any operation that C leaves undefined.
"""

import random
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from riskline.shared.domain.history.plan import EntityPlan
from riskline.shared.errors import HistoryUnreadableError
from riskline.shared.model import history as folding
from tests.support.history import DAY, HOUR, MINUTE, SECOND, Event, entity_plan, every_kind, folded, history

NOW = 1_760_000_000 * SECOND
HEAD = struct.Struct("<cI")
IDS_AT = 30
"""Where the number of ids is."""

SELDOM = 0.2

EXTREMES = (0, 1, 2, 15, 16, 17, 0x7F, 0x80, 0xFE, 0xFF)
PLANS = (
    entity_plan(every_kind(HOUR, DAY, numbers=2, texts=2, up_to=20), keep_us=2 * DAY, places=(2, 15), texts=2),
    entity_plan(every_kind(7 * SECOND), keep_us=30 * DAY, places=(0,), texts=1),
    entity_plan(every_kind(DAY, numbers=0, texts=0), keep_us=DAY),
)


def events(plan: EntityPlan, chance: random.Random) -> Iterator[Event]:
    """Some events of a plan, of any numbers."""
    at_us, step = NOW, chance.choice([SECOND, MINUTE, HOUR])
    for _ in range(chance.randint(1, 300)):
        at_us += chance.randrange(step)
        numbers = tuple(chance.choice([chance.randrange(10_000), -(2**63), 2**63 - 1]) for _ in plan.numbers)
        yield Event(chance.randrange(1 << 64), at_us, numbers, tuple(chance.randrange(50) for _ in plan.texts))


def damage(found: bytearray, at: int, other: bytes, chance: random.Random) -> None:
    """Damages bytes at a place in one of several ways."""
    size = chance.randint(1, 9)
    some, start = chance.randbytes(size), chance.randrange(len(other))
    power = chance.choice([1, -1]) * (1 << chance.randrange(63))
    ways: list[tuple[int, bytes]] = [
        (len(found), b""),
        (1, bytes([chance.choice(EXTREMES)])),
        (size, some),
        (size, b""),
        (0, some),
        (0, bytes(found[at : at + size])),
        (len(found), other[start:]),
        (8, struct.pack("<q", power)),
    ]
    instead, new = chance.choice(ways)
    found[at : at + instead] = new


def without_ids(found: bytearray, chance: random.Random) -> None:
    """Takes ids away, with all else where it is looked for."""
    gone = chance.choice([1, found[IDS_AT]])
    found[IDS_AT] -= min(gone, found[IDS_AT])
    del found[IDS_AT + 1 : IDS_AT + 1 + 8 * gone]


def damaged(kept: bytes, other: bytes, chance: random.Random) -> bytes:
    """The bytes with up to four damages; often with the length of the state set right again."""
    found, state = bytearray(kept), HEAD.unpack_from(kept)[1]
    if chance.random() < SELDOM:
        without_ids(found, chance)
    for _ in range(chance.randint(0, 4)):
        damage(found, chance.randrange(min(len(found), state) or 1), other, chance)
    if chance.random() > SELDOM and len(found) > HEAD.size:
        found[: HEAD.size] = HEAD.pack(b"S", chance.choice([len(found), min(state, len(found))]))
    return bytes(found)


def tried(fold: folding.Fold, kept: bytes, event: Event) -> Iterator[str]:
    """What came of each call."""
    for call in (
        lambda: folded(fold, kept, event),
        lambda: folded(fold, kept, event, known=True),
        lambda: folded(fold, fold.packed(0, kept + event.packed()), event),
        lambda: folded(fold, fold.packed(0, kept), event),
        lambda: fold.describe(0, kept),
        lambda: fold.compaction(0, kept, event.packed()),
    ):
        try:
            call()
        except HistoryUnreadableError:
            yield "refused"
        else:
            yield "read"


def main(library: str, cases: int, seed: int) -> None:
    """Prints how many were read and how many refused."""
    vars(folding)["LIBRARY"] = Path(library)
    chance, results = random.Random(seed), Counter[str]()
    folds = [(folding.Fold(history(plan)), plan) for plan in PLANS]
    sound: list[bytes] = []
    for case in range(cases):
        fold, plan = folds[case % len(folds)]
        if case % 50 < len(folds):
            raw = [event.packed() for event in events(plan, chance)]
            cut = chance.randint(1, len(raw))
            sound.append(fold.packed(0, b"".join(raw[:cut])) + b"".join(raw[cut:]))
        kept = damaged(chance.choice(sound[-6:]), chance.choice(sound[-6:]), chance)
        event = next(events(plan, chance))._replace(id=struct.unpack_from("<Q", kept.ljust(60), 31)[0])
        results.update(tried(fold, kept, event))
    print(results["read"], results["refused"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
