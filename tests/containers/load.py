"""Clients that submit until they are told to stop, repeat what was not answered, and remember what was accepted."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import httpx
import orjson

from tests.chaos.answers import AGAIN, BadAnswerError, checked, checked_state
from tests.support.factories import transaction_json

PAUSE_SECONDS = 0.1
GIVE_UP_SECONDS = 60.0
"""For how long a client repeats: longer than any fault."""

BATCH_ROWS = 50
BATCH_SECONDS = 0.2
SINGLE_SECONDS = 0.01
PAGE = 1000


def rows(prefix: str, count: int) -> list[dict[str, Any]]:
    """So many transactions, each with an id of its own."""
    return [transaction_json(transaction_id=f"{prefix}-{number:07d}", amount=1.0 + number) for number in range(count)]


def submit_batch(http: httpx.Client, batch: list[dict[str, Any]]) -> list[str]:
    """Submits rows until they are accepted; gives their ids."""
    said = _insist(http, "/transactions/batch", batch)
    if said["refused"] or said["accepted"] + said["known"] != len(batch):
        raise BadAnswerError(f"of {len(batch)} rows: {said}")
    return [row["transaction_id"] for row in batch]


def submit_one(http: httpx.Client, row: dict[str, Any]) -> list[str]:
    """Submits one transaction until it is accepted, or known; gives its id."""
    _insist(http, "/transactions", row)
    return [row["transaction_id"]]


def _insist(http: httpx.Client, path: str, body: Any) -> dict[str, Any]:
    give_up_at = time.monotonic() + GIVE_UP_SECONDS
    while True:
        try:
            answer = http.post(path, content=orjson.dumps(body), headers={"Content-Type": "application/json"})
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code != AGAIN:
            return checked(answer.status_code, answer.headers, answer.content, allowed={200, 202})
        if time.monotonic() > give_up_at:
            raise BadAnswerError(f"{path} was not accepted within {GIVE_UP_SECONDS:.0f} s")
        time.sleep(PAUSE_SECONDS)


class Load:
    """Two clients, one of batches and one of single transactions, at a steady rate."""

    def __init__(self, client: Callable[[], httpx.Client], *, at_least: int) -> None:
        self.accepted: list[str] = []
        self.problems: list[str] = []
        self._client = client
        self._at_least = at_least
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=arguments, daemon=True)
            for arguments in (("batch", BATCH_ROWS, BATCH_SECONDS), ("single", 1, SINGLE_SECONDS))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * GIVE_UP_SECONDS)

    @property
    def count(self) -> int:
        """How many were accepted until now."""
        return len(self.accepted)

    def _run(self, prefix: str, size: int, pause_seconds: float) -> None:
        numbers = itertools.count()
        with self._client() as http:
            try:
                while not self._stop.is_set() or self.count < self._at_least:
                    begun = time.monotonic()
                    batch = rows(f"{prefix}{next(numbers)}", size)
                    self.accepted += submit_batch(http, batch) if size > 1 else submit_one(http, batch[0])
                    self._stop.wait(max(0.0, begun + pause_seconds - time.monotonic()))
            except BadAnswerError as error:
                self.problems.append(str(error))


def feed(http: httpx.Client) -> list[dict[str, Any]]:
    """Every decision, in order."""
    decisions: list[dict[str, Any]] = []
    cursor = "0"
    while True:
        answer = http.get("/decisions", params={"after": cursor, "limit": PAGE})
        page = checked(answer.status_code, answer.headers, answer.content, allowed={200})
        if not page["decisions"]:
            return decisions
        decisions += page["decisions"]
        cursor = page["next"]


def decision(http: httpx.Client, transaction_id: str, *, wait_seconds: int = 0) -> dict[str, Any] | None:
    """A transaction's decision as its client reads it; None where there is none in time."""
    answer = http.get(f"/transactions/{transaction_id}", params={"wait": wait_seconds}, timeout=10 + wait_seconds)
    return checked_state(checked(answer.status_code, answer.headers, answer.content, allowed={200}), transaction_id)
