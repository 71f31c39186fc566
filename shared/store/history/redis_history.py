"""The history in Redis: one script call for the transactions that come together, or one an entity in a cluster."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha1
from secrets import token_hex
from typing import Any

from redis.exceptions import RedisError, ResponseError

from riskline.shared.clock import now_us
from riskline.shared.domain.history.observation import Observation, SeenBefore
from riskline.shared.domain.history.plan import History
from riskline.shared.errors import HistoryLostError, HistoryUnavailableError
from riskline.shared.store.history.calls import Calls, keep_ms
from riskline.shared.store.history.interface import LARGEST_CALL, Mark, Progress, Replacement, Size, unwatched
from riskline.shared.store.history.marks import (
    ACCEPTED,
    EPOCH,
    LOST,
    OLDEST_US,
    SECRET,
    SILENCE_US,
    UNKNOWN_HASHES,
    WAS_LOST,
    backfill_fields,
    live_fields,
    live_marks,
    parsed_marks,
)
from riskline.shared.store.history.scans import Reach, erase_everything, erase_of_composites, sizes_of
from riskline.shared.store.history.server import HistoryServer, RedisCommand, Word, script_call
from riskline.shared.store.history.servers import Servers
from riskline.shared.store.history.warmth import warmth
from riskline.shared.store.keys import FIRST, entity_key

MARK_AGAIN_SECONDS = 60.0
"""The marks are looked at this often, as Redis may have been emptied; it costs a round trip."""

MARKS = FIRST.history_marks

EPOCH_NOW = RedisCommand(MARKS, ("HMGET", MARKS, EPOCH, LOST, ACCEPTED))
"""Goes with each call for a transaction: what is not there may be new, or lost."""


class RedisHistory:
    """See HistoryStore."""

    def __init__(
        self,
        servers: Servers,
        history: History,
        *,
        secret_check: str,
        timeout_seconds: float,
        patience_seconds: float,
        refuses_lost: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Calls on the way of a transaction have `timeout_seconds`, all others `patience_seconds` for a round trip.

        With `refuses_lost` the calls for a transaction fail where the history lacks what it had.
        """
        self._servers = servers
        self._history = history
        self._calls = Calls(history)
        self._check = secret_check
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._marked_until = -float("inf")
        self._newest_us = OLDEST_US
        self._refuses_lost = refuses_lost
        self._epoch: bytes | None = None

    async def observe(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        """See HistoryStore; in a cluster an entity at a time, so that one may know an id that another has forgotten."""
        seen: list[SeenBefore] = []
        for start in range(0, len(observations), LARGEST_CALL):
            some = observations[start : start + LARGEST_CALL]
            async with self._limited(self._timeout_seconds):
                await self._mark(some)
                seen += await self._observe(some)
        return seen

    async def _observe(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        if self._servers.scattered:
            calls, places = self._calls.apart(observations)
            answers, lost = await self._run_watching(calls)
            seen = self._calls.seen_apart(observations, places, answers)
        else:
            answers, lost = await self._run_watching(self._calls.together(observations))
            seen = self._calls.seen_together(observations, answers)
        if lost is not None:
            lost.seen = seen
            raise lost
        return seen

    async def look(self, observations: Sequence[Observation]) -> list[SeenBefore]:
        """See HistoryStore."""
        seen: list[SeenBefore] = []
        # one call also for none, which asks whether the history is there
        for start in range(0, max(1, len(observations)), LARGEST_CALL):
            some = observations[start : start + LARGEST_CALL]
            async with self._limited(self._timeout_seconds):
                answers, lost = await self._run_watching(self._calls.looks(some))
            if lost is not None:
                raise lost
            seen += self._calls.seen_looking(some, answers)
        return seen

    async def compact(self, replacements: Sequence[Replacement]) -> int:
        """See HistoryStore."""
        calls = []
        for each in replacements:
            digest = sha1(each.old, usedforsecurity=False).hexdigest()
            args: list[Word] = [len(each.old), digest, each.new, keep_ms(self._history.entities[each.entity_index])]
            calls.append(script_call("compact", [self._calls.key(each.entity_index, each.entity)], args))
        async with self._limited(self._patience_seconds):
            changed: int = sum(await self._run(calls))
        return changed

    async def erase(self, field: str, digest: str, *, progress: Progress = unwatched) -> int:
        """See HistoryStore; those of several fields together are looked for among all keys."""
        names = {each.fingerprint: each.fields for each in self._history.entities}
        for fingerprint, mark in (await self.marks()).items():
            names.setdefault(fingerprint, tuple(mark.name.split("+")))
        keys = [entity_key(fingerprint, digest) for fingerprint, fields in names.items() if fields == (field,)]
        async with self._limited(self._patience_seconds):
            erased = int(sum(await self._run([RedisCommand(key, ("UNLINK", key)) for key in keys])))
        composites = {
            fingerprint: fields.index(field)
            for fingerprint, fields in names.items()
            if len(fields) > 1 and field in fields
        }
        if composites:
            erased += await erase_of_composites(await self._reach(), composites, digest, progress)
        return erased

    async def erase_all(self, *, progress: Progress = unwatched) -> int:
        """See HistoryStore."""
        erased = await erase_everything(await self._reach(), progress)
        await self._patiently([RedisCommand(MARKS, ("DEL", MARKS))])
        self._marked_until = -float("inf")
        return erased

    async def marks(self) -> dict[str, Mark]:
        """See HistoryStore."""
        [kept] = await self._patiently([RedisCommand(MARKS, ("HGETALL", MARKS))])
        return _parsed(kept)

    async def mark_backfill(self, entity_index: int, *, from_us: int, to_us: int, progress: str = "") -> None:
        """See HistoryStore."""
        fields = backfill_fields(self._history.entities[entity_index], from_us=from_us, to_us=to_us, progress=progress)
        async with self._limited(self._patience_seconds):
            await self._agree_on_secret()
            await self._run([_set_marks(fields)])

    async def accept_loss(self) -> None:
        """See HistoryStore."""
        [epoch] = await self._patiently([RedisCommand(MARKS, ("HGET", MARKS, EPOCH))])
        accepted = [] if epoch is None else [RedisCommand(MARKS, ("HSET", MARKS, ACCEPTED, epoch))]
        await self._patiently([*accepted, RedisCommand(MARKS, ("HDEL", MARKS, LOST))])

    async def recovered(self) -> bool:
        """See HistoryStore."""
        marks = await self.marks()
        if not all(each.is_warm for each in warmth(self._history, marks, now_us=now_us())):
            return False
        await self.accept_loss()
        return True

    async def sizes(self) -> dict[str, Size]:
        """See HistoryStore."""
        return await sizes_of(await self._reach())

    async def warm(self) -> None:
        """See HistoryStore."""
        async with self._limited(self._patience_seconds):
            await self._servers.warm()
            self._same_secret(await self._run([RedisCommand(MARKS, ("HGET", MARKS, SECRET))]))

    async def close(self) -> None:
        """See HistoryStore."""
        await self._servers.close()

    async def _mark(self, observations: Sequence[Observation]) -> None:
        """Sets the marks before anything is added: the first time where it is missing, and the newest."""
        known_us = self._newest_us
        self._newest_us = max(known_us, *(each.at_us for each in observations))
        now = self._clock()
        if now < self._marked_until and self._newest_us - known_us <= SILENCE_US:
            return
        await self._agree_on_secret()
        entities = self._history.entities
        once = live_marks(entities, at_us=observations[0].at_us)
        commands = [RedisCommand(MARKS, ("HSETNX", MARKS, mark.field, mark.value)) for mark in once]
        *_, kept = await self._run([*commands, RedisCommand(MARKS, ("HGETALL", MARKS))])
        times_us = [*(each.at_us for each in observations), self._newest_us]
        await self._run([_set_marks(live_fields(entities, _parsed(kept), times_us=times_us))])
        self._marked_until = now + MARK_AGAIN_SECONDS

    async def _agree_on_secret(self) -> None:
        """The first secret holds: what is hashed with another one would never be found."""
        commands = (
            ("HSETNX", MARKS, EPOCH, token_hex(8)),
            ("HSETNX", MARKS, SECRET, self._check),
            ("HMGET", MARKS, EPOCH, LOST),
            ("HGET", MARKS, SECRET),
        )
        answers = await self._run([RedisCommand(MARKS, each) for each in commands])
        self._same_secret(answers)
        if self._epoch is None:
            self._epoch = answers[2][0]

    def _same_secret(self, answers: Sequence[Any]) -> None:
        if answers[-1] not in (None, self._check.encode()):
            raise HistoryUnavailableError(UNKNOWN_HASHES)

    async def _run_watching(self, commands: Sequence[RedisCommand]) -> tuple[list[Any], HistoryLostError | None]:
        """The answers, and an error where the history is not the one any more that this process has known."""
        if not self._refuses_lost:
            return await self._run(commands), None
        *answers, (epoch, lost, accepted) = await self._run([*commands, EPOCH_NOW])
        if epoch is not None and epoch == accepted:
            # a process that had nothing to do meanwhile loses nothing again
            self._epoch = epoch
        if self._epoch not in (None, epoch):
            await self._note_loss()
            lost = True
        return answers, HistoryLostError(WAS_LOST) if lost else None

    async def _note_loss(self) -> None:
        """Begins a new epoch, and tells all processes that what came before it is unknown."""
        self._epoch, self._marked_until = None, -float("inf")
        await self._run([RedisCommand(MARKS, ("HSETNX", MARKS, LOST, str(now_us())))])
        await self._agree_on_secret()

    async def _run(self, commands: Sequence[RedisCommand]) -> list[Any]:
        if not commands:
            return []
        return _unless_refused(await self._servers.run(commands))

    async def _patiently(self, commands: Sequence[RedisCommand]) -> list[Any]:
        async with self._limited(self._patience_seconds):
            return await self._run(commands)

    async def _ask(self, server: HistoryServer, command: RedisCommand) -> Any:
        async with self._limited(self._patience_seconds):
            return _unless_refused(await server.run([command]))[0]

    async def _reach(self) -> Reach:
        async with self._limited(self._patience_seconds):
            return Reach(await self._servers.each(), self._patiently, self._ask)

    @asynccontextmanager
    async def _limited(self, seconds: float) -> AsyncIterator[None]:
        """Ends the call after this time, and turns any fault of Redis into HistoryUnavailableError."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                yield
        except (RedisError, OSError) as error:
            reason = f"no answer within {seconds:g} s" if isinstance(error, TimeoutError) else str(error)
            fault = HistoryUnavailableError(f"the history's Redis: {reason}")
            fault.began = began
            raise fault from error


def _set_marks(fields: Mapping[str, str]) -> RedisCommand:
    return RedisCommand(MARKS, ("HSET", MARKS, *(word for pair in fields.items() for word in pair)))


def _parsed(kept: Any) -> dict[str, Mark]:
    pairs = kept.items() if isinstance(kept, dict) else zip(kept[::2], kept[1::2], strict=True)
    return parsed_marks({field.decode(): value.decode() for field, value in pairs})


def _unless_refused(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    return answers
