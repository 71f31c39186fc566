"""How fast each key may send: counted in this process and told to Redis ten times a second; no request waits for that.

A key's account is a leaky bucket of its rate's quota. Each process lets through what the account has room for, as all
processes together stood a tenth of a second ago; what they let through too much is paid back, for the account has it.
While Redis is away each process lets its share through.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from math import ceil
from typing import Protocol

from ingest.problems import rate_limited
from shared.api_keys import ApiKey
from shared.errors import StoreUnavailableError
from shared.log import get_logger
from shared.metrics import RATE_LIMITED
from shared.rate import UNLIMITED, Rate
from shared.store.rates import Spent

log = get_logger(__name__)

TELL_SECONDS = 0.1
"""For how long processes know nothing of each other: what a key sends in that time it can have too much, and owes."""

TOLD_SECONDS = 1.0
"""How old an answer of Redis may be before a process keeps to its share."""

NOBODY = "-"
"""The account of all who call without a key where none is asked for; no key can be called so."""

POLICY = '"key"'


class Accounts(Protocol):
    """Where processes tell what keys have spent; raises StoreUnavailableError where Redis fails."""

    async def spend(self, spent: Sequence[Spent]) -> list[float]:
        """Adds what was spent; answers the level of each account."""


class Account:
    """What a key has spent of its rate, as this process knows it."""

    __slots__ = ("_at", "_level", "_per_second", "_quota", "allowed", "name", "policy", "rate", "untold")

    def __init__(self, name: str, rate: Rate, *, now: float) -> None:
        self.name = name
        self.rate = rate
        self.policy = f"{POLICY};q={rate.quota};w={rate.window_seconds}"
        self.allowed: float = rate.quota
        self.untold = 0.0
        self._quota, self._per_second = rate.quota, rate.per_second
        self._level, self._at = 0.0, now

    def level(self, now: float) -> float:
        """How much of the quota is spent and not free again; over the quota where several processes let it be."""
        level = self._level - (now - self._at) * self._per_second
        return max(0.0, level)

    def take(self, now: float) -> bool:
        """Spends one, if there is one."""
        level = self.level(now) + 1.0
        if level > self.allowed:
            return False
        self._level, self._at = level, now
        self.untold += 1.0
        return True

    def charge(self, units: int, now: float) -> None:
        """Spends so many, whether or not they are there: a batch is counted once its rows are; -1 gives one back."""
        self._level, self._at = max(0.0, self.level(now) + units), now
        self.untold += units

    def tell(self) -> Spent:
        """What Redis is to be told."""
        spent, self.untold = self.untold, 0.0
        return Spent(self.name, spent, self._per_second)

    def told(self, level: float, now: float) -> None:
        """Takes the level of all processes, to which comes what was spent since it was asked for."""
        self._level, self._at, self.allowed = level + self.untold, now, self._quota

    def alone(self, spent: float, sharers: int, now: float) -> None:
        """Keeps to a share where Redis has not heard what was spent; of that, what is free again need not be told."""
        self.untold = min(self.untold + spent, self.level(now))
        self.allowed = max(1.0, self._quota / sharers)

    def standing(self, now: float) -> str:
        """What a client reads of it in the field RateLimit: how much is left, and in how many seconds all is."""
        level = self.level(now)
        left = int(self.allowed - level)
        return f"{POLICY};r={max(0, left)};t={ceil(level / self._per_second)}"

    def lines(self, now: float) -> bytes:
        """The lines of an answer's head that say so."""
        return f"ratelimit-policy: {self.policy}\r\nratelimit: {self.standing(now)}\r\n".encode()

    def free_in_seconds(self, now: float) -> int:
        """After how many whole seconds there is one to spend."""
        return max(1, ceil((self.level(now) + 1.0 - self.allowed) / self._per_second))


class Limiter:
    """The accounts of the keys that have a rate."""

    def __init__(
        self,
        default: Rate | None = None,
        *,
        accounts: Accounts | None = None,
        sharers: Callable[[], int] = lambda: 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._default = default
        self._accounts = accounts
        self._sharers = sharers
        self.clock = clock
        self._known: dict[str, Account] = {}
        self._told_at = clock()

    def account(self, key: ApiKey | None) -> Account | None:
        """The account of a key, or of all who have none; None where there is no rate."""
        rate = self._default if key is None or key.rate is None else key.rate
        if rate is None or rate == UNLIMITED:
            return None
        name = NOBODY if key is None else key.name
        account = self._known.get(name)
        if account is None or account.rate != rate:
            account = self._known[name] = Account(name, rate, now=self.clock())
        return account

    def admit(self, account: Account) -> None:
        """Spends one.

        Raises:
            Problem: 429, there is none.
        """
        now = self.clock()
        if not account.take(now):
            RATE_LIMITED.labels(account.name).inc()
            raise rate_limited(str(account.rate), account.free_in_seconds(now))

    def spend(self, account: Account | None, units: int) -> None:
        """Counts what a request turned out to have more than one of, whether or not it is there."""
        if account is not None and units:
            account.charge(units, self.clock())

    async def run(self) -> None:
        """Tells Redis, and hears of other processes, until cancelled."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            try:
                await self.tell()
            except Exception:
                log.exception("telling what keys have spent failed")

    async def tell(self) -> None:
        """One exchange with Redis; where it fails, this process keeps to its share before long."""
        now = self.clock()
        active = [each for each in self._known.values() if each.untold or each.level(now)]
        if self._accounts is None or not active:
            self._told_at = now
            return
        spent = [account.tell() for account in active]
        try:
            levels = await self._accounts.spend(spent)
        except StoreUnavailableError:
            self._keep_to_shares(active, spent)
            return
        self._told_at = now = self.clock()
        for account, level in zip(active, levels, strict=True):
            account.told(level, now)

    def _keep_to_shares(self, active: Sequence[Account], spent: Sequence[Spent]) -> None:
        now = self.clock()
        sharers = self._sharers() if now - self._told_at > TOLD_SECONDS else 1
        for account, each in zip(active, spent, strict=True):
            account.alone(each.units, sharers, now)
