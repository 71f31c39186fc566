"""The two requests that a checkout sends, answered from the HTTP parser's own callback.

A request costs an ASGI application a task, a scope and a dozen calls: ten times the CPU of its decision. A plain POST
to either door (one transaction in one JSON body, no preferences), as nearly all are, passes them by. Every other
request, and each that is refused, takes the ordinary path through Falcon, the only place that explains errors. The
answers of both paths are the same to the byte (a test compares them).
"""

import time
from functools import partial
from typing import Any

from riskline.ingest.auth.rate_limits import RateAccount
from riskline.ingest.edge.connection import EdgeProtocol
from riskline.ingest.edge.pieces import HEAD_END
from riskline.ingest.edge.turns import PIECES_A_TURN
from riskline.ingest.fastpath.state import STATE, Door, FastPath, FastRequest, busy
from riskline.ingest.history.observer import Observed, Observer, required
from riskline.ingest.middleware.request_id import request_id
from riskline.ingest.problems.problem import MEDIA_PROBLEM
from riskline.ingest.resources.transactions import POLL_AGAIN_SECONDS, location, queued_state
from riskline.ingest.submission.callback_field import SubmittedTransaction
from riskline.ingest.submission.group_commit import COMMITTED, Answer
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.store.interfaces import ACCEPTED
from riskline.shared.store.records import Submission
from riskline.shared.telemetry.trace_context import traceparent

UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"prefer", b"upgrade", b"content-encoding", b"origin"))
"""Headers that make a request one for the ordinary way."""

MEDIA_JSON = b"application/json"

MEDIA_PROBLEM_BYTES = MEDIA_PROBLEM.encode()

CLOSES = b"connection: close\r\n"

SCORE = b"POST /score-transaction"
"""The first bytes of requests for a decision."""


class FastPathProtocol(EdgeProtocol):
    """A connection with a fast path before its ordinary one.

    A head that equals a known one to the byte is not parsed again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fast_path: FastPath = self.app_state[STATE]
        self._head = self._body = b""
        self._plain: FastRequest | None = None
        self._submitting = self._stopping = self._shedding = False
        self._committed: Answer | None = None
        self._answered_at = 0.0

    def data_received(self, data: bytes) -> None:
        """Called with a part of a request, or one or several requests."""
        if (
            self._held
            or (len(self.connections) > PIECES_A_TURN and not self._edge.turns.take())
            or not self._take_known(data)
        ):
            super().data_received(data)

    def read_on(self, data: bytes, start: int) -> None:
        """Reads what was held."""
        if start or not self._take_known(data):
            super().read_on(data, start)

    def _take_known(self, data: bytes) -> bool:
        if not (self._between_requests and data.startswith(b"POST /")):
            return False
        end = data.find(HEAD_END) + len(HEAD_END)
        plain = self._fast_path.heads.get(data[:end])
        return (
            plain is not None
            and len(data) - end == plain.length
            and self._is_free()
            and self._take(plain, data[end:], data)
        )

    def wait_for_turn(self, data: bytes) -> None:
        """Keeps the bytes until their turn; where too many requests wait, a decision is refused at once."""
        if self._between_requests and self._edge.turns.full and data.startswith(SCORE):
            self._shedding = True
            self.read(data)
            self._shedding = False
        else:
            super().wait_for_turn(data)

    def read(self, data: bytes, start: int = 0) -> None:
        """Feeds the parser; a head of an earlier call may not be admitted any more."""
        self._head = b""
        super().read(data, start)

    def feed(self, piece: bytes) -> bool:
        """Hands a piece to the parser; False where nothing after it is to be read."""
        if self._between_requests:
            self._head = piece
        elif self._in_head:
            # one that came in parts is not known by its bytes
            self._head = b""
        return super().feed(piece)

    def _is_free(self) -> bool:
        cycle = self.cycle
        return (
            (cycle is None or cycle.response_complete)
            and not (self.flow.write_paused or self._stopping)
            and self._committed is None
            and not self._submitting
        )

    def is_answering(self) -> bool:
        """True where a request that has arrived has no answer yet."""
        return self._submitting or super().is_answering()

    def is_read_by_the_app(self) -> bool:
        """True where the application already has the request that is arriving, and reads its body."""
        return self._plain is None and super().is_read_by_the_app()

    def on_headers_complete(self) -> None:
        """Called when the head is complete: chooses the fast path or the ordinary one."""
        self.check_head()
        door = self._fast_path.doors.get(self.url)
        self._plain = None if door is None or not self._is_free() else self._plain_request(door)
        self._body = b""
        if self._plain is not None:
            self._in_head = False
        elif self.is_ours():
            self.hand_on()
            if self._committed is not None:
                self.scope["state"][COMMITTED], self._committed = self._committed, None

    def _plain_request(self, door: Door) -> FastRequest | None:
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if (
            (door.queued or not self._fast_path.strict)
            and len(headers) == len(self.headers)
            and headers.get(b"content-type") == b"application/json"
            and headers.keys().isdisjoint(UNUSUAL)
            and takes_json(headers.get(b"accept"))
            and length.isdigit()
            and self._body_left <= self._fast_path.max_body_bytes
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and self._fast_path.hosts.admit(_text(headers.get(b"host")))
            and self._fast_path.gate.admits(_text(headers.get(b"authorization")), door.access)
        ):
            return FastRequest(
                door,
                self._body_left,
                _text(headers.get(b"x-request-id")),
                traceparent(_text(headers.get(b"traceparent"))),
                *self._fast_path.sender_and_account(_text(headers.get(b"authorization"))),
            )
        return None

    def on_body(self, body: bytes) -> None:
        """Called with a part of the body."""
        if self._plain is None:
            super().on_body(body)
        else:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """Called when the request is complete."""
        plain, self._plain = self._plain, None
        if plain is None:
            super().on_message_complete()
            return
        self._between_requests = True
        if self._head:
            self._fast_path.learn(self._head, plain)
        # one that waits, and whose head came in parts or before its body, waits the ordinary way
        waits = plain.door.queued or self._fast_path.observer is not None or self._fast_path.pressure.is_high
        whole = self._head or not waits
        if self._stopping or not whole or not self._take(plain, self._body, self._head + self._body):
            self.hand_on()
            super().on_body(self._body)
            super().on_message_complete()
            if self._stopping:
                super().shutdown()

    def shutdown(self) -> None:
        """Called when the server stops. A request that has begun to arrive, or awaits anything, is still answered."""
        self._stopping = True
        self._fast_path.end_waits()
        self._stop_where_free()

    def _stop_where_free(self) -> None:
        waits_for_turn = self._held and not self.is_answering()
        if self._plain is None and not (self._submitting or waits_for_turn):
            super().shutdown()

    def go_on(self) -> None:
        """Reads what is held: its turn has come."""
        super().go_on()
        if self._stopping:
            self._stop_where_free()

    def timeout_keep_alive_handler(self) -> None:
        """Closes the connection where nothing has come since the last answer: the timer runs from an earlier one."""
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if self._submitting or left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(max(left, 0.1), self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _take(self, plain: FastRequest, body: bytes, data: bytes) -> bool:
        """Answers a request, now or once it is committed; False where the ordinary path has to."""
        started = time.perf_counter()
        if not plain.door.queued:
            is_high = self._fast_path.pressure.is_high
            if self._shedding or (is_high and self._edge.turns.full):
                self._refuse_decision(plain)
                return True
            if is_high:
                self._submitting = True
                self._fast_path.pressure.wait(partial(self._waited, plain, body, data, started))
                return True
        return self._go(plain, body, data, started)

    def _waited(self, plain: FastRequest, body: bytes, data: bytes, started: float) -> None:
        self._submitting = False
        if self.transport.is_closing():
            return
        if not self._go(plain, body, data, started):
            self.read(data)
        if not self._submitting:
            self._after_waiting()

    def _go(self, plain: FastRequest, body: bytes, data: bytes, started: float) -> bool:
        account = plain.account
        if account is not None and not account.take(self._fast_path.clock()):
            return False
        try:
            if self._fast_path.observer is not None:
                self._observe(self._fast_path.observer, plain, body, data, started)
            elif plain.door.queued:
                self._submit(plain, self._fast_path.parse_submission(body), data, started)
            else:
                self._decide(plain, self._fast_path.parse(body), started)
        except Exception:  # noqa: BLE001  # whatever it is: the ordinary way meets it again, and says what is wrong
            if account is not None:
                account.charge(-1, self._fast_path.clock())
            return False
        return True

    def _rate_lines(self, account: RateAccount) -> bytes:
        return account.lines(self._fast_path.clock())

    def _decide(self, plain: FastRequest, transaction: TransactionModel, started: float) -> None:
        decision = self._fast_path.decide(transaction, explain=plain.door.explain)
        rate = b"" if plain.account is None else self._rate_lines(plain.account)
        if self._stopping:
            rate += CLOSES
        self._answer(b"200 OK", request_id(plain.request_id), decision, rate)
        self._fast_path.scored.add_observed(time.perf_counter() - started)

    def _observe(self, observer: Observer, plain: FastRequest, body: bytes, data: bytes, started: float) -> None:
        """Has the transaction observed before it goes on."""
        if plain.door.queued:
            transaction, callback_url = self._fast_path.parse_submission(body)
            observer.observe(transaction, partial(self._observed, plain, callback_url, data, started))
        else:
            transaction = self._fast_path.parse(body)
            observer.observe(transaction, partial(self._observed_at_once, plain, data, started), at_once=True)
            self._edge.turns.begin()
        self._submitting = True

    def _observed_at_once(self, plain: FastRequest, data: bytes, started: float, observed: Observed) -> None:
        self._edge.turns.end()
        self._submitting = False
        if self.transport.is_closing():
            return
        try:
            self._decide(plain, required(observed), started)
        except Exception as error:  # noqa: BLE001  # whatever it is: the ordinary way says what is wrong
            self._committed = error
            self.read(data)
        self._after_waiting()

    def _observed(
        self, plain: FastRequest, callback_url: str | None, data: bytes, started: float, observed: Observed
    ) -> None:
        self._submitting = False
        if self.transport.is_closing():
            return
        try:
            self._submit(plain, SubmittedTransaction(required(observed), callback_url), data, started)
        except Exception as error:  # noqa: BLE001  # as above
            self._committed = error
            self.read(data)
            self._after_waiting()

    def _submit(self, plain: FastRequest, submitted: SubmittedTransaction, data: bytes, started: float) -> None:
        identity = request_id(plain.request_id)
        submission = self._fast_path.submission(
            *submitted,
            explain=plain.door.explain,
            request_id=identity,
            traceparent=plain.traceparent,
            sender=plain.sender,
        )
        self._fast_path.enqueue(
            submission, partial(self._commit_answered, identity, submission, data, started, account=plain.account)
        )
        self._submitting = True

    def _commit_answered(
        self,
        identity: str,
        submission: Submission,
        data: bytes,
        started: float,
        answer: Answer,
        *,
        account: RateAccount | None,
    ) -> None:
        self._submitting = False
        if self.transport.is_closing():
            return
        if answer is ACCEPTED:
            place = f"location: {location(self.root_path, submission.transaction_id)}\r\nretry-after: "
            close = CLOSES if self._stopping else b""
            state = queued_state(submission.transaction_id, submission.submitted_at)
            self._answer(
                b"202 Accepted",
                identity,
                state,
                f"{place}{POLL_AGAIN_SECONDS}\r\n".encode()
                + close
                + (b"" if account is None else self._rate_lines(account)),
            )
            self._fast_path.accepted.add_observed(time.perf_counter() - started)
        else:
            # a repetition, a conflict, a full queue or no Redis: the ordinary path answers
            self._committed = answer
            self.read(data)
        self._after_waiting()

    def _after_waiting(self) -> None:
        """Reads on behind a request that waited."""
        if self._stopping:
            super().shutdown()
            return
        self.go_on_later()

    def _refuse_decision(self, plain: FastRequest) -> None:
        """Refuses with 503 for less CPU than a decision takes, which an overloaded process depends on."""
        identity = request_id(plain.request_id)
        body, headers = busy(self.root_path)
        self._answer(b"503 Service Unavailable", identity, body, headers, media_type=MEDIA_PROBLEM_BYTES)
        self._fast_path.refused.inc()

    def _answer(
        self, status: bytes, identity: str, body: bytes, headers: bytes = b"", *, media_type: bytes = MEDIA_JSON
    ) -> None:
        first = self._fast_path.first_lines(status, self.server_state.default_headers, media_type)
        last = f"x-request-id: {identity}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        self.transport.write(b"".join((first, headers, last, body)))
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )


def takes_json(accept: bytes | None) -> bool:
    """True where the Accept header plainly admits JSON."""
    return accept is None or ((b"*/*" in accept or MEDIA_JSON in accept) and b"q=0" not in accept)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
