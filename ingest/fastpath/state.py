"""The state of the fast path that all connections share: its doors, known heads, and the work behind them."""

from functools import cache
from typing import Any, NamedTuple

import orjson

from riskline.ingest.auth.hosts import AllowedHosts
from riskline.ingest.auth.rate_limits import RateAccount
from riskline.ingest.auth.scopes import ACCESS, Access
from riskline.ingest.problems.problem import HttpProblem, described, help_link
from riskline.ingest.services import Services
from riskline.ingest.submission.callback_field import SubmissionParser
from riskline.ingest.submission.immediate_decisions import ImmediateDecisions
from riskline.shared.telemetry.metrics import REQUEST_SECONDS, REQUESTS, Tally

STATE = "fast_path"
"""The key of the FastPath in the lifespan's state, where each connection finds it."""

KNOWN_HEADS = 1024
"""Heads that are known at a time: a client has one for each length that its bodies have."""

KNOWN_HEAD_BYTES = 2048
"""The largest head that is kept: bounds what a client can fill memory with."""


class Door(NamedTuple):
    """The door and the options that a URL names."""

    queued: bool
    explain: bool
    access: Access


DOORS = {
    path.encode() + query: Door(queued=queued, explain=explain, access=ACCESS["POST", path])
    for path, queued in (("/score-transaction", False), ("/transactions", True))
    for query, explain in ((b"", False), (b"?explain=true", True), (b"?explain=false", False))
}


class FastRequest(NamedTuple):
    """A request that may go the fast way, by its head."""

    door: Door
    length: int
    request_id: str | None
    traceparent: str | None
    sender: str | None
    account: RateAccount | None


class FastPath:
    """The state that all connections share. It is Falcon middleware, so that the server's lifespan hands it to them."""

    def __init__(
        self,
        services: Services,
        *,
        decisions: ImmediateDecisions,
        submissions: SubmissionParser,
        hosts: AllowedHosts,
        max_body_bytes: int,
    ) -> None:
        # where traces are made, all requests go the ordinary way
        self.doors = DOORS if services.tracing is None else {}
        self._waits = (services.waiting, services.feed)
        self.strict = services.strict is not None
        self.parse = decisions.parse
        self.decide = decisions.decide
        self.parse_submission = submissions.parse
        self.submission = submissions.submission
        self.enqueue = services.submitter.enqueue
        self.observer = services.observer
        self.pressure = services.recorder.pressure
        self.max_body_bytes = max_body_bytes
        self.scored = Tally(
            REQUESTS.labels("/score-transaction", "POST", "200"), REQUEST_SECONDS.labels("/score-transaction", "no")
        )
        self.accepted = Tally(
            REQUESTS.labels("/transactions", "POST", "202"), REQUEST_SECONDS.labels("/transactions", "no")
        )
        self.refused = REQUESTS.labels("/score-transaction", "POST", "503")
        self.gate = services.gate
        self.hosts = hosts
        self._limiter = services.limiter
        self.clock = services.limiter.clock
        self.heads: dict[bytes, FastRequest] = {}
        # a head that is known was admitted: with other keys each has to be admitted anew
        services.gate.on_change(self.heads.clear)
        services.graceful_shutdown.on_begin(self.close_doors)
        self._defaults: list[tuple[bytes, bytes]] = []
        self._first_lines: dict[bytes, bytes] = {}

    async def process_startup(self, scope: dict[str, Any], _event: dict[str, Any]) -> None:
        """Makes itself known to the server's connections."""
        scope.get("state", {})[STATE] = self

    def end_waits(self) -> None:
        """Answers all clients that wait, at either door: the server stops."""
        for each in self._waits:
            each.end_waits()

    def close_doors(self) -> None:
        """Sends all further requests by the ordinary path."""
        self.doors = {}
        self.heads.clear()

    def sender_and_account(self, authorization: str | None) -> tuple[str | None, RateAccount | None]:
        """The identity of an admitted request's key, and the account that it spends from."""
        key = self.gate.holder(authorization) if self.gate.asks else None
        return None if key is None else key.identity, self._limiter.account(key)

    def learn(self, head: bytes, plain: FastRequest) -> None:
        """Remembers a head in the very call that admitted it; only where another request can have the same."""
        if plain.request_id is None and plain.traceparent is None and len(head) <= KNOWN_HEAD_BYTES:
            if len(self.heads) >= KNOWN_HEADS:
                self.heads.clear()
            self.heads[head] = plain

    def first_lines(self, status: bytes, defaults: list[tuple[bytes, bytes]], media_type: bytes) -> bytes:
        """An answer's first lines with the server's own headers, which change once a second."""
        if defaults is not self._defaults:
            self._defaults, self._first_lines = defaults, {}
        lines = self._first_lines.get(status)
        if lines is None:
            own = b"".join(name + b": " + value + b"\r\n" for name, value in defaults)
            lines = b"HTTP/1.1 " + status + b"\r\n" + own + b"content-type: " + media_type + b"\r\n"
            self._first_lines[status] = lines
        return lines


@cache
def busy(root_path: str) -> tuple[bytes, bytes]:
    """The body and the headers of the answer that too many requests wait."""
    problem = HttpProblem("too-busy")
    body = orjson.dumps({**described(problem), "instance": "/score-transaction"})
    headers = {**(dict(problem.headers or {})), "link": help_link(problem.name, root_path=root_path)}
    return body, "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items()).encode()
