"""`riskline doctor --audit`: proves that every accepted transaction was decided, failed or still waits."""

from collections.abc import Collection, Iterator, Sequence

from riskline.cli.doctor.finding import Finding, Verdict
from riskline.cli.doctor.store import check_identity
from riskline.cli.installation import installation_settings, installation_store
from riskline.shared.errors import RisklineError
from riskline.shared.store.operations import AllAudits
from riskline.shared.store.status.counts import Counts, together

SHOWN = 5
"""Ids in one line; the number says how many there are."""


def audit_installation(**overrides: object) -> tuple[list[Finding], dict[str, int | None]]:
    """The audit of the Redis that the installation has, and its counts; a finding, too, where there is none."""
    try:
        settings = installation_settings(**overrides)
        with installation_store(**overrides) as store:
            auditor = AllAudits(store.shards)
            shards = auditor.counts()
            # an empty store has nothing to find in it, and is what remains where all was lost
            return [check_identity(settings, store), *audit(auditor, shards)], together(shards)._asdict()
    except RisklineError as error:
        return [Finding("journal", Verdict.FAIL, f"nothing could be proved: {error}")], {}


def audit(auditor: AllAudits, shards: Sequence[Counts]) -> Iterator[Finding]:
    """The invariants, one finding each; raises StoreUnavailableError where Redis fails it."""
    counts = together(shards)
    problems = [
        f"shard {number}: {problem}" if len(shards) > 1 else problem
        for number, shard in enumerate(shards)
        for problem in shard.problems()
    ]
    for problem in problems:
        yield Finding("journal", Verdict.FAIL, problem)
    if not problems:
        detail = (
            f"ever {counts.accepted} accepted + {counts.replayed} replayed = {counts.decided} decided + "
            f"{counts.failed} failed + {counts.undecided} undecided now; {counts.recorded} more by the synchronous door"
        )
        yield Finding("journal", Verdict.OK, detail)
    lost = auditor.out_of_line()
    if lost:
        advice = "no worker will come to them; `riskline transactions requeue` puts them in line again"
        yield Finding("line", Verdict.FAIL, f"{_some(lost)} undecided but not in line: {advice}")
    else:
        yield Finding("line", Verdict.OK, f"each of {counts.undecided} undecided transactions waits or is claimed")
    broken = auditor.without_record()
    if broken:
        advice = "something else than Riskline wrote or evicted keys of this Redis; submit them again"
        yield Finding("records", Verdict.FAIL, f"{_some(broken)} undecided without a record that says so: {advice}")
    else:
        yield Finding("records", Verdict.OK, "each of them has its record")
    yield from _callbacks(auditor, counts)
    if not counts.workers:
        waits = "and transactions wait" if counts.undecided else "and what is queued will wait"
        yield Finding("workers", Verdict.WARN, f"none lives, {waits}: start `riskline worker`")
    else:
        yield Finding("workers", Verdict.OK, f"{counts.workers} live")


def _callbacks(auditor: AllAudits, counts: Counts) -> Iterator[Finding]:
    lost = auditor.callbacks_out_of_line()
    if lost:
        advice = "no delivery worker will come to them; `riskline callbacks replay ID` sends one again"
        yield Finding("callbacks", Verdict.FAIL, f"{_some(lost)} pending but not in line: {advice}")
    broken = auditor.callbacks_without_record()
    if broken:
        advice = "something else than Riskline wrote or evicted keys of this Redis; their receivers hear nothing"
        yield Finding("callbacks", Verdict.FAIL, f"{_some(broken)} pending of which nothing is kept: {advice}")
    if not lost and not broken:
        detail = (
            f"ever {counts.callbacks_announced} + {counts.callbacks_resent} sent again = "
            f"{counts.callbacks_delivered} delivered + {counts.callbacks_dead} given up + "
            f"{counts.callbacks_superseded} superseded + {counts.callbacks_pending} pending now"
        )
        yield Finding("callbacks", Verdict.OK, detail)


def _some(ids: Collection[str]) -> str:
    shown = ", ".join(sorted(ids)[:SHOWN])
    return f"{len(ids)} ({shown}{', …' if len(ids) > SHOWN else ''})"
