"""Both clients behind one face, over answers that a test makes up, so that each test holds for both."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from riskline_client import AsyncClient, Client, Retries

URL = "http://riskline.example"
AT_ONCE = Retries(attempts=3, first_wait=0.0, longest_wait=0.0)

Handler = Callable[[httpx.Request], httpx.Response]


class Sync:
    """A `Client`, by the names of its methods."""

    def __init__(self, handler: Handler, url: str = URL, **options: Any) -> None:
        self.client = Client(url, transport=httpx.MockTransport(handler), **{"retries": AT_ONCE, **options})

    def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self.client, name)(*arguments, **options)

    def decisions(self, *arguments: Any, **options: Any) -> Any:
        return self.client.decisions(*arguments, **options)

    def next(self, feed: Any) -> Any:
        return next(feed, None)

    def close(self) -> None:
        self.client.close()


class Async:
    """An `AsyncClient`, by the names of its methods."""

    def __init__(self, handler: Handler, url: str = URL, **options: Any) -> None:
        self.client = AsyncClient(url, transport=httpx.MockTransport(handler), **{"retries": AT_ONCE, **options})
        self._runner = asyncio.Runner()

    def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        return self._runner.run(getattr(self.client, name)(*arguments, **options))

    def decisions(self, *arguments: Any, **options: Any) -> Any:
        return self.client.decisions(*arguments, **options)

    def next(self, feed: Any) -> Any:
        async def one() -> Any:
            return await anext(feed, None)

        return self._runner.run(one())

    def close(self) -> None:
        self._runner.run(self.client.close())
        self._runner.close()


class Clock:
    """The client's time, which goes on by what it sleeps and by nothing else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        for module in ("reading", "retrying", "waiting"):
            monkeypatch.setattr(f"riskline_client.{module}.monotonic", lambda: self.now)
        monkeypatch.setattr("time.sleep", self._sleep)
        monkeypatch.setattr("asyncio.sleep", self._sleep_async)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    async def _sleep_async(self, seconds: float) -> None:
        self.now += seconds


class Script:
    """Gives its answers one after the other, the last one again and again, and keeps the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def problem(status: int, name: str, *, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    """An error as the service answers it."""
    document = {"type": f"urn:riskline:problem:{name}", "title": "Title", "status": status, "detail": "Detail."}
    return httpx.Response(
        status,
        json={**document, "instance": "/x", **members},
        headers={"Content-Type": "application/problem+json", **(headers or {})},
    )
