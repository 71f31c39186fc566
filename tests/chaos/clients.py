"""What clients do: submit, repeat, contradict, read and follow; until each has its answer."""

import asyncio
import random
import time
from collections.abc import Collection
from typing import Any

import httpx
import orjson

from tests.chaos.answers import AGAIN, BadAnswerError, checked, checked_state
from tests.chaos.ledger import Body, Ledger
from tests.chaos.receiver import Destinations, url_at

TIMEOUT_SECONDS = 6.0
"""Above the time in which an API says that Redis is away, so that this is heard."""

CONNECTIONS = 48
"""To each API."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0

WAIT_SECONDS = 2

ELSEWHERE = 0.3
"""The share of the contradictions that differ in their callback alone."""

FAULT_FROM = 500
"""Statuses of which a client may hope that they pass."""

Json = dict[str, Any]


class Clients:
    """The requests of many clients, each at whichever API comes first to hand."""

    def __init__(self, urls: list[str], destinations: Destinations, ledger: Ledger, rng: random.Random) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._http = [
            httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, limits=limits, verify=False, trust_env=False)  # noqa: S501  # no TLS here, and contexts for it take long
            for url in urls
        ]
        self._destinations = destinations
        self._ledger = ledger
        self._rng = rng
        self._names = 0
        self.give_up_at = float("inf")
        """By time.monotonic(); who has no answer by then has none."""

    async def close(self) -> None:
        """Lets go of the connections."""
        for each in self._http:
            await each.aclose()

    def new_body(self) -> Body:
        """A transaction that nobody has seen."""
        self._names += 1
        return {
            "transaction_id": f"c{self._names:06d}",
            "amount": round(self._rng.uniform(1, 2000), 2),
            "merchant_category_code": self._rng.randint(1, 9999),
            "customer_age": self._rng.randint(18, 99),
            "distance_from_home": round(self._rng.uniform(0, 500), 1),
            "is_online_transaction": self._rng.randint(0, 1),
        }

    def new_submission(self) -> Body:
        """One that is to be queued, about half of them with a callback."""
        body, url = self.new_body(), self._destinations.choose(self._rng)
        return body if url is None else {**body, "callback_url": url}

    async def insist(
        self, what: str, method: str, path: str, *, allowed: Collection[int], later: bool = True, **request: Any
    ) -> tuple[int, Json] | None:
        """Asks until there is an answer that is not "later"; None where the time is over before."""
        pause = FIRST_PAUSE_SECONDS
        while time.monotonic() < self.give_up_at:
            try:
                response = await self._rng.choice(self._http).request(method, path, **request)
            except httpx.TransportError as error:
                self._ledger.answers[what, type(error).__name__] += 1
            else:
                self._ledger.answers[what, str(response.status_code)] += 1
                status = response.status_code
                try:
                    expected = {AGAIN, *allowed} if later else allowed
                    body = checked(status, response.headers, response.content, allowed=expected)
                except BadAnswerError as error:
                    self._ledger.violate(f"{what}: {error}")
                    if status < FAULT_FROM:
                        return None
                else:
                    if status != AGAIN:
                        return status, body
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
        return None

    async def submit(self, body: Body, *, waiting: bool = False, what: str = "submit") -> None:
        """POST /transactions, for the first time or again."""
        transaction_id = body["transaction_id"]
        headers = {"Prefer": f"wait={WAIT_SECONDS}"} if waiting else {}
        answer = await self.insist(what, "POST", "/transactions", allowed={200, 202}, json=body, headers=headers)
        if answer is None:
            return
        status, state = answer
        decision = checked_state(state, transaction_id)
        if (status == 200) != (decision is not None):
            raise BadAnswerError(f"status {status} with {state}")
        self._ledger.acknowledge(transaction_id, at=time.time())
        if decision is not None:
            self._ledger.see(transaction_id, decision)

    async def submit_new(self, *, waiting: bool, twice: bool) -> None:
        """A new transaction, by one client or by two at the same moment."""
        body = self.new_submission()
        self._ledger.enter(body)
        await asyncio.gather(*(self.submit(body, waiting=waiting) for _ in range(1 + twice)))

    async def submit_batch(self, rows: list[Body], *, bad: list[int], lines: bool) -> None:
        """POST /transactions/batch; `bad` are the places of rows that nobody can take."""
        if lines:
            content = b"\n".join(map(orjson.dumps, rows))
            media_type = "application/x-ndjson"
        else:
            content, media_type = orjson.dumps(rows), "application/json"
        headers = {"Content-Type": media_type}
        answer = await self.insist(
            "batch", "POST", "/transactions/batch", allowed={202}, content=content, headers=headers
        )
        if answer is None:
            return
        _, said = answer
        refused = [row["index"] for row in said["rows"]]
        good = len(rows) - len(bad)
        if refused != bad or said["refused"] != len(bad) or said["accepted"] + said["known"] != good:
            raise BadAnswerError(f"of {len(rows)} rows with {bad} bad: {said}")
        now = time.time()
        for index, row in enumerate(rows):
            if index not in bad:
                self._ledger.acknowledge(row["transaction_id"], at=now)

    async def submit_new_batch(self) -> None:
        """New transactions with a few that are known, and a few that are none."""
        rows = [self.new_submission() for _ in range(self._rng.randint(20, 100))]
        for row in rows:
            self._ledger.enter(row)
        known = [self._ledger.entries[each].body for each in self.some_acknowledged(self._rng.randint(0, 5))]
        broken: list[Body] = [{**self.new_submission(), "amount": -1} for _ in range(self._rng.randint(0, 5))]
        mixed = [*rows, *known, *broken]
        self._rng.shuffle(mixed)
        bad = [index for index, row in enumerate(mixed) if row["amount"] == -1]
        await self.submit_batch(mixed, bad=bad, lines=self._rng.random() < 0.5)

    def some_acknowledged(self, count: int) -> list[str]:
        """Different transactions that were acknowledged, half of them just now."""
        known = self._ledger.acknowledged
        recent = known[-200:] if self._rng.random() < 0.5 else known
        return list(dict.fromkeys(self._rng.choices(recent, k=count))) if recent else []

    async def repeat(self) -> None:
        """A client that submits again what it was told is taken."""
        for transaction_id in self.some_acknowledged(1):
            await self.submit(self._ledger.entries[transaction_id].body, what="repeat")

    async def contradict(self) -> None:
        """Another transaction under an id that was acknowledged, to be decided the other way or sent elsewhere."""
        for transaction_id in self.some_acknowledged(1):
            body = self._ledger.entries[transaction_id].body
            change: Body = {"amount": 2001.005 - body["amount"]}
            if self._rng.random() < ELSEWHERE:
                change = {"callback_url": url_at(self._destinations.live) + "/elsewhere"}
            other = {**body, **change}
            await self.insist("contradict", "POST", "/transactions", allowed={409}, json=other)

    async def read(self) -> None:
        """GET /transactions/{id} of what was acknowledged: it is there."""
        for transaction_id in self.some_acknowledged(1):
            answer = await self.insist("read", "GET", f"/transactions/{transaction_id}", allowed={200})
            if answer is not None and (decision := checked_state(answer[1], transaction_id)) is not None:
                self._ledger.see(transaction_id, decision)

    async def score(self, *, known: bool) -> None:
        """POST /score-transaction, of a new transaction or of one that also went into the queue."""
        found = self.some_acknowledged(1) if known else []
        body = self._ledger.entries[found[0]].body if found else self.new_body()
        entry = self._ledger.entries[found[0]] if found else self._ledger.enter(body, synchronous=True)
        # with Redis away this door is open all the same, so nothing else is allowed
        asked = {name: value for name, value in body.items() if name != "callback_url"}
        answer = await self.insist("score", "POST", "/score-transaction", allowed={200}, json=asked, later=False)
        if answer is None:
            return
        if entry.synchronous:
            self._ledger.see(body["transaction_id"], answer[1])
        else:
            self._ledger.compare(body["transaction_id"], answer[1])

    async def follow(self, feed: list[str], *, over: asyncio.Event) -> None:
        """Reads the whole feed once, page by page, until told that nothing more comes."""
        cursor = "0"
        while True:
            told = over.is_set()
            answer = await self.insist(
                "follow", "GET", "/decisions", allowed={200}, params={"after": cursor, "limit": 1000, "wait": 1}
            )
            if answer is None:
                return
            cursor = answer[1]["next"]
            feed += [decision["transaction_id"] for decision in answer[1]["decisions"]]
            if told and not answer[1]["decisions"]:
                return
            await asyncio.sleep(0.1)
