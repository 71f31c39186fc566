"""The HTTP edge: it bounds what a client may send, and answers each breach with a problem.

uvicorn answers an unreadable request in plain text, waits for ever for one that does not end, and takes any number of
headers and connections. Here each of these has a bound, and each refusal is a problem like any other.
"""

import asyncio
import re
from typing import Any

import httptools

from riskline.ingest.edge.closing import SLOW_BYTES, ClosingProtocol
from riskline.ingest.edge.limits import TICK_SECONDS, TURNED_AWAY_AT_A_TIME
from riskline.ingest.middleware.request_id import request_id
from riskline.ingest.problems.problem import HttpProblem
from riskline.ingest.problems.refusals import (
    CUT_OFF,
    GONE,
    UNREADABLE_URI,
    RefusedError,
    head_too_large,
    request_timeout,
    uri_too_long,
    why,
    wire_answer,
)
from riskline.shared.telemetry.metrics import REQUESTS

MAX_URI_BYTES = 8192
"""RFC 9110 wants 8,000 at least; ours have a few hundred."""

MAX_HEAD_BYTES = 32_768
"""URI and headers together, as nginx has it: a gateway's tokens and cookies fit."""

MAX_FIELDS = 100
"""The default of gunicorn and Apache."""

MAX_LENGTH_DIGITS = 20
"""The most digits of a Content-Length: those of the largest number that the parser takes."""

BYTES_A_CHUNK = 16
"""The most framing of a chunk, in bytes, where its body is one byte. More is extensions and trailers."""

HOST = re.compile(
    rb"(?:\[[0-9A-Za-z:.%_~!$&'()*+,;=-]+\]|(?:[0-9A-Za-z._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?"
)
"""The name or address, and port, of a URI (RFC 3986, 3.2)."""


class EdgeProtocol(ClosingProtocol):
    """uvicorn's connection with bounds, and problems for what it cannot read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = self._turned_away = False
        self._head_bytes = self._chunked_bytes = self._beside_body = self._received = 0
        self._slow_seconds = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called for a new connection. Beyond the limit its first request is refused."""
        super().connection_made(transport)
        self._edge.watch(self.connections)
        beyond = len(self.connections) - self._edge.limits.connections
        if beyond > 0:
            # an answer before the request is lost: the request then resets the connection
            self._turned_away, self._between_requests = True, False
            if beyond > TURNED_AWAY_AT_A_TIME:
                transport.close()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                self._edge.limits.request_seconds, self.timeout_keep_alive_handler
            )

    def data_received(self, data: bytes) -> None:
        """Called with a part of a request, or one or several requests."""
        self._received += len(data)
        if self._ended:
            self.pass_over(len(data))
        elif self._turned_away:
            self.refuse(HttpProblem("too-many-connections"))
        else:
            super().data_received(data)

    def feed(self, piece: bytes) -> bool:
        """Hands a piece to the parser; False where nothing after it is to be read."""
        size = len(piece)
        in_body = not (self._between_requests or self._in_head)
        if in_body:
            self._chunked_bytes = 0
        else:
            self._head_bytes = size if self._between_requests else self._head_bytes + size
        chunked = in_body and not self._body_left
        if in_body and self._body_left:
            self._body_left -= size
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserError as error:
            self.refuse(why(error))
        except httptools.HttpParserUpgrade:
            self._not_upgraded()
        else:
            if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
                self.refuse(self._too_large())
            elif chunked:
                self._count_beside(size)
            if in_body and self.is_answered_early():
                self.pass_over(size)
        return not self._ended

    def _count_beside(self, size: int) -> None:
        """Bounds the extensions and trailers of a chunked body, which may be as long as a head."""
        self._beside_body = max(0, self._beside_body + size - (1 + BYTES_A_CHUNK) * self._chunked_bytes)
        if self._beside_body > MAX_HEAD_BYTES:
            self.refuse(
                HttpProblem("bad-request", "Its chunks carry more than the body: extensions or trailers without end.")
            )

    def _not_upgraded(self) -> None:
        """Reads a request that offers another protocol as one that does not: a server may pass over the offer.

        The parser takes whatever follows such a head for the other protocol, and so loses the body.
        """
        kept = [line for line in self.headers if line[0] not in (b"upgrade", b"http2-settings")]
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._between_requests = True
        self.feed(b"\r\n".join([first, *(b": ".join(line) for line in kept), b"", b""]))

    def on_message_begin(self) -> None:
        """Called when a request begins."""
        self._between_requests, self._in_head = False, True
        self._body_left = self._beside_body = self._unread = self._received = 0
        self._slow_seconds = 0.0
        self._unset_keepalive_if_required()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called with a field of the head. Trailers of a chunked body are ignored."""
        if self._in_head:
            super().on_header(name, value)

    def check_head(self) -> None:
        """Checks the rules that every head must meet.

        Raises:
            RefusedError: it is too large, or has no header Host or two.
        """
        headers = self.headers
        if self._head_bytes > MAX_HEAD_BYTES or len(headers) > MAX_FIELDS or len(self.url) > MAX_URI_BYTES:
            raise RefusedError(self._too_large())
        host = None
        for name, value in headers:
            if name == b"host":
                if host is not None or not HOST.fullmatch(value):
                    raise RefusedError(
                        HttpProblem("bad-request", "It must have one header Host, with a name or address and a port.")
                    )
                host = value
            elif name == b"content-length":
                if len(value) > MAX_LENGTH_DIGITS:
                    raise RefusedError(
                        HttpProblem("bad-request", f"Its Content-Length has more than {MAX_LENGTH_DIGITS} digits.")
                    )
                self._body_left = int(value)
        if host is None and self.parser.get_http_version() != "1.0":
            raise RefusedError(HttpProblem("bad-request", "It has no header Host."))

    def is_ours(self) -> bool:
        """True where the request is read on; one that offers another protocol is not.

        Raises:
            RefusedError: it asks for what there is not.
        """
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise RefusedError(HttpProblem("bad-request", "Its version is not one of HTTP/1.1 and HTTP/1.0."))
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise RefusedError(HttpProblem("bad-request", "CONNECT is for proxies."))
            return False
        if self.expect_100_continue and version == "1.0":
            self.expect_100_continue = False
        elif not self.expect_100_continue and any(name == b"expect" for name, _ in self.headers):
            raise RefusedError(HttpProblem("expectation-failed"))
        return True

    def on_headers_complete(self) -> None:
        """Called when the head is complete."""
        self.check_head()
        if self.is_ours():
            self.hand_on()

    def hand_on(self) -> None:
        """Gives the request to the application."""
        try:
            super().on_headers_complete()
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError, AttributeError):
            # the last one is uvicorn's where a URI has no path
            raise RefusedError(HttpProblem("bad-request", UNREADABLE_URI)) from None
        self.cycle.transport = self._answers
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        """Called with a part of the body."""
        self._chunked_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called when the request is complete."""
        if self._in_head:
            return
        self._between_requests = True
        super().on_message_complete()
        if self.cycle.keep_alive and not self.parser.should_keep_alive():
            # a trailer said so: the parser reads no further
            self.cycle.keep_alive = False
            if self.cycle.response_complete:
                self.end()

    def second_passed(self) -> None:
        """Ends a request that comes too slowly or does not end; called once a second."""
        ending = self._ended or self.is_answered_early()
        self.let_go_of_the_idle(ending=ending)
        if ending or self._between_requests or self._held or self.flow.read_paused:
            return
        if self._received < SLOW_BYTES:
            self._slow_seconds += TICK_SECONDS
        self._received = 0
        if self._slow_seconds >= self._edge.limits.request_seconds:
            self.refuse(request_timeout(self._edge.limits.request_seconds))

    def is_answered_early(self) -> bool:
        """True where the request that is arriving has its answer already."""
        return self.is_read_by_the_app() and self.cycle.response_complete

    def is_read_by_the_app(self) -> bool:
        """True where the application already has the request that is arriving, and reads its body."""
        return not (self._between_requests or self._in_head or self._turned_away or self._ended)

    def refuse(self, problem: HttpProblem) -> None:
        """Answers the request that is arriving with a problem, and ends the connection."""
        started = False
        if self.is_read_by_the_app():
            started = self.cycle.response_started
            self._cut_off()
        if started:
            self.transport.close()
        elif not self.transport.is_closing():
            self._write(problem)
        self.end()

    def too_much_held(self) -> None:
        """Closes the connection: the process holds as many bytes as it may."""
        if self.is_answering():
            self.drop_held()
            self.transport.abort()
        else:
            self.refuse(HttpProblem("too-busy"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is lost."""
        if self.is_read_by_the_app() and self.cycle is not None:
            self._cut_off()
        if self.cycle is not None:
            self.cycle.scope["state"][GONE] = True
            # uvicorn does so only if there is no answer yet
            self.cycle.disconnected = True
        super().connection_lost(exc)
        # uvicorn leaves the timer of a connection that was reset, and with it all that the connection holds
        self._unset_keepalive_if_required()

    def _cut_off(self) -> None:
        """Tells the application that the body which it reads is cut off."""
        self.cycle.scope["state"][CUT_OFF] = True
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _too_large(self) -> HttpProblem:
        if len(self.url) > MAX_URI_BYTES or not self.headers:
            return uri_too_long(MAX_URI_BYTES)
        return head_too_large(MAX_HEAD_BYTES, MAX_FIELDS)

    def _write(self, problem: HttpProblem) -> None:
        path = b"" if self._turned_away else getattr(self, "url", b"").partition(b"?")[0]
        REQUESTS.labels("unknown", "unknown", str(problem.status_code)).inc()
        self.server_state.total_requests += 1
        self.transport.write(
            wire_answer(
                problem,
                instance=path,
                root_path=self.root_path,
                request_id=request_id(None),
                defaults=self.server_state.default_headers,
            )
        )
