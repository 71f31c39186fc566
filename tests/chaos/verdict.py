"""Whether the promise was kept: each acknowledged transaction decided, once, rightly, and soon."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from tests.chaos.callbacks import CallbackEvidence, CallbackVerdict, judge_callbacks
from tests.chaos.evidence import Evidence, Fed
from tests.chaos.ledger import Ledger, wrong
from tests.chaos.times import Windows, calm, longest_within

ALLOWED_SECONDS = 10.0
"""From the end of the last fault, or from the acknowledgement where that came later, to the decision."""


@dataclass
class Verdict:
    """The figures of a run, and everything that should not be."""

    acknowledged: int = 0
    decided: int = 0
    fed: int = 0
    recovery_seconds: float = 0.0
    """From the end of the last fault to the last decision of what was acknowledged before."""
    settled_seconds: float = 0.0
    """From the end of the last fault until every client had its answer and nothing was undecided."""
    worst_calm_seconds: float = 0.0
    """The longest that anything waited for its decision while no fault was on."""
    median_seconds: float = 0.0
    """From the acknowledgement to the decision, half of all."""
    lost: dict[str, str] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    callbacks: CallbackVerdict = field(default_factory=CallbackVerdict)

    @property
    def kept(self) -> bool:
        """Whether nothing is wrong."""
        return self.callbacks.kept and not (self.lost or self.twice or self.wrong or self.late or self.violations)

    def suspicious(self) -> list[str]:
        """The transactions of which more should be known."""
        ours = self.callbacks
        found = [*self.lost, *self.twice, *self.wrong, *self.late, *ours.missing, *ours.wrong, *ours.late]
        return list(dict.fromkeys(found))

    def figures(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "kept": self.kept}


def judge(
    ledger: Ledger,
    evidence: Evidence,
    callbacks: CallbackEvidence,
    *,
    followed: Sequence[str],
    windows: Windows,
    healed_at: float,
) -> Verdict:
    """Compares what clients know with what is there."""
    verdict = Verdict(violations=list(ledger.violations))
    verdict.acknowledged = len(ledger.acknowledged)
    verdict.fed = len(evidence.feed)
    times = Counter(fed.decision["transaction_id"] for fed in evidence.feed)
    verdict.twice = [id_ for id_, count in times.items() if count > 1]
    fed = {each.decision["transaction_id"]: each for each in reversed(evidence.feed)}
    for transaction_id in ledger.acknowledged:
        state = evidence.states[transaction_id]
        if isinstance(state, str):
            verdict.lost[transaction_id] = state
        elif problem := _of_one(ledger, state, fed, transaction_id):
            verdict.wrong[transaction_id] = problem
        else:
            verdict.decided += 1
    _judge_feed(verdict, ledger, evidence, followed)
    _judge_times(verdict, ledger, fed, windows, healed_at)
    verdict.callbacks = judge_callbacks(
        ledger,
        callbacks,
        states=evidence.states,
        decided_at={id_: each.at for id_, each in fed.items()},
        windows=windows,
        healed_at=healed_at,
    )
    if evidence.undecided:
        verdict.violations.append(f"{len(evidence.undecided)} are undecided: {evidence.undecided[:5]}")
    if evidence.audit:
        verdict.violations.append(f"riskline doctor --audit: {evidence.audit}")
    return verdict


def _of_one(ledger: Ledger, state: dict[str, Any], fed: dict[str, Fed], transaction_id: str) -> str | None:
    entry = ledger.entries[transaction_id]
    if problem := wrong(entry.body, state):
        return problem
    final = _canonical(state)
    if others := entry.seen - {final}:
        return f"a client saw {min(others)!r}, the record has {final!r}"
    if transaction_id not in fed:
        return "it is not in the feed"
    if _canonical(fed[transaction_id].decision) != final:
        return f"the feed has {fed[transaction_id].decision}, the record has {final!r}"
    return None


def _canonical(decision: dict[str, Any]) -> bytes:
    return orjson.dumps(decision, option=orjson.OPT_SORT_KEYS)


def _judge_feed(verdict: Verdict, ledger: Ledger, evidence: Evidence, followed: Sequence[str]) -> None:
    in_order = [fed.decision["transaction_id"] for fed in evidence.feed]
    for fed in evidence.feed:
        transaction_id = fed.decision["transaction_id"]
        entry = ledger.entries.get(transaction_id)
        if entry is None:
            verdict.violations.append(f"the feed has {transaction_id}, which nobody submitted")
        elif transaction_id not in verdict.wrong and (problem := wrong(entry.body, fed.decision)):
            verdict.wrong[transaction_id] = problem
    if list(followed) != in_order:
        missing = Counter(in_order) - Counter(followed)
        extra = Counter(followed) - Counter(in_order)
        verdict.violations.append(
            f"who followed the feed read {len(followed)} of {len(in_order)} decisions; "
            f"missed {list(missing)[:5]}, had too often {list(extra)[:5]}"
        )


def _judge_times(verdict: Verdict, ledger: Ledger, fed: dict[str, Fed], windows: Windows, healed_at: float) -> None:
    waits = []
    calm_spans = calm(windows)
    for transaction_id in ledger.acknowledged:
        at = ledger.entries[transaction_id].acknowledged_at
        if at is None or transaction_id not in fed:
            continue
        decided_at = fed[transaction_id].at
        waits.append(max(0.0, decided_at - at))
        if at <= healed_at:
            verdict.recovery_seconds = max(verdict.recovery_seconds, decided_at - healed_at)
        if decided_at - max(at, healed_at) > ALLOWED_SECONDS:
            verdict.late.append(transaction_id)
        if waits[-1] > verdict.worst_calm_seconds:
            longest = longest_within(calm_spans, at, decided_at)
            verdict.worst_calm_seconds = max(verdict.worst_calm_seconds, longest)
    waits.sort()
    verdict.median_seconds = waits[len(waits) // 2] if waits else 0.0
