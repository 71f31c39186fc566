"""One contract for the pages of the feed in memory, in fakeredis, and (integration) in a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.feed import OLDEST, Cursor, Page
from tests.integration.running import PATIENCE_SECONDS
from tests.support.decision_logs import MemoryLog, fake_log, names_in, shown_decision


@pytest.fixture(params=[MemoryLog, fake_log], ids=["memory", "fakeredis"])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    opened = request.param()
    yield opened
    await opened.close()


async def follow(log: Any, after: Cursor, *, limit: int) -> tuple[list[list[str]], Cursor]:
    """The names on each page until there are no more."""
    pages = []
    while names := names_in(page := await log.decisions.page(after, limit=limit)):
        pages.append(names)
        after = page.next
    return pages, after


async def test_pages_hold_the_decisions_in_order_each_once(log: Any) -> None:
    await log.add("a", "b", "c")
    await log.add("d", "e")

    pages, end = await follow(log, OLDEST, limit=2)

    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    await log.add("f")
    assert await follow(log, end, limit=2) == ([["f"]], await log.decisions.newest())


async def test_a_page_with_nothing_in_it_repeats_the_cursor(log: Any) -> None:
    nothing_ever = await log.decisions.page(OLDEST, limit=10)
    await log.add("a")
    end = await log.decisions.newest()

    assert nothing_ever == Page([], OLDEST)
    assert await log.decisions.page(end, limit=10) == Page([], end)


async def test_the_newest_cursor_is_that_of_the_last_entry(log: Any) -> None:
    assert await log.decisions.newest() == OLDEST
    await log.add("a", "b")

    assert (await log.decisions.page(OLDEST, limit=10)).next == await log.decisions.newest()


async def test_a_cursor_whose_entry_has_left_the_feed_has_no_page(log: Any) -> None:
    await log.add("a", "b", "c", "d")
    first = (await log.decisions.page(OLDEST, limit=1)).next
    third = (await log.decisions.page(OLDEST, limit=3)).next

    await log.trim(2)

    assert await log.decisions.page(first, limit=10) is None
    assert names_in(await log.decisions.page(third, limit=10)) == ["d"]
    assert names_in(await log.decisions.page(OLDEST, limit=10)) == ["c", "d"]


async def test_a_cursor_has_no_page_when_the_whole_feed_was_lost(log: Any) -> None:
    await log.add("a")
    end = await log.decisions.newest()

    await log.trim(0)

    assert await log.decisions.page(end, limit=10) is None


@pytest.mark.parametrize("cursor", [Cursor(0, 1), Cursor(1, 1), Cursor(2**64 - 1, 2**64 - 1)], ids=str)
async def test_a_cursor_that_was_never_given_has_no_page(log: Any, cursor: Cursor) -> None:
    assert await log.decisions.page(cursor, limit=10) is None
    await log.add("a", "b")

    assert await log.decisions.page(cursor, limit=10) is None


async def test_waiting_ends_at_once_when_more_is_there_and_in_time_when_not(log: Any) -> None:
    await log.add("a")

    assert await log.decisions.wait_for_more(OLDEST, timeout_seconds=2 * PATIENCE_SECONDS) is True
    assert await log.decisions.wait_for_more(await log.decisions.newest(), timeout_seconds=0.01) is False


async def test_waiting_ends_when_more_comes(log: Any) -> None:
    waiting = asyncio.create_task(log.decisions.wait_for_more(OLDEST, timeout_seconds=2 * PATIENCE_SECONDS))
    await asyncio.sleep(0.01)
    await log.add("a")

    assert await asyncio.wait_for(waiting, PATIENCE_SECONDS) is True


async def test_every_call_names_a_redis_that_is_away(log: Any) -> None:
    log.lose_connection()

    for call in (
        log.decisions.page(OLDEST, limit=1),
        log.decisions.newest(),
        log.decisions.wait_for_more(OLDEST, timeout_seconds=1),
    ):
        with pytest.raises(StoreUnavailableError):
            await call


GOOD = orjson.loads(shown_decision("x"))
GARBAGE: list[Any] = [
    b"",
    b"{",
    b"\xff",
    b"5",
    b"null",
    b"[]",
    b"{}",
    b'{"transaction_id":"x"}],"next":"0"}',
    shown_decision("x")[:-1],
    shown_decision("x") + b",1",
    *(orjson.dumps({**GOOD, name: wrong}) for name in GOOD for wrong in (None, [], {})),
    orjson.dumps({**GOOD, "fraud_probability": True}),
    orjson.dumps({**GOOD, "scored_at": "yesterday"}),
    orjson.dumps({**GOOD, "reasons": [{"feature": "amount", "value": 1, "contribution": "much"}]}),
]


@pytest.mark.parametrize(("field", "text"), [("other", b"x"), *(("d", each) for each in GARBAGE)])
async def test_an_entry_that_is_no_decision_is_passed_over(field: str, text: bytes) -> None:
    log = fake_log()
    await log.add("a")
    await log.add_foreign_entry(field, text)
    foreign = await log.decisions.newest()
    await log.add("b")

    assert names_in(await log.decisions.page(OLDEST, limit=10)) == ["a", "b"]
    assert names_in(await log.decisions.page(foreign, limit=10)) == ["b"]
    assert [named for _, named in await log.decisions.entries(OLDEST, limit=10) or ()].count(None) == 1
    await log.close()


async def test_an_entry_that_is_no_decision_is_told_of_once() -> None:
    log = fake_log()
    await log.add_foreign_entry("d", b"{")
    await log.add("a")

    with capture_logs() as lines:
        for _ in range(3):
            await log.decisions.page(OLDEST, limit=10)

    assert sum("entries of the feed are no decisions" in line["event"] for line in lines) == 1
    await log.close()


@pytest.mark.parametrize("text", ["0", "5-0", "0-7", "1795490107123-12", "18446744073709551615-18446744073709551615"])
def test_a_cursor_is_read_as_it_was_written(text: str) -> None:
    assert str(Cursor.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "-",
        "5-",
        "-5",
        "5-0-0",
        "+5-0",
        "5 -0",
        "5-0\n",
        "\u0663-\u0660",
        "18446744073709551616-0",
        "9" * 21 + "-0",
    ],
)
def test_what_no_page_has_given_is_no_cursor(text: str) -> None:
    assert Cursor.parse(text) is None
