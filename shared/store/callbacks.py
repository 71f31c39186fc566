"""The callbacks in Redis: taken when due, finished with the attempt's outcome, listed and sent again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from riskline.shared.domain.lifecycle import CallbackEvent
from riskline.shared.store import scripts
from riskline.shared.store.connect.connection import redis_faults_named
from riskline.shared.store.keys import FIRST, Keys
from riskline.shared.store.records import id_of, raw_id
from riskline.shared.store.status.counts import MOST_FAILURES

LEASE_SECONDS = 20.0
"""How long a delivery worker has for an attempt: twice what one may take, after which its worker counts as lost."""

CLOSED_SECONDS = 10.0
"""The pause of a failing host. Then one callback is tried; if it succeeds, all others of the host follow."""

HOLD_SECONDS = 3600.0
"""The longest a callback waits for a paused host before the wait counts as an attempt."""

IN_ANY_CASE = 10
"""Attempts that each host may have in flight before any host gets more, and when few places are left."""

MANY_WAITING = 1000
"""Above this number of transactions waiting for a decision, decisions come before callbacks."""

UNDER_WAY_THEN = 50
"""A delivery worker's attempts in flight then: a small machine's cores are for decisions."""

KEPT_ATTEMPTS = 20
"""Attempts recorded for one callback: twice as many as the schedule has."""

TEXTS = ("type", "url", "body", "request_id", "traceparent")
"""The members of an event."""

MOST_DIGITS = 7
"""Digits of the number of failed attempts."""

PAGE = 256
"""Callbacks in one call of a command: no call holds up Redis for more than a few milliseconds."""


class Due(NamedTuple):
    """A callback taken by a delivery worker."""

    transaction_id: str
    host: str
    message_id: str
    event: Mapping[str, Any]
    step: int
    """Failed attempts since the event was announced or sent again."""
    claim: int
    losses: int
    """Workers lost during an attempt of it."""
    held: bool
    """It waited HOLD_SECONDS for a paused host, which counts as an attempt."""


class AttemptOutcome(NamedTuple):
    """The outcome of a taken callback; `attempt` is None where none was made."""

    due: Due
    event: CallbackEvent | None
    """None: it was not tried and is due again at once."""
    wait_seconds: float = 0.0
    attempt: Mapping[str, Any] | None = None
    reason: str = ""
    """The reason for giving it up."""
    host_works: bool | None = None


class TakenCallbacks(NamedTuple):
    """The due callbacks, and the seconds until the next one is due; None where there is none."""

    due: list[Due]
    next_seconds: float | None


class PausedReceiver(NamedTuple):
    """A receiver that is paused, with one attempt now and then, because too many attempts in a row failed."""

    host: str
    failures: int
    """Failed attempts in a row."""
    waiting: int
    """Callbacks waiting for it."""
    next_attempt_ms: int
    """Time of the next attempt, in ms since 1970; if it succeeds, the other callbacks follow."""


class CallbackQueue(Protocol):
    """The store as a delivery worker uses it; every method raises StoreUnavailableError where Redis fails."""

    async def take(
        self,
        *,
        room: int,
        host_limit: int,
        busy: Mapping[str, int],
        reserve: int = 0,
        finished: Sequence[AttemptOutcome] = (),
    ) -> TakenCallbacks:
        """Takes up to `room` due callbacks; a host's attempts in flight stay within `host_limit`.

        The last `reserve` places are for hosts with next to none in flight. The outcomes of `finished` attempts
        are written first, as by `finish`, in the same round trip.
        """

    async def finish(self, attempted: Sequence[AttemptOutcome]) -> None:
        """Writes the outcomes of attempts."""

    async def wait(self, seconds: float) -> None:
        """Returns when an event is announced, or after this time."""


class RedisCallbacks:
    """CallbackQueue over Redis; `waiting` is a separate client, since `wait` blocks its connection."""

    def __init__(
        self,
        redis: AsyncRedis,
        *,
        waiting: AsyncRedis,
        result_ttl_seconds: int,
        failed_ttl_seconds: int,
        keys: Keys = FIRST,
    ) -> None:
        self._redis = redis
        self._waiting = waiting
        self._keys = keys
        self._result_ttl_seconds = result_ttl_seconds
        self._dead_ttl_seconds = max(result_ttl_seconds, failed_ttl_seconds)

    async def take(
        self,
        *,
        room: int,
        host_limit: int,
        busy: Mapping[str, int],
        reserve: int = 0,
        finished: Sequence[AttemptOutcome] = (),
    ) -> TakenCallbacks:
        """See CallbackQueue."""
        keys = self._keys
        args: list[scripts.Arg] = [keys.callback_prefix, keys.callback_host_prefix, _ms(LEASE_SECONDS)]
        args += [room, host_limit, IN_ANY_CASE, reserve, MOST_FAILURES, _ms(CLOSED_SECONDS), _ms(HOLD_SECONDS)]
        args += [MANY_WAITING, UNDER_WAY_THEN]
        for host, number in busy.items():
            args += (raw_id(host), number)
        names = [keys.callback_hosts, keys.callback_gates, keys.callback_taken, keys.waiting]
        calls: list[scripts.Call] = [self._finish(finished)] if finished else []
        with redis_faults_named():
            answers = await scripts.run_each_async(self._redis, [*calls, ("take", names, args)])
        first, *flat = answers[-1]
        return TakenCallbacks(list(_due(flat)), None if int(first) < 0 else int(first) / 1000)

    async def finish(self, attempted: Sequence[AttemptOutcome]) -> None:
        """See CallbackQueue."""
        with redis_faults_named():
            await scripts.run_async(self._redis, *self._finish(attempted))

    def _finish(self, attempted: Sequence[AttemptOutcome]) -> scripts.Call:
        keys = self._keys
        args: list[scripts.Arg] = [keys.callback_prefix, keys.callback_host_prefix, self._result_ttl_seconds]
        args += [self._dead_ttl_seconds, MOST_FAILURES, _ms(CLOSED_SECONDS), KEPT_ATTEMPTS]
        for each in attempted:
            due = each.due
            args += (raw_id(due.transaction_id), raw_id(due.host), raw_id(due.message_id), due.claim)
            args += (each.event or "leave",)
            args += (_ms(each.wait_seconds), b"" if each.attempt is None else orjson.dumps(each.attempt), each.reason)
            args += ("" if each.host_works is None else int(each.host_works),)
        names = [keys.callback_hosts, keys.callback_gates, keys.totals, keys.callbacks, keys.callbacks_dead]
        return "finish", names, args

    async def wait(self, seconds: float) -> None:
        """See CallbackQueue."""
        with redis_faults_named():
            await self._waiting.blpop([self._keys.callback_wake], timeout=seconds)


class CallbackRecords:
    """The callbacks for an operator; every method raises StoreUnavailableError where Redis fails."""

    def __init__(self, redis: Redis, *, keys: Keys = FIRST) -> None:
        self._redis = redis
        self._keys = keys

    def overdue(self) -> bool:
        """True where a callback is due."""
        with redis_faults_named():
            seconds, microseconds = self._redis.time()
            now = seconds * 1000 + microseconds // 1000
            return bool(self._redis.zcount(self._keys.callback_hosts, "-inf", now))

    def counts(self) -> tuple[int, int]:
        """The number of pending callbacks, and of dead ones that are still stored."""
        with redis_faults_named():
            pending: Any = self._redis.zcard(self._keys.callbacks)
            dead: Any = self._redis.zcard(self._keys.callbacks_dead)
        return pending, dead

    def paused(self) -> list[PausedReceiver]:
        """The paused receivers, in no order."""
        with redis_faults_named(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hgetall(self._keys.callback_gates)
            (seconds, microseconds), gates = pipeline.execute()
            closed = [(host.decode(), *found) for host, gate in gates.items() if (found := _closed_gate(gate))]
            for host, _, _ in closed:
                pipeline.zcard(self._keys.callback_host_prefix + host)
            waiting = pipeline.execute()
        now_ms = seconds * 1000 + microseconds // 1000
        return [
            PausedReceiver(host, failures, number, max(opens_ms, now_ms))
            for (host, failures, opens_ms), number in zip(closed, waiting, strict=True)
        ]

    def pending(self, limit: int) -> list[tuple[float, str]]:
        """The transactions with a pending callback, by the event's time in ms."""
        with redis_faults_named():
            found: Any = self._redis.zrange(self._keys.callbacks, 0, limit - 1, withscores=True)
        return [(at, each.decode(errors="replace")) for each, at in found]

    def all_dead(self) -> list[str]:
        """All transactions with a dead callback, oldest first."""
        with redis_faults_named():
            found: Any = self._redis.zrange(self._keys.callbacks_dead, 0, -1)
        return [each.decode(errors="replace") for each in found]

    def read(self, transaction_ids: Sequence[str]) -> Iterator[tuple[str, Mapping[bytes, bytes]]]:
        """The stored fields of each callback; leaves out those that are not stored."""
        for start in range(0, len(transaction_ids), PAGE):
            page = transaction_ids[start : start + PAGE]
            with redis_faults_named(), self._redis.pipeline(transaction=False) as pipeline:
                for transaction_id in page:
                    pipeline.hgetall(self._keys.callback(transaction_id))
                found = pipeline.execute()
            yield from ((each, kept) for each, kept in zip(page, found, strict=True) if kept)

    def tried(self, transaction_ids: Sequence[str]) -> list[str]:
        """The callbacks that have had an attempt; reads one field of each."""
        done: list[str] = []
        for start in range(0, len(transaction_ids), PAGE):
            page = transaction_ids[start : start + PAGE]
            with redis_faults_named(), self._redis.pipeline(transaction=False) as pipeline:
                for transaction_id in page:
                    pipeline.hexists(self._keys.callback(transaction_id), "tries")
                found = pipeline.execute()
            done += [each for each, tries in zip(page, found, strict=True) if tries]
        return done

    def resend(self, transaction_ids: Sequence[str]) -> list[str]:
        """Makes callbacks due now, whatever their state; returns those that exist."""
        keys = self._keys
        names = [keys.callback_hosts, keys.callbacks, keys.callbacks_dead, keys.totals, keys.callback_wake]
        done: list[str] = []
        for start in range(0, len(transaction_ids), PAGE):
            page = transaction_ids[start : start + PAGE]
            with redis_faults_named():
                answers = scripts.run(
                    self._redis, "resend", names, [keys.callback_prefix, keys.callback_host_prefix, *page]
                )
            done += [each for each, answer in zip(page, answers, strict=True) if answer]
        return done


def _closed_gate(gate: bytes) -> tuple[int, int] | None:
    """The failures in a row at a paused host, and its next attempt in ms; None for any other host."""
    failures, _, opens_ms = gate.partition(b" ")
    if not (failures.isdigit() and opens_ms.isdigit()) or int(failures) < MOST_FAILURES:
        return None
    return int(failures), int(opens_ms)


def _due(flat: Sequence[Any]) -> Iterator[Due]:
    for i in range(0, len(flat), 8):
        transaction_id, host, message_id, event, step, claim, losses, held = flat[i : i + 8]
        yield Due(
            id_of(transaction_id),
            id_of(host),
            id_of(message_id),
            _event(event),
            _step(step),
            int(claim),
            int(losses),
            bool(int(held)),
        )


def _event(event: bytes) -> Mapping[str, Any]:
    """The event; empty where it is malformed, which ends that callback alone."""
    try:
        loaded = orjson.loads(event)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(loaded, dict) or not loaded.keys() >= {"type", "url", "body"}:
        return {}
    return loaded if all(isinstance(loaded[name], str) for name in TEXTS if name in loaded) else {}


def _step(raw: bytes) -> int:
    """The number of failed attempts; 0 where the field is not a number."""
    return int(raw) if raw.isdigit() and len(raw) < MOST_DIGITS else 0


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
