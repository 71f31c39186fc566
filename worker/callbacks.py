"""Delivers callbacks: takes those that are due, many at a time, and keeps what became of each attempt."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Protocol

from shared.callback import TEST_EVENT, TRACE, event_body, new_message_id
from shared.callback_url import Allowed, CallbackUrl, CallbackUrlError, parse_callback_url
from shared.errors import StoreUnavailableError
from shared.lifecycle import CallbackEvent
from shared.log import get_logger
from shared.outage import Outage
from shared.schedule import Schedule
from shared.settings import Settings
from shared.store.callbacks import Attempted, CallbackQueue, Due
from shared.webhooks import Signer
from worker.outbound import Answer, DeliveryError, Outbound, RefusedAddressError

log = get_logger(__name__)

LIMIT = 500
"""Attempts under way at a time: as many receivers of 200 ms take 2,500 a second, more than one process can send."""

RESERVED = 5
"""The part of the limit, one in so many, that is kept for hosts with next to nothing under way."""

GATHER_SECONDS = 0.005
"""For how long attempts that end are gathered, so that they share a call of Redis."""

LOOK_SECONDS = 1.0
"""How often it is looked at whether something is due, whatever wakes."""

MOST_LOSSES = 10
"""Workers that may be lost with one callback before it is given up: bad luck does not come so often."""

STOP_SECONDS = 4.0
"""What attempts under way are given when the worker is to stop; those left are due again at once, for another."""

REDIS_PAUSE_SECONDS = 1.0

CONTENT_TYPE = {"content-type": "application/json"}
USER_AGENT = f"Riskline/{version('riskline')}"

GONE = 410
SUCCESS = range(200, 300)


class Sender(Protocol):
    """Makes the request; raises DeliveryError where there is no answer."""

    async def post(self, target: CallbackUrl, *, headers: dict[str, str], body: bytes) -> Answer:
        """The receiver's answer."""


class Deliverer:
    """One delivery worker's attempts."""

    def __init__(
        self,
        queue: CallbackQueue,
        *,
        sender: Sender,
        signer: Signer,
        allowed: Allowed,
        schedule: Schedule,
        host_limit: int,
        limit: int = LIMIT,
        outage: Outage | None = None,
    ) -> None:
        self._queue = queue
        self._sender = sender
        self._signer = signer
        self._allowed = allowed
        self._schedule = schedule
        self._host_limit = host_limit
        self._limit = limit
        self._outage = outage or Outage(log, failing="Redis fails deliveries; they wait", back="deliveries go on")
        self._busy: Counter[str] = Counter()
        self._under_way: dict[asyncio.Task[None], Due] = {}
        self._ended: list[Attempted] = []
        self._something = asyncio.Event()
        self._busy_at = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """For how long nothing has been under way or due."""
        return time.monotonic() - self._busy_at

    async def run(self, *, active: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        """Delivers what is due while it is active, ends what is under way whether or not, and stops when it is to.

        An outage of Redis is waited out: what became of attempts is kept until it can be written down.
        """
        self._busy_at = time.monotonic()
        waking = asyncio.create_task(self._wake(active, stopping))
        while not stopping():
            try:
                seconds = await self._turn(takes=active())
            except Exception:
                # the loop is what delivers for as long as the process lives: it outlives a mistake
                log.exception("a turn failed")
                seconds = LOOK_SECONDS
            await self._until_something(seconds)
        waking.cancel()
        await self._end()

    def look(self) -> None:
        """Ends the present pause; for the loop's own thread."""
        self._something.set()

    async def _turn(self, *, takes: bool) -> float:
        """Keeps what has ended, takes what is due; the seconds until there may be more."""
        if self._under_way or self._ended:
            self._busy_at = time.monotonic()
        try:
            await self._keep_ended()
            room = self._limit - len(self._under_way)
            if room <= 0 or not takes:
                return LOOK_SECONDS
            taken = await self._queue.take(
                room=room, host_limit=self._host_limit, busy=self._busy, reserve=self._limit // RESERVED
            )
            self._outage.over()
        except StoreUnavailableError as error:
            self._outage.failed(error)
            return REDIS_PAUSE_SECONDS
        for due in taken.due:
            self._start(due)
        if taken.due and len(self._under_way) < self._limit:
            return 0.0
        # where one is due and was not given out, its host has as many as it may: one that ends wakes us
        return min(LOOK_SECONDS, taken.next_seconds) if taken.next_seconds else LOOK_SECONDS

    async def _keep_ended(self) -> None:
        ended, self._ended = self._ended, []
        try:
            if ended:
                await self._queue.finish(ended)
        except StoreUnavailableError:
            self._ended = ended + self._ended
            raise

    async def _until_something(self, seconds: float) -> None:
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._something.wait()
        self._something.clear()
        await asyncio.sleep(GATHER_SECONDS if self._under_way else 0)

    async def _wake(self, active: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        # redis-py may swallow a cancellation
        while not stopping():
            if not active():
                # what wakes is for who takes
                await asyncio.sleep(LOOK_SECONDS / 10)
                continue
            try:
                await self._queue.wait(LOOK_SECONDS)
                self._something.set()
            except StoreUnavailableError:
                # the turns meet it, too, and say so
                await asyncio.sleep(REDIS_PAUSE_SECONDS)

    def _start(self, due: Due) -> None:
        self._busy[due.host] += 1
        task = asyncio.create_task(self._attempt(due))
        self._under_way[task] = due
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        due = self._under_way.pop(task)
        self._busy[due.host] -= 1
        if not self._busy[due.host]:
            del self._busy[due.host]
        self._something.set()

    async def _attempt(self, due: Due) -> None:
        try:
            ended = await self._attempted(due)
        except asyncio.CancelledError:
            self._ended.append(Attempted(due, None))
            raise
        except Exception:
            log.exception("a delivery failed", transaction_id=due.transaction_id)
            ended = self._failed(due, _Attempt(error="the delivery worker failed; its log says why"))
        # only now: what has ended meanwhile was taken away with its list
        self._ended.append(ended)

    async def _attempted(self, due: Due) -> Attempted:
        attempt = _Attempt()
        if "url" not in due.event:
            return self._given_up(due, attempt, "what is kept of it cannot be read")
        if due.losses >= MOST_LOSSES:
            return self._given_up(due, attempt, f"{due.losses} workers were lost while they delivered it")
        if due.held and not self._schedule.is_last(due.step):
            attempt.error = "not tried: the last attempts at this host have all failed"
            return self._failed(due, attempt)
        try:
            target = parse_callback_url(due.event["url"], self._allowed)
            answer = await self._post(due, target, attempt)
        except (CallbackUrlError, RefusedAddressError) as error:
            return self._given_up(due, attempt, str(error))
        except DeliveryError as error:
            attempt.error = str(error)
            return self._failed(due, attempt, host_works=False)
        return self._answered(due, answer, attempt)

    def _answered(self, due: Due, answer: Answer, attempt: "_Attempt") -> Attempted:
        attempt.status, attempt.answer = answer.status, answer.head
        if answer.status in SUCCESS:
            log.debug("callback delivered", **_trace(due))
            return Attempted(due, CallbackEvent.DELIVER, attempt=attempt.shown(), host_works=True)
        if answer.status == GONE:
            return self._given_up(due, attempt, "the receiver wants no more of it (410)", host_works=True)
        # who answers, whatever it is, works: other URLs of the host may be all right
        return self._failed(due, attempt, host_works=True, retry_after_seconds=_seconds(answer.retry_after))

    async def _post(self, due: Due, target: CallbackUrl, attempt: "_Attempt") -> Answer:
        body = due.event["body"].encode()
        headers = self._signer.headers(due.message_id, sent_at=datetime.now(UTC), body=body)
        headers |= CONTENT_TYPE
        if "traceparent" in due.event:
            headers["traceparent"] = due.event["traceparent"]
        with attempt.timed():
            return await self._sender.post(target, headers=headers, body=body)

    def _failed(
        self,
        due: Due,
        attempt: "_Attempt",
        *,
        host_works: bool | None = None,
        retry_after_seconds: float | None = None,
    ) -> Attempted:
        wait = self._schedule.after(due.step + 1, retry_after_seconds=retry_after_seconds)
        if wait is None:
            reason = f"the last of {due.step + 1} attempts failed: {attempt.error or f'status {attempt.status}'}"
            return self._given_up(due, attempt, reason, host_works=host_works)
        log.info(
            "callback failed", status=attempt.status, error=attempt.error, next_seconds=round(wait, 1), **_trace(due)
        )
        return Attempted(due, CallbackEvent.RETRY, wait_seconds=wait, attempt=attempt.shown(), host_works=host_works)

    def _given_up(self, due: Due, attempt: "_Attempt", reason: str, *, host_works: bool | None = None) -> Attempted:
        if attempt.status is None and attempt.error is None:
            attempt.error = reason
        log.warning("callback given up", reason=reason, **_trace(due))
        return Attempted(due, CallbackEvent.GIVE_UP, attempt=attempt.shown(), reason=reason, host_works=host_works)

    async def _end(self) -> None:
        """Gives attempts under way their time, and what is left of them back."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=STOP_SECONDS)
        for task in list(self._under_way):
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)
        try:
            await self._keep_ended()
        except StoreUnavailableError as error:
            # their leases end, and they are tried again
            self._outage.failed(error, lost=len(self._ended))


async def send_test_event(url: str, settings: Settings) -> dict[str, object]:
    """One attempt to deliver an event of no transaction: what would be kept of it."""
    attempt = _Attempt()
    now = datetime.now(UTC)
    data = {"message": "This is a test; no transaction was decided."}
    body = event_body(TEST_EVENT, data, happened_at=_spelled(now))
    headers = Signer(settings.callback_secrets).headers(new_message_id(), sent_at=now, body=body)
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


class _Attempt:
    """What is kept of one attempt."""

    def __init__(self, *, error: str | None = None) -> None:
        self.at = datetime.now(UTC)
        self.status: int | None = None
        self.answer: str | None = None
        self.error = error
        self.latency_ms: float | None = None

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measures what is done meanwhile."""
        self.at, began = datetime.now(UTC), time.perf_counter()
        try:
            yield
        finally:
            self.latency_ms = round((time.perf_counter() - began) * 1000, 1)

    def shown(self) -> dict[str, object]:
        """As clients and operators see it."""
        return {
            "at": _spelled(self.at),
            "status": self.status,
            "latency_ms": self.latency_ms,
            "answer": self.answer,
            "error": self.error,
        }


def _seconds(retry_after: str | None) -> float | None:
    """What Retry-After asks for, by its number of seconds or its date (RFC 9110); None where it says neither."""
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


def _spelled(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace(due: Due) -> dict[str, str]:
    named = {name: due.event[name] for name in TRACE if name in due.event}
    return {"transaction_id": due.transaction_id, "host": due.host, **named}
