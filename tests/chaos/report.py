"""What a run has shown, as a table for a terminal or for the docs."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from tests.chaos.answers import FAILED
from tests.chaos.callbacks import CALLBACK_ALLOWED_SECONDS
from tests.chaos.peer import PeerResult
from tests.chaos.verdict import Verdict

PACKAGES = ("redis", "hiredis", "rq", "falcon", "uvicorn")

INTRODUCTION = """\
Written by `make chaos`: Riskline on two hosts (`riskline up` with two workers; an API and a worker) that share a Redis
with `appendfsync always`, behind a proxy that delays, stalls, loses and cuts. Clients submit one by one and in batches,
repeat, contradict, read, follow the feed, and ask again until they have an answer. At the end everything is killed at
once, while much waits. Beside it, on the same Redis and through the same proxy, RQ alone, as it comes out of the box:
three `SimpleWorker`s, each killed or stopped together with one of Riskline's workers, and a client that enqueues one
job a transaction. Scoring takes 5 ms, there and here, so that faults find work half done.

About half of what is queued has a `callback_url`. Two delivery workers, one a host, are killed, stopped and cut off as
the others are; the receiver answers a tenth of the requests late, with 500 or not at all, hangs at times and is away at
times. A few callbacks go to hosts that never answer. An attempt is followed by the next after a second or two, so that
those are given up within the run; behind a host's closed gate they wait longer, and are pending at the end."""

Row = tuple[str, str, str]


@dataclass(frozen=True)
class Report:
    """A finished run."""

    seed: int
    seconds: float
    redis: str
    faults: Mapping[str, int]
    verdict: Verdict
    peers: Mapping[int, PeerResult]
    """RQ alone, so many seconds after the last fault."""
    answers: Mapping[str, int]
    audit: str

    @property
    def command(self) -> str:
        """What repeats the plan."""
        return f'make chaos CHAOS_FLAGS="--seconds {self.seconds:g} --seed {self.seed}"'

    def rows(self) -> list[Row]:
        """What was measured, Riskline's and RQ's."""
        ours = self.verdict
        peers = list(self.peers.items())
        soon, late = (peers[0][1], peers[-1][1]) if peers else (None, None)
        later = f" ({peers[-1][0]} s after the last fault: {{}})" if len(peers) > 1 else "{}"

        def theirs(name: str) -> str:
            if soon is None or late is None:
                return "-"
            first, last = getattr(soon, name), getattr(late, name)
            return f"{first:,}" + (later.format(f"{last:,}") if last != first else "")

        unfinished = "-"
        if soon is not None and late is not None:
            first, last = (each.accepted - each.done - each.failed for each in (soon, late))
            unfinished = f"{first:,}" + (later.format(f"{last:,}") if last != first else "")
        failed = sum(why.startswith(FAILED) for why in ours.lost.values())
        return [
            ("accepted", f"{ours.acknowledged:,}", theirs("accepted")),
            ("decided as it must be, 10 s after the last fault", f"{ours.decided:,}", theirs("done")),
            ("not decided", f"{len(ours.lost) - failed:,}", unfinished),
            ("given up as failed", f"{failed:,}", theirs("failed")),
            ("decided twice", f"{len(ours.twice):,}", theirs("twice")),
            ("wrong or changed decisions", f"{len(ours.wrong):,}", "-"),
            ("decided, but later than that", f"{len(ours.late):,}", "-"),
            ("last decision after the end of the last fault", f"{ours.recovery_seconds:.1f} s", "-"),
            ("every client answered, nothing undecided, after it", f"{ours.settled_seconds:.1f} s", "-"),
            ("longest wait for a decision while no fault was on", f"{ours.worst_calm_seconds:.1f} s", "-"),
            *self._callback_rows(),
            ("answers that the contract does not allow, and the like", f"{len(ours.violations):,}", "-"),
            ("`riskline doctor --audit`", self.audit, "-"),
        ]

    def _callback_rows(self) -> list[Row]:
        ours = self.verdict.callbacks
        figures = {
            "callbacks announced": f"{ours.announced:,}",
            "callbacks delivered": f"{ours.delivered:,}",
            "callbacks delivered more than once, as is allowed": f"{ours.repeated:,}",
            "callbacks given up after all attempts, at hosts that never answer": f"{ours.dead:,}",
            "callbacks pending at hosts that never answer": f"{ours.pending:,}",
            "callbacks missing": f"{len(ours.missing):,}",
            "callbacks wrong, changed or badly signed": f"{len(ours.wrong):,}",
            f"callbacks delivered, but later than {CALLBACK_ALLOWED_SECONDS:.0f} s": f"{len(ours.late):,}",
            "from a decision to its first delivery, half of all": f"{ours.median_seconds * 1000:.0f} ms",
            "longest wait for a delivery while no fault was on": f"{ours.worst_calm_seconds:.1f} s",
            "longest wait for a delivery, faults included": f"{ours.worst_seconds:.1f} s",
            "last first delivery after the end of the last fault": f"{ours.recovery_seconds:.1f} s",
        }
        return [(what, figure, "-") for what, figure in figures.items()]

    def figures(self) -> dict[str, Any]:
        """For programs."""
        return {
            "seed": self.seed,
            "seconds": self.seconds,
            "faults": dict(self.faults),
            "riskline": self.verdict.figures(),
            "rq_alone": {str(seconds): asdict(result) for seconds, result in self.peers.items()},
            "answers": dict(self.answers),
            "audit": self.audit,
        }

    def text(self) -> str:
        """For a terminal."""
        rows = [("", "Riskline", "RQ alone"), *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        faults = ", ".join(f"{count} x {name}" for name, count in self.faults.items())
        answers = ", ".join(f"{name} {count}" for name, count in self.answers.items())
        return "\n".join([f"faults: {sum(self.faults.values())}: {faults}", f"answers: {answers}", "", *lines])

    def markdown(self) -> str:
        """For the docs."""
        versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        lines = [
            "# A run of faults",
            "",
            INTRODUCTION,
            "",
            f"{sum(self.faults.values())} faults in {self.seconds:g} s, seed {self.seed}; {os.cpu_count()} cores;",
            f"Python {platform.python_version()}, Redis {self.redis}; with {versions}.",
            "",
            "| | Riskline | RQ alone |",
            "|---|---|---|",
            *(f"| {what} | {ours} | {theirs} |" for what, ours, theirs in self.rows()),
            "",
            "| fault | times |",
            "|---|---|",
            *(f"| {name} | {count} |" for name, count in self.faults.items()),
            "",
            "The same plan of faults again:",
            "",
            f"    {self.command}",
        ]
        return "\n".join(lines) + "\n"
