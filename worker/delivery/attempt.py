"""One attempt to deliver a callback: the request, its outcome, and its record."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Protocol

from riskline.shared.clock import utc_now
from riskline.shared.domain.lifecycle import CallbackEvent
from riskline.shared.log import get_logger
from riskline.shared.settings import Settings
from riskline.shared.store.callbacks import AttemptOutcome, Due
from riskline.shared.telemetry.trace_context import is_sampled, log_fields
from riskline.shared.telemetry.tracing import Tracing
from riskline.shared.webhooks.event import TEST_EVENT, event_body, new_message_id
from riskline.shared.webhooks.schedule import Schedule
from riskline.shared.webhooks.signing import Signer
from riskline.shared.webhooks.url import Allowed, CallbackUrl, CallbackUrlError, parse_callback_url
from riskline.worker.delivery.delivery_errors import DeliveryError, RefusedAddressError
from riskline.worker.delivery.outbound import Outbound, ReceiverResponse

log = get_logger(__name__)

MOST_LOSSES = 10
"""Workers lost with one callback before it is given up: more losses are no chance."""

CONTENT_TYPE = {"content-type": "application/json"}
USER_AGENT = f"Riskline/{version('riskline')}"

GONE = 410
SUCCESS = range(200, 300)


class Sender(Protocol):
    """Makes the request; raises DeliveryError where there is no answer."""

    async def post(self, target: CallbackUrl, *, headers: dict[str, str], body: bytes) -> ReceiverResponse:
        """The receiver's answer."""


class Attempt:
    """The record of one attempt."""

    def __init__(self, *, error: str | None = None) -> None:
        self.at = utc_now()
        self.status: int | None = None
        self.answer: str | None = None
        self.error = error
        self.latency_ms: float | None = None

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measures the duration of the block."""
        self.at, began = utc_now(), time.perf_counter()
        try:
            yield
        finally:
            self.latency_ms = round((time.perf_counter() - began) * 1000, 1)

    def shown(self) -> dict[str, object]:
        """The attempt as clients and operators see it."""
        return {
            "at": self.at,
            "status": self.status,
            "latency_ms": self.latency_ms,
            "answer": self.answer,
            "error": self.error,
        }


class Courier:
    """Makes attempts, and decides the outcome of each."""

    def __init__(
        self, *, sender: Sender, signer: Signer, allowed: Allowed, schedule: Schedule, tracing: Tracing | None = None
    ) -> None:
        self._tracing = tracing
        self._sender = sender
        self._signer = signer
        self._allowed = allowed
        self._schedule = schedule

    async def attempted(self, due: Due) -> AttemptOutcome:
        """Makes the attempt, where one is due; returns its outcome."""
        attempt = Attempt()
        if "url" not in due.event:
            return self._given_up(due, attempt, "what is kept of it cannot be read")
        if due.losses >= MOST_LOSSES:
            return self._given_up(due, attempt, f"{due.losses} workers were lost while they delivered it")
        if due.held and not self._schedule.is_last(due.step):
            attempt.error = "not tried: the last attempts at this host have all failed"
            return self.failed(due, attempt)
        try:
            target = parse_callback_url(due.event["url"], self._allowed)
            answer = await self._post(due, target, attempt)
        except (CallbackUrlError, RefusedAddressError) as error:
            return self._given_up(due, attempt, str(error))
        except DeliveryError as error:
            attempt.error = str(error)
            return self.failed(due, attempt, host_works=False)
        return self._answered(due, answer, attempt)

    def _answered(self, due: Due, answer: ReceiverResponse, attempt: Attempt) -> AttemptOutcome:
        attempt.status, attempt.answer = answer.status, answer.head
        if answer.status in SUCCESS:
            log.debug("callback delivered", **_trace(due))
            return AttemptOutcome(due, CallbackEvent.DELIVER, attempt=attempt.shown(), host_works=True)
        if answer.status == GONE:
            return self._given_up(due, attempt, "the receiver wants no more of it (410)", host_works=True)
        # a host that answers works, whatever the answer: its other URLs may be all right
        return self.failed(due, attempt, host_works=True, retry_after_seconds=_seconds(answer.retry_after))

    async def _post(self, due: Due, target: CallbackUrl, attempt: Attempt) -> ReceiverResponse:
        body = due.event["body"].encode()
        headers = self._signer.headers(due.message_id, sent_at=datetime.now(UTC), body=body)
        headers |= CONTENT_TYPE
        if "traceparent" in due.event:
            headers["traceparent"] = due.event["traceparent"]
        with self._span(due, target, headers) as answered, attempt.timed():
            answer = await self._sender.post(target, headers=headers, body=body)
            answered(answer.status)
        return answer

    @contextmanager
    def _span(self, due: Due, target: CallbackUrl, headers: dict[str, str]) -> Iterator[Callable[[int], None]]:
        """The span of an attempt, by OpenTelemetry's conventions for HTTP clients, where the trace is recorded."""
        status: list[int] = []
        if self._tracing is None or not is_sampled(due.event.get("traceparent")):
            yield status.append
            return
        about: dict[str, str | int] = {"http.request.method": "POST", "server.address": target.host}
        about |= {"server.port": target.port, "http.request.resend_count": due.step}
        about |= {"messaging.message.id": due.message_id, "riskline.transaction_id": due.transaction_id}
        span = self._tracing.start("POST", kind="client", parent=due.event["traceparent"], attributes=about)
        headers["traceparent"] = span.traceparent or headers["traceparent"]
        error: str | None = "_OTHER"
        try:
            yield status.append
            error = str(status[0]) if status[0] not in SUCCESS else None
        except DeliveryError as failed:
            error = type(failed).__name__
            raise
        finally:
            span.end(attributes={"http.response.status_code": status[0]} if status else {}, error=error)

    def failed(
        self,
        due: Due,
        attempt: Attempt,
        *,
        host_works: bool | None = None,
        retry_after_seconds: float | None = None,
    ) -> AttemptOutcome:
        """The outcome of a failed attempt: the callback waits for another, or is given up."""
        wait = self._schedule.after(due.step + 1, retry_after_seconds=retry_after_seconds)
        if wait is None:
            reason = f"the last of {due.step + 1} attempts failed: {attempt.error or f'status {attempt.status}'}"
            return self._given_up(due, attempt, reason, host_works=host_works)
        # expected: a receiver that is away fails each of its callbacks, and each attempt is recorded
        log.debug(
            "callback failed", status=attempt.status, error=attempt.error, next_seconds=round(wait, 1), **_trace(due)
        )
        return AttemptOutcome(
            due, CallbackEvent.RETRY, wait_seconds=wait, attempt=attempt.shown(), host_works=host_works
        )

    def _given_up(self, due: Due, attempt: Attempt, reason: str, *, host_works: bool | None = None) -> AttemptOutcome:
        if attempt.status is None and attempt.error is None:
            attempt.error = reason
        log.warning("callback given up", reason=reason, **_trace(due))
        return AttemptOutcome(due, CallbackEvent.GIVE_UP, attempt=attempt.shown(), reason=reason, host_works=host_works)


async def send_test_event(url: str, settings: Settings) -> dict[str, object]:
    """Makes one attempt to deliver a test event; returns its record."""
    attempt = Attempt()
    data = {"message": "This is a test; no transaction was decided."}
    body = event_body(TEST_EVENT, data, happened_at=utc_now())
    headers = Signer(settings.callback_secrets).headers(new_message_id(), sent_at=datetime.now(UTC), body=body)
    outbound = Outbound(allowed=settings.allowed, user_agent=USER_AGENT)
    try:
        target = parse_callback_url(url, settings.allowed)
        with attempt.timed():
            answer = await outbound.post(target, headers={**headers, **CONTENT_TYPE}, body=body)
        attempt.status, attempt.answer = answer.status, answer.head
    except (CallbackUrlError, DeliveryError) as error:
        attempt.error = str(error)
    finally:
        await outbound.close()
    return attempt.shown()


def _seconds(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After header, a number or a date (RFC 9110); None where it is neither."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        until = parsedate_to_datetime(retry_after)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


def _trace(due: Due) -> dict[str, str]:
    return {"transaction_id": due.transaction_id, "host": due.host, **log_fields(due.event)}
