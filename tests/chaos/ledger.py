"""What clients know: what they submitted, what was acknowledged and when, and every decision that they saw."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

DIVIDE = 1000
"""The amount above which the model's only split declines."""

Body = dict[str, Any]


@dataclass(slots=True)
class Entry:
    """One transaction, as its client knows it."""

    body: Body
    synchronous: bool = False
    """Decided at once: recorded as best can be, each time anew, so that only what was decided must be the same."""
    acknowledged_at: float | None = None
    seen: set[bytes] = field(default_factory=set)


class Ledger:
    """The clients' book; written in their thread, read when they are done."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.acknowledged: list[str] = []
        self.answers: Counter[tuple[str, str]] = Counter()
        self.violations: list[str] = []

    def enter(self, body: Body, *, synchronous: bool = False) -> Entry:
        """Opens the entry of a transaction before it is sent."""
        entry = Entry(body, synchronous)
        self.entries[body["transaction_id"]] = entry
        return entry

    def acknowledge(self, transaction_id: str, *, at: float) -> None:
        """The service has taken it: from now on it must be decided."""
        entry = self.entries[transaction_id]
        if entry.acknowledged_at is None:
            entry.acknowledged_at = at
            self.acknowledged.append(transaction_id)

    def see(self, transaction_id: str, decision: Body) -> None:
        """Notes a decision that a client was told."""
        self.compare(transaction_id, decision)
        self.entries[transaction_id].seen.add(orjson.dumps(decision, option=orjson.OPT_SORT_KEYS))

    def compare(self, transaction_id: str, decision: Body) -> None:
        """Notes a decision that is not right."""
        if problem := wrong(self.entries[transaction_id].body, decision):
            self.violate(f"{transaction_id}: {problem}")

    def violate(self, problem: str) -> None:
        """Notes what must never be."""
        self.violations.append(problem)


def wrong(body: Body, decision: Any) -> str | None:
    """What is wrong with a decision; None where it is right."""
    if not isinstance(decision, dict):
        return f"a decision that is none: {decision!r}"
    declined = body["amount"] > DIVIDE
    wanted = {
        "transaction_id": body["transaction_id"],
        "fraud_probability": 0.9 if declined else 0.1,
        "action": "DECLINE" if declined else "APPROVE",
    }
    found = {name: decision.get(name) for name in wanted}
    return None if found == wanted else f"decided {found}, which should be {wanted}"
