"""Whatever somebody else writes into Redis: the console shows what it can of the rest, and the doors answer."""

import asyncio
from typing import Any

import fakeredis
import orjson
import pytest

from riskline.shared.store.keys import Keys
from riskline.shared.store.status.minute_counts import RedisMinuteCounts, Snapshot
from tests.support.console_pages import Open, attempt, ids

PAGES = ("", "/decisions", "/decisions.csv", "/failed", "/changes")
GARBAGE = (b"x", b"", b"{}", b"[]", b"5", b"null", b'"x"', b"\xff", b"1e999")
RECORDS: tuple[dict[str, Any], ...] = (
    {"decision": {"fraud_probability": 1}},
    {"decision": "x"},
    {"decision": {"action": []}},
    {"submitted_at": "yesterday"},
    {"submitted_at": 1e300},
    {"submitted_at": None, "transaction": [1]},
    {"transaction": 7},
    {"replays": "often", "error": 5},
    {"callback_url": 5},
)


@pytest.fixture
def console() -> Open:
    opened = Open()
    opened.feed({"id": "t-1"}, {"id": "c-1"})
    opened.fail("f-1")
    opened.fail("f-2")
    opened.call_back("c-1", attempt(), status="dead", reason="gave up")
    opened.call_back("c-2", attempt(), status="dead", reason="gave up")
    opened.get("/decisions?is.amount=1")
    return opened


def assert_all_is_answered(console: Open) -> None:
    for page in PAGES:
        assert console.get(page).status_code == 200, page
    for each in ("c-1", "f-1"):
        # one that cannot be read at all is none
        assert console.get(f"/transactions/{each}").status_code in (200, 404)
        assert console.api.client.simulate_get(f"/transactions/{each}").status_code in (200, 404)
    assert console.get("/transactions/t-1").status_code == 200
    assert isinstance(console.api.client.simulate_get("/decisions").json["decisions"], list)
    # and the others are shown as ever
    failed = ids(console.get("/failed").text)
    assert {"f-2", "c-2"} <= {*failed}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("field", ["id", "event", "status", "a1", "reason", "due", "tries", "host"])
def test_a_callback_of_which_something_cannot_be_read_takes_no_page_with_it(
    console: Open, field: str, garbage: bytes
) -> None:
    key = Keys().callback("c-1")
    console.api.sync_redis.hset(key, field, garbage)
    console.api.store.callbacks["c-1"] = console.api.sync_redis.hgetall(key)

    assert_all_is_answered(console)


@pytest.mark.parametrize("changes", RECORDS)
def test_a_record_of_which_something_is_not_ours_takes_no_page_with_it(console: Open, changes: dict[str, Any]) -> None:
    for each in ("c-1", "f-1"):
        record = orjson.dumps(orjson.loads(console.api.store.records[each]) | changes)
        console.api.store.records[each] = record
        console.api.sync_redis.set(Keys().transaction(each), record)

    assert_all_is_answered(console)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_else_is_in_a_listing_takes_no_page_with_it(console: Open, garbage: bytes) -> None:
    redis, keys = console.api.sync_redis, Keys()
    for listing in (keys.failed, keys.callbacks, keys.callbacks_dead):
        redis.zadd(listing, {garbage: 5.5})
    for stream in (keys.feed, keys.console_looks, keys.console_changes):
        redis.xadd(stream, {b"d": garbage})
        redis.xadd(stream, dict.fromkeys((b"at", b"who", b"what", b"about", b"request_id"), garbage))

    assert_all_is_answered(console)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_else_is_among_the_figures_takes_no_page_with_it(console: Open, garbage: bytes) -> None:
    redis, keys = console.api.sync_redis, Keys()
    for figures in (keys.decided_by, keys.measured, keys.paces, keys.processes):
        redis.hset(
            figures, mapping={garbage: b"1", b"busy": garbage, b"a b": garbage, b"a b c": garbage, b"9": garbage}
        )
    for stream in (keys.history, keys.history_week):
        redis.xadd(stream, {b"at": garbage, b"numbers": garbage}, id="1795490107000-1")
        redis.xadd(
            stream, {b"at": b"1795490107", b"numbers": orjson.dumps({"a": "b", "c": None})}, id="1795490107000-2"
        )

    async def look() -> None:
        await console.api.processes.update()
        await console.api.worker_need.update()
        server = redis.connection_pool.connection_kwargs["server"]
        history = RedisMinuteCounts(fakeredis.FakeAsyncRedis(server=server))
        assert await history.since(0) == await history.of_the_week(0, apart_seconds=60) == [Snapshot(1795490107.0, {})]

    asyncio.run(look())

    assert_all_is_answered(console)
