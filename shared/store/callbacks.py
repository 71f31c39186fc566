"""The callbacks in Redis: taken when they are due, finished with what became of the attempt, listed and sent again."""

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
"""For how long it is left alone: then one callback is tried, and with it all others if that goes well."""

HOLD_SECONDS = 3600.0
"""For how long a callback is kept for a host that is left alone, before that counts as an attempt."""

IN_ANY_CASE = 10
"""Attempts under way that each host may have, before one has more, and when few places are left."""

MANY_WAITING = 1000
"""Transactions that wait for a decision beyond which decisions come first."""

UNDER_WAY_THEN = 50
"""Attempts that a delivery worker has under way then: a small machine's cores are for those that decide."""

KEPT_ATTEMPTS = 20
"""Attempts that are kept of one callback: twice as many as the schedule has."""

TEXTS = ("type", "url", "body", "request_id", "traceparent")
"""The members of an event."""

MOST_DIGITS = 7
"""Of the number of attempts that have failed."""

PAGE = 256
"""Callbacks in one call of a command: no call holds up Redis for more than a few milliseconds."""


class Due(NamedTuple):
    """A callback that a delivery worker has taken."""

    transaction_id: str
    host: str
    message_id: str
    event: Mapping[str, Any]
    step: int
    """Attempts that have failed since it was announced or sent again."""
    claim: int
    losses: int
    """Workers that were lost with it."""
    held: bool
    """It was kept for so long for a host that is left alone that this counts as an attempt."""


class Attempted(NamedTuple):
    """What became of a callback that was taken: of an attempt, or of none where `attempt` is None."""

    due: Due
    event: CallbackEvent | None
    """None: it was not tried, and is due again at once."""
    wait_seconds: float = 0.0
    attempt: Mapping[str, Any] | None = None
    reason: str = ""
    """Why it is given up."""
    host_works: bool | None = None


class Taken(NamedTuple):
    """What was due, and when the next one will be: in seconds from now, None where there is none."""

    due: list[Due]
    next_seconds: float | None


class PausedReceiver(NamedTuple):
    """A receiver at which so many attempts in a row have failed that it is left alone but for one now and then."""

    host: str
    failures: int
    """In a row."""
    waiting: int
    """Callbacks that wait for it."""
    next_attempt_ms: int
    """When one of them is tried next, since 1970; with it all others, if that goes well."""


class CallbackQueue(Protocol):
    """What a delivery worker asks of the store; every method raises StoreUnavailableError where Redis fails it."""

    async def take(
        self,
        *,
        room: int,
        host_limit: int,
        busy: Mapping[str, int],
        reserve: int = 0,
        finished: Sequence[Attempted] = (),
    ) -> Taken:
        """Takes up to `room` callbacks that are due, and of one host no more than the limit with those under way.

        The last `reserve` places are for hosts that have next to none under way. What has become of `finished` attempts
        is kept before that, as `finish` does it, in the same round trip.
        """

    async def finish(self, attempted: Sequence[Attempted]) -> None:
        """Keeps what became of attempts."""

    async def wait(self, seconds: float) -> None:
        """Returns when an event was announced, or after this time."""


class RedisCallbacks:
    """CallbackQueue over Redis; `waiting` is a client of its own, as its connection is blocked."""

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
        finished: Sequence[Attempted] = (),
    ) -> Taken:
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
        return Taken(list(_due(flat)), None if int(first) < 0 else int(first) / 1000)

    async def finish(self, attempted: Sequence[Attempted]) -> None:
        """See CallbackQueue."""
        with redis_faults_named():
            await scripts.run_async(self._redis, *self._finish(attempted))

    def _finish(self, attempted: Sequence[Attempted]) -> scripts.Call:
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
    """The callbacks for an operator; every method raises StoreUnavailableError where Redis fails it."""

    def __init__(self, redis: Redis, *, keys: Keys = FIRST) -> None:
        self._redis = redis
        self._keys = keys

    def overdue(self) -> bool:
        """Whether one is due."""
        with redis_faults_named():
            seconds, microseconds = self._redis.time()
            now = seconds * 1000 + microseconds // 1000
            return bool(self._redis.zcount(self._keys.callback_hosts, "-inf", now))

    def counts(self) -> tuple[int, int]:
        """How many are pending, and how many were given up and are kept."""
        with redis_faults_named():
            pending: Any = self._redis.zcard(self._keys.callbacks)
            dead: Any = self._redis.zcard(self._keys.callbacks_dead)
        return pending, dead

    def paused(self) -> list[PausedReceiver]:
        """The receivers that are left alone, in no order."""
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
        """The transactions whose callbacks are neither delivered nor given up, by the event's time in ms."""
        with redis_faults_named():
            found: Any = self._redis.zrange(self._keys.callbacks, 0, limit - 1, withscores=True)
        return [(at, each.decode(errors="replace")) for each, at in found]

    def all_dead(self) -> list[str]:
        """All whose callbacks were given up, oldest first."""
        with redis_faults_named():
            found: Any = self._redis.zrange(self._keys.callbacks_dead, 0, -1)
        return [each.decode(errors="replace") for each in found]

    def read(self, transaction_ids: Sequence[str]) -> Iterator[tuple[str, Mapping[bytes, bytes]]]:
        """What is kept of each callback; those of which nothing is kept are left out."""
        for start in range(0, len(transaction_ids), PAGE):
            page = transaction_ids[start : start + PAGE]
            with redis_faults_named(), self._redis.pipeline(transaction=False) as pipeline:
                for transaction_id in page:
                    pipeline.hgetall(self._keys.callback(transaction_id))
                found = pipeline.execute()
            yield from ((each, kept) for each, kept in zip(page, found, strict=True) if kept)

    def tried(self, transaction_ids: Sequence[str]) -> list[str]:
        """Those of which an attempt was made; reads next to nothing of each."""
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
        """Makes callbacks due now, whatever became of them; those that there were."""
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
    """The failures in a row at a host that is left alone, and when it is tried again, in ms; None for any other."""
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
    """The event; empty where it is not one of ours, which ends that callback alone."""
    try:
        loaded = orjson.loads(event)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(loaded, dict) or not loaded.keys() >= {"type", "url", "body"}:
        return {}
    return loaded if all(isinstance(loaded[name], str) for name in TEXTS if name in loaded) else {}


def _step(raw: bytes) -> int:
    """How many attempts have failed; none where somebody else made something of it that is no such number."""
    return int(raw) if raw.isdigit() and len(raw) < MOST_DIGITS else 0


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
