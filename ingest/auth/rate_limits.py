"""The rate limit of each key: counted in this process, added up in Redis ten times a second, outside any request.

A key's account is a leaky bucket of its rate's quota. Each process admits requests by the level of all processes 0.1 s
ago. Requests beyond the quota stay in the account, and so are paid back. Where Redis's level is too old, a process
admits a part of its share before it asks. While Redis is away it keeps to its share.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from typing import Any, Protocol

from riskline.ingest.background.every import every
from riskline.ingest.problems.problem import rate_limited
from riskline.shared.access.api_keys import ApiKey
from riskline.shared.access.rate import UNLIMITED, Rate
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.log import get_logger
from riskline.shared.store.rates import RateUse
from riskline.shared.telemetry.metrics import RATE_LIMITED

log = get_logger(__name__)

EXCHANGE_SECONDS = 0.1
"""The interval between exchanges with Redis. A key can exceed its rate within it, and then owes the excess."""

FRESH_SECONDS = 0.3
"""The age of Redis's answer from which a process keeps to its share. An account in use gets one every 0.1 s."""

UNHEARD = 0.1
"""The part of its share that a process lets through before it asks Redis, where its last answer is too old."""

ASK_SECONDS = 0.5
"""The time that a request waits for an answer of Redis that may admit it."""

NOBODY = "-"
"""The account of all requests without a key, where none is asked for. No key can have this name."""

POLICY = '"key"'


class RateAccounts(Protocol):
    """The sum of what all processes' keys have spent; raises StoreUnavailableError where Redis fails."""

    async def spend(self, spent: Sequence[RateUse]) -> list[float]:
        """Adds the units spent; returns the level of each account."""


class RateAccount:
    """The units that a key has spent of its rate, as this process knows them."""

    __slots__ = (
        *("_at", "_freed_per_second", "_is_alone", "_level", "_share", "_told_at", "_unheard"),
        *("name", "policy", "rate", "unreported"),
    )

    def __init__(self, name: str, rate: Rate, *, now: float, sharers: int) -> None:
        self.name = name
        self.unreported = 0.0
        self._is_alone = False
        self._level, self._at = 0.0, now
        self._told_at = now - 2 * FRESH_SECONDS
        self.change(rate, sharers)

    def change(self, rate: Rate, sharers: int) -> None:
        """Takes another rate, or another number of processes that share it; the level stays."""
        self.rate = rate
        self.policy = f"{POLICY};q={rate.quota};w={rate.window_seconds}"
        self._share = max(1.0, rate.quota / sharers)
        self._unheard = rate.quota if sharers == 1 else max(1.0, self._share * UNHEARD)
        self._freed_per_second = rate.per_second

    def is_fresh(self, now: float) -> bool:
        """True where Redis's sum over all processes is at most FRESH_SECONDS old."""
        return now - self._told_at <= FRESH_SECONDS

    def allowed(self, now: float) -> float:
        """The units that may be spent at a time."""
        if self.is_fresh(now):
            return self.rate.quota
        return self._share if self._is_alone else self._unheard

    def level(self, now: float) -> float:
        """The units that are spent and not free again. Several processes together can exceed the quota."""
        level = self._level - (now - self._at) * self._freed_per_second
        return max(0.0, level)

    def take(self, now: float) -> bool:
        """Spends one unit, if one is left."""
        level = self.level(now) + 1.0
        if level > self.allowed(now):
            return False
        self._level, self._at = level, now
        self.unreported += 1.0
        return True

    def charge(self, units: int, now: float) -> None:
        """Spends units, even beyond the quota: a batch is counted once its rows are read; -1 gives one back."""
        self._level, self._at = max(0.0, self.level(now) + units), now
        self.unreported += units

    def owes(self, now: float) -> float:
        """The units spent beyond the quota."""
        return max(0.0, self.level(now) - self.rate.quota)

    def take_unreported(self) -> RateUse:
        """Takes the units that Redis has not counted yet."""
        spent, self.unreported = self.unreported, 0.0
        return RateUse(self.name, spent, self.rate.per_second)

    def set_level(self, level: float, now: float) -> None:
        """Takes the level of all processes; adds the units spent since it was asked for."""
        self._level, self._at, self._told_at = level + self.unreported, now, now
        self._freed_per_second, self._is_alone = self.rate.per_second, False

    def keep_to_share(self, spent: float, sharers: int, now: float) -> None:
        """Keeps to a share while Redis is away, and drops uncounted units that are free again by now."""
        level = self.level(now)
        self.unreported = min(self.unreported + spent, level)
        self.change(self.rate, sharers)
        self._is_alone = True
        if not self.is_fresh(now):
            self._level, self._at, self._freed_per_second = level, now, self.rate.per_second / sharers

    def standing(self, now: float) -> str:
        """The value of the field RateLimit: the units left, and the seconds until all are free."""
        level = self.level(now)
        left = int(self.allowed(now) - level)
        return f"{POLICY};r={max(0, left)};t={ceil(level / self._freed_per_second)}"

    def lines(self, now: float) -> bytes:
        """The header lines of the RateLimit fields."""
        return f"ratelimit-policy: {self.policy}\r\nratelimit: {self.standing(now)}\r\n".encode()

    def free_in_seconds(self, now: float) -> int:
        """The whole seconds until one unit can be spent."""
        return max(1, ceil((self.level(now) + 1.0 - self.allowed(now)) / self._freed_per_second))


class RateLimiter:
    """The accounts of the keys that have a rate."""

    def __init__(
        self,
        default: Rate | None = None,
        *,
        accounts: RateAccounts | None = None,
        sharers: Callable[[], int] = lambda: 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._default = default
        self._accounts = accounts
        self._sharers = sharers
        self.clock = clock
        self._known: dict[str, RateAccount] = {}
        self._exchange = asyncio.Lock()
        self._is_away = False

    def account(self, key: ApiKey | None) -> RateAccount | None:
        """The account of a key, or of all requests without one; None where there is no rate."""
        rate = self._default if key is None or key.rate is None else key.rate
        if rate is None or rate == UNLIMITED:
            return None
        name = NOBODY if key is None else key.name
        account = self._known.get(name)
        if account is None:
            account = self._known[name] = RateAccount(name, rate, now=self.clock(), sharers=self._sharers())
        elif account.rate != rate:
            account.change(rate, self._sharers())
        return account

    async def admit(self, account: RateAccount) -> None:
        """Spends one.

        Raises:
            HttpProblem: 429, there is none.
        """
        if account.take(self.clock()):
            return
        if not account.is_fresh(self.clock()) and not self._is_away:
            await self._ask(account)
            if account.take(self.clock()):
                return
        RATE_LIMITED.labels(account.name).inc()
        raise rate_limited(str(account.rate), account.free_in_seconds(self.clock()))

    async def _ask(self, account: RateAccount) -> None:
        """Reads from Redis the units that others have spent, in one exchange for all requests that ask meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ASK_SECONDS), self._exchange:
                if not account.is_fresh(self.clock()):
                    await self._exchange_units([account])

    def spend(self, account: RateAccount | None, units: int) -> None:
        """Charges the further units of a request, even beyond the quota."""
        if account is not None and units:
            account.charge(units, self.clock())

    def check_debt(self, account: RateAccount | None, most: int, **members: Any) -> None:
        """Checks that the debt is no more than one request may make; `members` are added to the problem where it is.

        Raises:
            HttpProblem: 429.
        """
        if account is not None and account.owes(self.clock()) > most:
            RATE_LIMITED.labels(account.name).inc()
            raise rate_limited(str(account.rate), account.free_in_seconds(self.clock()), **members)

    async def run(self) -> None:
        """Exchanges units with Redis until cancelled."""
        await every(EXCHANGE_SECONDS, self.exchange, log=log, failed="telling what keys have spent failed")

    async def exchange(self) -> None:
        """One exchange with Redis; where it fails, this process keeps to its share before long."""
        now = self.clock()
        active = [each for each in self._known.values() if each.unreported or each.level(now)]
        if active:
            async with self._exchange:
                await self._exchange_units(active)

    async def _exchange_units(self, active: Sequence[RateAccount]) -> None:
        if self._accounts is None:
            for account in active:
                account.set_level(account.level(self.clock()) - account.unreported, self.clock())
            return
        spent = [account.take_unreported() for account in active]
        try:
            levels = await self._accounts.spend(spent)
        except StoreUnavailableError:
            levels = None
        except asyncio.CancelledError:
            # whether Redis has heard it is not known
            for account, each in zip(active, spent, strict=True):
                account.unreported += each.units
            raise
        self._is_away = levels is None
        now = self.clock()
        if levels is None:
            for account, each in zip(active, spent, strict=True):
                account.keep_to_share(each.units, self._sharers(), now)
            return
        for account, level in zip(active, levels, strict=True):
            account.set_level(level, now)
