"""The HTTP edge: what a client may send before anybody looks at what it wants, and what it is told where it may not.

uvicorn answers a request that it cannot read in plain text, waits for ever for one that does not end, and takes any
number of headers and connections. Here all of these have a bound, and each refusal is a problem like any other.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingest.edge_shared import STATE, TICK_SECONDS, TURNED_AWAY_AT_A_TIME, Edge
from ingest.middleware import request_id
from ingest.problems import Problem
from ingest.refusals import (
    CUT_OFF,
    GONE,
    UNREADABLE_URI,
    RefusedError,
    bad_request,
    expectation_failed,
    head_too_large,
    request_timeout,
    too_many_connections,
    uri_too_long,
    why,
    wire_answer,
)
from shared.metrics import REQUESTS

MAX_URI_BYTES = 8192
"""RFC 9110 wants 8,000 at least; ours have a few hundred."""

MAX_HEAD_BYTES = 32_768
"""URI and headers together, as nginx has it: a gateway's tokens and cookies fit."""

MAX_FIELDS = 100
"""As gunicorn and Apache have it."""

MAX_UNREAD_BYTES = 1_048_576
"""How much of a body is read that nobody wants: to close at once would cost many clients the answer that says why."""

SLOW_BYTES = 1000
"""A second in which fewer come of a request, while we would read more, counts as one in which its client does not send.

So a large batch may take as long as it needs over any line, and a client that sends a byte now and then may not."""


class EdgeProtocol(HttpToolsProtocol):
    """uvicorn's connection with bounds, and problems for what it cannot read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._edge: Edge = self.app_state[STATE]
        self._between_requests = True
        self._in_head = self._turned_away = self._refused = False
        self._refusal: Problem | None = None
        self._running: Any = None
        self._head_bytes = self._piece_bytes = self._received = self._unread = 0
        self._slow_seconds = 0.0
        self._piece_is_new = self._head_is_mixed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is here; where all places are taken it is told so once it asks for something."""
        super().connection_made(transport)
        self._edge.watch(self.connections)
        beyond = len(self.connections) - self._edge.limits.connections
        if beyond > 0:
            # to answer before there is a request loses the answer: what comes then resets the connection
            self._turned_away, self._between_requests = True, False
            if beyond > TURNED_AWAY_AT_A_TIME:
                transport.close()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                self._edge.limits.request_seconds, self.timeout_keep_alive_handler
            )

    def data_received(self, data: bytes) -> None:
        """A piece of a request is here, or a request, or several."""
        if self._refused:
            return
        if self._turned_away:
            self.refuse(too_many_connections())
            return
        self._piece_bytes, self._piece_is_new = len(data), True
        self._received += self._piece_bytes
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.refuse(why(error))
        except httptools.HttpParserUpgrade as upgrade:
            self._not_upgraded(data[upgrade.args[0] :])
        else:
            self._after_piece()

    def _after_piece(self) -> None:
        if self._in_head:
            # of a piece that began with another request, nobody knows how much is this one's head
            self._head_bytes += min(self._piece_bytes, MAX_HEAD_BYTES) if self._head_is_mixed else self._piece_bytes
            self._head_is_mixed = False
            if self._head_bytes > 2 * MAX_HEAD_BYTES:
                self.refuse(self._too_large())
        elif self._between_requests and self.timeout_keep_alive_task is None and not self.is_answering():
            # empty lines, which may stand before a request, are none
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _not_upgraded(self, rest: bytes) -> None:
        """Reads a request that offers another protocol as one that does not: a server may pass over the offer.

        The parser takes whatever follows such a head for the other protocol, and so loses the body.
        """
        kept = [line for line in self.headers if line[0] not in (b"upgrade", b"http2-settings")]
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/1.1", *(b": ".join(line) for line in kept)]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._between_requests = True
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._between_requests, self._in_head = False, True
        self._head_is_mixed, self._piece_is_new = not self._piece_is_new, False
        self._head_bytes = self._received = self._unread = self._slow_seconds = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head is here; what comes behind a chunked body is none."""
        if self._in_head:
            super().on_header(name, value)

    def check_size(self) -> None:
        """Looks at what is cheap to see of every head.

        Raises:
            RefusedError: it is too large.
        """
        too_many = len(self.url) > MAX_URI_BYTES or len(self.headers) > MAX_FIELDS
        if too_many or (self._head_bytes + self._piece_bytes > MAX_HEAD_BYTES and self._size() > MAX_HEAD_BYTES):
            raise RefusedError(self._too_large())

    def _size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def is_ours(self) -> bool:
        """Whether the request is to be read on, as one that offers another protocol is not.

        Raises:
            RefusedError: it asks for what there is not.
        """
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RefusedError(bad_request("CONNECT is for proxies."))
            return False
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise RefusedError(bad_request("Its version is not one of HTTP/1.1 and HTTP/1.0."))
        if self.expect_100_continue and version == "1.0":
            self.expect_100_continue = False
        elif not self.expect_100_continue and any(name == b"expect" for name, _ in self.headers):
            raise RefusedError(expectation_failed())
        return True

    def on_headers_complete(self) -> None:
        """The head is here."""
        self.check_size()
        if self.is_ours():
            self.hand_on()

    def hand_on(self) -> None:
        """Gives the request to the application, in its turn."""
        try:
            super().on_headers_complete()
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError, AttributeError):
            # the last one is uvicorn's where a URI has no path
            raise RefusedError(bad_request(UNREADABLE_URI)) from None
        self._in_head = False

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """A part of the body is here; one that is not wanted any more is read for a while."""
        if self.cycle is not None and self.cycle.response_complete:
            self._unread += len(body)
            if self._unread > MAX_UNREAD_BYTES:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here as a whole."""
        if not self._in_head:
            self._between_requests = True
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is out; the next may be that the connection ends."""
        super().on_response_complete()
        if self._refusal is not None and not self.is_answering():
            self._write(self._refusal)

    def second_passed(self) -> None:
        """Ends a request that comes too slowly; called once a second."""
        if self._between_requests or self._refused or self.flow.read_paused:
            return
        if self._received < SLOW_BYTES:
            self._slow_seconds += TICK_SECONDS
        self._received = 0
        if self._slow_seconds >= self._edge.limits.request_seconds:
            self.refuse(request_timeout(self._edge.limits.request_seconds))

    def is_answering(self) -> bool:
        """Whether a request is here that has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def is_read_by_the_app(self) -> bool:
        """Whether the request that is arriving has been handed on, to be read as it comes."""
        return not (self._between_requests or self._in_head or self._turned_away)

    def refuse(self, problem: Problem) -> None:
        """Answers what is arriving, after the requests before it, and ends the connection."""
        handed_on = self.is_read_by_the_app()
        self._refused, self._between_requests = True, False
        if handed_on and self.pipeline:
            self.pipeline.popleft()
            handed_on = False
        elif handed_on:
            self._cut_off()
        if handed_on and self.cycle.response_started:
            self.transport.close()
        elif not handed_on and self.is_answering():
            self._refusal = problem
        else:
            self._write(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        if self.is_read_by_the_app() and self.cycle is not None:
            self._cut_off()
        if self.cycle is not None:
            self.scope["state"][GONE] = True
        # uvicorn lets only the newest of several requests know, and the others would write to nobody
        for cycle in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)
        # uvicorn leaves the timer of a connection that was reset, and with it all that the connection holds
        self._unset_keepalive_if_required()

    def _cut_off(self) -> None:
        """Lets the application know that the body which it reads does not end, but breaks off."""
        self.scope["state"][CUT_OFF] = True
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _too_large(self) -> Problem:
        if len(self.url) > MAX_URI_BYTES or not self.headers:
            return uri_too_long(MAX_URI_BYTES)
        return head_too_large(MAX_HEAD_BYTES, MAX_FIELDS)

    def _write(self, problem: Problem) -> None:
        if self.transport.is_closing():
            return
        path = b"" if self._turned_away else getattr(self, "url", b"").partition(b"?")[0]
        REQUESTS.labels("unknown", "unknown", str(problem.status_code)).inc()
        self.server_state.total_requests += 1
        answer = wire_answer(
            problem,
            instance=path,
            root_path=self.root_path,
            request_id=request_id(None),
            defaults=self.server_state.default_headers,
        )
        self.transport.write(answer)
        self.transport.close()
