"""Whether callbacks were delivered: each at least once, rightly and in time, or given up after all its attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from riskline.shared.store.callbacks import CLOSED_SECONDS, LEASE_SECONDS
from tests.chaos.answers import FAILED
from tests.chaos.kept import KeptCallback
from tests.chaos.ledger import Ledger
from tests.chaos.receiver import Arrival, url_at
from tests.chaos.times import Windows, calm, longest_within

CALLBACK_ALLOWED_SECONDS = LEASE_SECONDS + CLOSED_SECONDS + 10.0
"""From the end of the last fault, or from the decision where that came later, to the delivery at the receiver that
lives: a worker that was killed holds its claim until the lease is over; what a worker that was stopped says of the
receiver may then close its gate once more; and the ten seconds of a decision for the retries and for all that waits."""


@dataclass
class CallbackVerdict:
    """The figures of the callbacks, and everything about them that should not be."""

    announced: int = 0
    """Events of which something is kept."""
    delivered: int = 0
    repeated: int = 0
    """Delivered more than once, which is allowed."""
    dead: int = 0
    pending: int = 0
    """At hosts that never answer, and in line there."""
    requests: int = 0
    median_seconds: float = 0.0
    """From the decision to the first delivery, half of all."""
    worst_calm_seconds: float = 0.0
    """The longest that anything waited for it while no fault was on."""
    worst_seconds: float = 0.0
    recovery_seconds: float = 0.0
    """From the end of the last fault to the last first delivery."""
    missing: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing or self.wrong or self.late)


@dataclass(frozen=True)
class CallbackEvidence:
    """What is there at the end."""

    kept: Mapping[str, KeptCallback]
    arrivals: Mapping[str, Sequence[Arrival]]
    """What the receiver has noted, by transaction; read after what Redis keeps, so that it lacks nothing of it."""
    live_host: str
    attempts: int
    """That a callback has before it is given up."""


def judge_callbacks(
    ledger: Ledger,
    evidence: CallbackEvidence,
    *,
    states: Mapping[str, dict[str, Any] | str],
    decided_at: Mapping[str, float],
    windows: Windows,
    healed_at: float,
) -> CallbackVerdict:
    """Compares what clients asked for with what Redis keeps and what the receiver got."""
    verdict = CallbackVerdict(announced=len(evidence.kept))
    for transaction_id in ledger.acknowledged:
        url, state = ledger.entries[transaction_id].body.get("callback_url"), states[transaction_id]
        # what is neither decided nor failed is lost, which is judged elsewhere
        if url is not None and (isinstance(state, dict) or state.startswith(FAILED)):
            _judge_one(verdict, evidence, transaction_id, url, state)
    _judge_stray(verdict, ledger, evidence)
    _judge_times(verdict, evidence, decided_at, windows=windows, healed_at=healed_at)
    return verdict


def _judge_one(
    verdict: CallbackVerdict,
    evidence: CallbackEvidence,
    transaction_id: str,
    url: str,
    state: dict[str, Any] | str,
) -> None:
    kept = evidence.kept.get(transaction_id)
    if kept is None:
        verdict.missing[transaction_id] = "it was never announced"
        return
    arrivals = evidence.arrivals.get(transaction_id, ())
    if problem := _wrong_event(kept, transaction_id, url, state) or _wrong_requests(kept, arrivals):
        verdict.wrong[transaction_id] = problem
    taken = sum(arrival.taken for arrival in arrivals)
    verdict.requests += len(arrivals)
    verdict.repeated += taken > 1
    if url == url_at(evidence.live_host):
        if kept.status == "delivered" and taken:
            verdict.delivered += 1
        else:
            verdict.missing[transaction_id] = (
                f"it is {kept.status} after {kept.tries} attempts, and the receiver took {taken} of {len(arrivals)}"
            )
    elif kept.status == "dead":
        verdict.dead += 1
        if kept.tries < evidence.attempts or not kept.is_dead:
            verdict.wrong[transaction_id] = f"given up after {kept.tries} attempts; kept for replay: {kept.is_dead}"
    elif kept.status == "pending":
        verdict.pending += 1
        if not kept.is_pending:
            verdict.missing[transaction_id] = "it is pending, and not in line"
    else:
        verdict.wrong[transaction_id] = f"it is {kept.status}, and its host has never answered"


def _wrong_event(kept: KeptCallback, transaction_id: str, url: str, state: dict[str, Any] | str) -> str | None:
    if kept.url != url or url_at(kept.host) != url:
        return f"it goes to {kept.url} at {kept.host}, which should be {url}"
    decided = isinstance(state, dict)
    status = "scored" if decided else "failed"
    wanted = {
        "type": f"transaction.{status}",
        "transaction_id": transaction_id,
        "status": status,
        "decision": state if decided else None,
    }
    try:
        event = orjson.loads(kept.body)
        found = {"type": event["type"], **{name: event["data"].get(name) for name in wanted if name != "type"}}
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"an event that is none: {kept.body!r}"
    return None if found == wanted else f"announced {found}, which should be {wanted}"


def _wrong_requests(kept: KeptCallback, arrivals: Sequence[Arrival]) -> str | None:
    for arrival in arrivals:
        if arrival.problem is not None:
            return f"a request was refused: {arrival.problem}"
        if arrival.message_id != kept.message_id:
            return f"a request had the webhook-id {arrival.message_id}, the event has {kept.message_id}"
        if arrival.body != kept.body:
            return f"a request had the body {arrival.body!r}, the event has {kept.body!r}"
    return None


def _judge_stray(verdict: CallbackVerdict, ledger: Ledger, evidence: CallbackEvidence) -> None:
    """What nobody has asked for."""
    for transaction_id in {**evidence.kept, **evidence.arrivals}:
        entry = ledger.entries.get(transaction_id)
        if entry is None or "callback_url" not in entry.body:
            verdict.wrong[transaction_id] = "nobody asked for its callback"
        elif transaction_id not in evidence.kept:
            verdict.wrong[transaction_id] = "the receiver got a callback of which nothing is kept"


def _judge_times(
    verdict: CallbackVerdict,
    evidence: CallbackEvidence,
    decided_at: Mapping[str, float],
    *,
    windows: Windows,
    healed_at: float,
) -> None:
    waits = []
    calm_spans = calm(windows)
    for transaction_id, arrivals in evidence.arrivals.items():
        first = next((each.at for each in arrivals if each.taken), None)
        if first is None or transaction_id not in decided_at:
            continue
        since = decided_at[transaction_id]
        waits.append(max(0.0, first - since))
        verdict.recovery_seconds = max(verdict.recovery_seconds, first - healed_at)
        if first - max(since, healed_at) > CALLBACK_ALLOWED_SECONDS:
            verdict.late.append(transaction_id)
        if waits[-1] > verdict.worst_calm_seconds:
            longest = longest_within(calm_spans, since, first)
            verdict.worst_calm_seconds = max(verdict.worst_calm_seconds, longest)
    waits.sort()
    verdict.worst_seconds = waits[-1] if waits else 0.0
    verdict.median_seconds = waits[len(waits) // 2] if waits else 0.0
