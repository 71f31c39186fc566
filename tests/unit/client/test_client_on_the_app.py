"""The client against the app itself: what it sends is taken, and what is answered is understood."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from riskline.cli.operate.api_keys import make
from riskline.ingest.auth.authentication import Authenticator
from riskline.shared.access.api_keys import Scope
from riskline_client import (
    LATEST,
    AsyncClient,
    BatchResult,
    Conflict,
    CursorExpired,
    Erased,
    Forbidden,
    InvalidTransaction,
    NotDecidedYet,
    NotFound,
    ProblemError,
    Retries,
    StillQueued,
    Unauthorized,
    Unavailable,
)
from tests.integration.running import PATIENCE_SECONDS
from tests.support.api import MAX_BATCH_ROWS, Api
from tests.support.factories import a_transaction, transaction_json

Using = Callable[[AsyncClient], Awaitable[Any]]


def use(api: Api, using: Using, **options: Any) -> Any:
    async def run() -> Any:
        transport = httpx.ASGITransport(api.app)
        async with AsyncClient("http://app", transport=transport, retries=Retries(attempts=1), **options) as client:
            return await using(client)

    return asyncio.run(run())


def test_a_transaction_is_scored_with_reasons_where_they_are_asked_for() -> None:
    plain = use(Api(), lambda client: client.score(a_transaction(amount=10)))
    explained = use(Api(), lambda client: client.score(a_transaction(amount=10), explain=True))

    assert (plain.action, plain.reasons) == ("APPROVE", None)
    assert explained.reasons[0].text
    assert explained.scored_at.tzinfo is not None


def test_a_submission_is_queued_decided_read_in_the_feed_and_erased() -> None:
    api = Api()

    async def story(client: AsyncClient) -> None:
        queued = await client.submit(transaction_json(), request_id="order-7")
        assert queued.is_queued
        assert await client.submit(transaction_json()) == queued
        with pytest.raises(Conflict):
            await client.submit(transaction_json(amount=1))
        with pytest.raises(NotDecidedYet):
            await client.erase(queued.transaction_id)
        with pytest.raises(StillQueued):
            await client.wait_for(queued.transaction_id, 0.1)
        await asyncio.to_thread(api.work)
        state = await client.wait_for(queued.transaction_id, PATIENCE_SECONDS)
        assert state.decision is not None
        assert [each async for each in client.decisions(follow=False)] == [state.decision]
        await client.erase(queued.transaction_id)
        await client.erase(queued.transaction_id)
        with pytest.raises(Erased):
            await client.get(queued.transaction_id)

    use(api, story)


def test_what_the_app_refuses_is_the_error_of_its_kind() -> None:
    async def story(client: AsyncClient) -> None:
        with pytest.raises(InvalidTransaction) as refused:
            await client.score(transaction_json(amount=-1, foo=1), request_id="order-7")
        assert {each.pointer for each in refused.value.errors} == {"/amount", "/foo"}
        assert refused.value.request_id == "order-7"
        with pytest.raises(NotFound):
            await client.get("..")
        with pytest.raises(ProblemError, match="wait"):
            await client.get("tx-1", wait=31)
        with pytest.raises(CursorExpired):
            await client.page("1-1")

    use(Api(), story)


def test_a_key_is_asked_for_and_its_scope_held_to() -> None:
    secret, key = make("checkout", [Scope.SCORE], now=datetime.now(UTC), expires_at=None)
    api = Api(gate=Authenticator(own_keys=(key,)))

    async def story(client: AsyncClient) -> None:
        assert (await client.score(transaction_json())).action
        with pytest.raises(Forbidden, match="submit"):
            await client.submit(transaction_json())

    use(api, story, api_key=secret)
    with pytest.raises(Unauthorized, match="Authorization: Bearer KEY"):
        use(api, lambda client: client.score(transaction_json()))


def test_a_full_queue_is_told_as_such() -> None:
    async def story(client: AsyncClient) -> None:
        await client.submit(transaction_json())
        with pytest.raises(Unavailable) as refused:
            await client.submit(transaction_json(transaction_id="another"))
        assert refused.value.type.endswith("queue-full")
        assert refused.value.retry_after is not None

    use(Api(queue_limit=1), story)


def test_many_rows_are_taken_and_the_others_listed() -> None:
    rows = [transaction_json(transaction_id=f"tx-{number}", amount=number) for number in range(2 * MAX_BATCH_ROWS)]

    async def twice(client: AsyncClient) -> list[BatchResult]:
        return [await client.submit_many(rows), await client.submit_many(rows)]

    result, again = use(Api(queue_limit=10_000), twice)

    assert (result.accepted, result.known) == (len(rows) - 1, 0)
    assert [(row.index, row.errors[0].pointer) for row in result.refused] == [(0, "/amount")]
    assert (again.accepted, again.known) == (0, len(rows) - 1)


def test_many_rows_wait_for_room_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline_client.batching.AGAIN_SECONDS", 0.05)
    api = Api(queue_limit=3)
    rows = [transaction_json(transaction_id=f"tx-{number}") for number in range(5)]

    async def story(client: AsyncClient) -> BatchResult:
        submitting = asyncio.create_task(
            client.submit_many([*rows, transaction_json(amount=-1)], timeout=PATIENCE_SECONDS)
        )
        while not submitting.done():
            await asyncio.sleep(0.01)
            await asyncio.to_thread(api.work)
        return await submitting

    result = use(api, story)

    assert (result.accepted, [row.index for row in result.refused]) == (5, [5])


def test_what_is_decided_from_now_on_is_followed() -> None:
    api = Api()

    async def story(client: AsyncClient) -> None:
        await client.submit(transaction_json(transaction_id="before"))
        await asyncio.to_thread(api.work)
        newest = (await client.page(LATEST)).next
        await client.submit(transaction_json(transaction_id="after"))
        await asyncio.to_thread(api.work)
        feed = client.decisions(newest)
        assert (await anext(feed)).transaction_id == "after"
        assert feed.cursor != newest

    use(api, story)


def test_health_and_readiness_are_those_of_the_app() -> None:
    async def story(client: AsyncClient) -> None:
        assert (await client.health()).is_healthy
        assert "redis" in (await client.ready()).checks

    use(Api(), story)
