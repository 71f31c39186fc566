"""The check for a store that lost data or whose clock is wrong: made every few seconds, and noted in the store."""

import asyncio
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from riskline.ingest.background.every import every
from riskline.shared.clock import utc_now
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.status.identity import (
    AsyncIdentity,
    RememberedShard,
    ShardMemory,
    ShardState,
    Witness,
    went_back,
)
from riskline.shared.telemetry.metrics import REDIS_CLOCK_AHEAD, STORE_LOSSES

log = get_logger(__name__)

INTERVAL_SECONDS = 5.0

CLOCK_SECONDS = 60.0
"""The most that Redis's clock may differ from ours, or jump: machines set by NTP differ by less than 1 s."""

LONGEST_LOOK_SECONDS = 5.0
"""The longest look whose clock reading counts: a process that was stopped meanwhile cannot date Redis's answer."""

STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_REALTIME)
"""A clock that is never set and runs while the machine sleeps. Without one no jump of this machine's clock is seen."""

ACCEPT_LOSS = "`riskline doctor --accept-loss` ends this alarm."


def steady_seconds() -> float:
    """The time by the steady clock."""
    return time.clock_gettime(STEADY_CLOCK)


class ShardWatch:
    """The state of one shard."""

    def __init__(
        self, identity: AsyncIdentity, witness: Witness, *, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self.identity = identity
        self._witness = witness
        self._clock = clock
        self._wall = wall
        self.known: RememberedShard | None = None
        self.lost: str | None = None
        """The loss, in words, until an operator accepts it."""
        self.ahead_seconds = 0.0
        """The time by which Redis's clock is ahead of ours, in s."""
        self._ours_at_zero: float | None = None
        """Our steady clock when Redis's said 0, as of the last look."""

    async def update(self) -> None:
        """Checks once, and notes a loss.

        Raises:
            StoreUnavailableError: Redis failed; the next look finds it.
        """
        # first: transactions accepted meanwhile only raise the number, never lower it
        accepted, unseen = self._witness.accepted, self._witness.lost
        began = self._clock()
        look = await self.identity.read()
        lost = self._lost(look, accepted, unseen) or self._jumped(look, began, self._clock())
        if look.identity is None:
            await self.identity.make(uuid4().hex, made_at=utc_now())
            look = (await self.identity.read())._replace(accepted=look.accepted)
        if lost is not None:
            before = None if self.known is None or self.known.identity == look.identity else self.known.identity
            log.error("the store has lost data", shard=self.identity.shard, problem=lost, remedy=ACCEPT_LOSS)
            await self.identity.note_loss(lost, lost_at=utc_now(), before=before)
        self.lost = look.lost if lost is None else lost
        self._witness.lost -= unseen
        if lost is not None or (self.known is not None and self.known.identity != look.identity):
            # another process may have noted the loss: the next number is compared with this store's, not the lost one's
            self._witness.accepted = min(self._witness.accepted, look.accepted)
        if look.identity is not None:
            self.known = RememberedShard(look.identity, look.accepted)

    def _lost(self, look: ShardState, accepted: int, unseen: int) -> str | None:
        known = self.known
        if unseen and (known is None or known.identity == look.identity):
            return went_back(unseen)
        return look.differs_from(None if known is None else known._replace(accepted=max(accepted, known.accepted)))

    def _jumped(self, look: ShardState, began: float, ended: float) -> str | None:
        """The loss, in words, where Redis's clock has jumped ahead since the last look: keys have expired too early."""
        if ended - began > LONGEST_LOOK_SECONDS:
            return None
        ours = (began + ended) / 2
        self.ahead_seconds = look.at_seconds - self._wall()
        before, self._ours_at_zero = self._ours_at_zero, ours - look.at_seconds
        ahead = 0.0 if before is None else before - self._ours_at_zero
        if ahead < CLOCK_SECONDS:
            return None
        return (
            f"its clock jumped ahead by {ahead:.0f} s: what was to be kept for less than that longer is "
            "forgotten, so that an id which was decided may be decided again"
        )


class StoreWatch:
    """The periodic check of each shard. An outage costs one check; other tasks log it."""

    def __init__(
        self,
        shards: Sequence[tuple[AsyncIdentity, Witness]],
        *,
        memory: ShardMemory | None,
        clock: Callable[[], float] = steady_seconds,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Without a memory the state ends with this process."""
        self.shards = [ShardWatch(identity, witness, clock=clock, wall=wall) for identity, witness in shards]
        self._memory = memory
        self._written: dict[str, RememberedShard] = {}

    async def run(self) -> None:
        """Checks until cancelled."""
        self.recall()
        await every(INTERVAL_SECONDS, self.update, log=log, failed="looking at the store failed")

    def recall(self) -> None:
        """Reads the state that processes before this one remembered."""
        kept = {} if self._memory is None else self._memory.read()
        for shard in self.shards:
            shard.known = kept.get(shard.identity.shard)

    async def update(self) -> None:
        """Checks all shards at the same time: none waits for one that hangs."""
        answers = await asyncio.gather(*(each.update() for each in self.shards), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, StoreUnavailableError):
                raise answer
        STORE_LOSSES.set(sum(each.lost is not None for each in self.shards))
        REDIS_CLOCK_AHEAD.set(max((each.ahead_seconds for each in self.shards), key=abs, default=0.0))
        self._remember()

    def problems(self) -> dict[str, str]:
        """The problems of a store that answers: the name of each, and what to do."""
        found = {}
        lost = {each.identity.shard: each.lost for each in self.shards if each.lost is not None}
        if lost:
            told = "; ".join(f"shard {tag}: {each}" if len(self.shards) > 1 else each for tag, each in lost.items())
            found["store"] = f"The store has lost data: {told}. {ACCEPT_LOSS}"
        ahead = max((each.ahead_seconds for each in self.shards), key=abs, default=0.0)
        if abs(ahead) >= CLOCK_SECONDS:
            found["clock"] = (
                f"Redis's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's: set "
                "both by NTP. By a clock that is ahead what is kept is forgotten too early."
            )
        return found

    def _remember(self) -> None:
        known = {each.identity.shard: each.known for each in self.shards if each.known is not None}
        if self._memory is None or known == self._written:
            return
        try:
            self._memory.write(known)
        except OSError as error:
            log.warning(
                "the store's state is not remembered beyond this process",
                problem=str(error),
                remedy="let RISKLINE_DATA name a directory that can be written",
            )
            # said once: a container without a disk is a choice
            self._memory = None
        self._written = known
