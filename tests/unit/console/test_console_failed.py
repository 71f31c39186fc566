"""The console's page of what failed: pages, filters, questions with numbers, and what is tried again."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import fakeredis
import orjson
import pytest

from riskline.ingest.console.failed.kinds import FailedTransactions, FailureKind, RetryingCallbacks
from riskline.ingest.console.failed.scan import ALL, number, scan
from riskline.shared.access.api_keys import Scope
from riskline.shared.store.keys import Keys
from riskline.shared.store.listing import Entry, Listing
from riskline.shared.store.operations import AllCallbacks, AllFailures
from riskline.shared.store.sharding.shards import all_keys, shard_of
from tests.support.console_pages import Open, attempt, ids
from tests.unit.console.test_console_sessions import Console

SECRET_URL = "https://shop.example/hook?token=s3cret-value"


@pytest.fixture
def console() -> Open:
    return Open()


def section(page: str, kind: str) -> str:
    return page.partition(f'aria-labelledby="s-{kind}"')[2].partition("</section>")[0]


def link(part: str, words: str) -> str | None:
    found = re.search(rf'href="/console(/failed\?[^"#]*)[^"]*">{words}', part)
    return None if found is None else unescape(found[1])


def location(answer: Any) -> str:
    assert answer.status_code == 303
    return str(answer.headers["location"]).removeprefix("/console")


def test_a_failed_transaction_is_listed_with_its_reason_and_tried_again(console: Open) -> None:
    console.fail("t-1", "deciding it raised ValueError")
    console.fail("t-2", "3 processes were lost while they assessed it")

    page = console.get("/failed?reason=processes").text
    assert "t-2" in page
    assert "t-1" not in page
    assert "Try again</button>" in console.get("/failed?confirm=transactions").text

    answer = console.post("/failed/transactions", reason="processes")

    assert location(answer) == "/failed?reason=processes&of=transactions&done=1"
    assert console.api.sync_redis.lrange(Keys().waiting, 0, -1) == [b"t-2"]
    assert console.post("/failed/transactions", id="t-1").status_code == 303
    assert console.api.sync_redis.zcard(Keys().failed) == 0
    assert "transactions tried again" in console.get("/changes").text


def groups(part: str) -> list[list[str]]:
    """The cells of each group: why, count, first, last."""
    table = part.partition(" by reason")[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.DOTALL)
    return [
        [unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)][:4] for row in rows
    ]


def test_what_failed_for_one_reason_is_a_group_with_count_and_times(console: Open) -> None:
    for each in range(60):
        console.fail(f"t-{each}", "deciding it raised ValueError", at=1_700_000_000 + each)
    console.fail("lost", "3 workers were lost")
    console.call_back("c-1", attempt(), status="dead", reason="status 500")
    console.call_back("c-2", attempt(), status="dead", reason="status 500")

    page = console.get("/failed").text

    many, one = groups(section(page, "transactions"))
    assert many[:2] == ["deciding it raised ValueError", "60"]
    assert one[:2] == ["3 workers were lost", "1"]
    assert 'title="2023-11-14 22:13:20 UTC"' in page
    assert 'title="2023-11-14 22:14:19 UTC"' in page
    assert groups(section(page, "callbacks"))[0][:2] == ["shop.example: status 500", "2"]
    # the rows are there, and folded
    assert re.search(r"<details>\s*<summary>One by one", section(page, "transactions"))
    assert "<details open>" in section(console.get("/failed?reason=lost").text, "transactions")


def test_a_group_is_tried_again_and_no_other_whose_reason_only_begins_so(console: Open) -> None:
    console.fail("t-1", "deciding it raised ValueError")
    console.fail("t-2", "deciding it raised ValueError: no such code")
    part = section(console.get("/failed").text, "transactions")

    path = next(
        each
        for each in re.findall(r'href="/console(/failed[^"#]*)#', part)
        if "reason=deciding+it+raised+ValueError&amp;whole" in each and "confirm" in each
    )
    question = console.get(unescape(path)).text
    form = dict(
        re.findall(
            r'name="(reason|whole|do)" value="([^"]*)"',
            question.partition('action="/console/failed/transactions"')[2].partition("</form>")[0],
        )
    )
    place = location(console.post("/failed/transactions", **form))

    assert "Try 1 transaction again of the group “deciding it raised ValueError”?" in question
    assert "whole=1&of=transactions&done=1" in place
    assert console.api.sync_redis.lrange(Keys().waiting, 0, -1) == [b"t-1"]


def test_what_is_discarded_leaves_the_list_and_its_record_stays(console: Open) -> None:
    console.fail("t-1", "deciding it raised ValueError")
    console.fail("t-2", "3 workers were lost")
    console.call_back("c-1", attempt(), status="dead", reason="status 500")

    question = console.get("/failed?confirm=transactions&do=discard&reason=ValueError").text
    place = location(console.post("/failed/transactions", do="discard", reason="ValueError"))
    console.post("/failed/callbacks", do="discard")

    assert "Discard 1 transaction whose reason has “ValueError”? They leave this list for good" in question
    assert "1 transaction is discarded." in console.get(place).text
    redis, keys = console.api.sync_redis, Keys()
    assert redis.zrange(keys.failed, 0, -1) == [b"t-2"]
    assert redis.exists(keys.transaction("t-1"))
    assert not redis.exists(keys.callbacks_dead)
    assert redis.hget(keys.callback("c-1"), "status") == b"dead"
    assert not redis.llen(keys.waiting)
    assert "transactions discarded" in console.get("/changes").text


def test_what_is_still_to_be_tried_cannot_be_discarded(console: Open) -> None:
    console.call_back("r-1", attempt())

    assert "Discard" not in section(console.get("/failed?confirm=retries&do=discard").text, "retries")
    assert location(console.post("/failed/retries", do="discard")) == "/failed?of=retries&done=1"
    assert console.api.sync_redis.zcard(Keys().callbacks) == 1


def test_many_are_discarded_part_by_part_and_a_link_cannot_turn_that_into_another_try(
    console: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riskline.ingest.console.failed.failed.AT_A_TIME", 3)
    for each in range(7):
        console.fail(f"t-{each}")

    place = location(console.post("/failed/transactions", do="discard"))

    assert 'hx-trigger="load delay:200ms"' in console.get(place).text
    assert 'hx-trigger="load delay:200ms"' not in console.get(place.replace("do=discard", "do=")).text
    assert console.api.sync_redis.zcard(Keys().failed) == 4


def test_groups_are_counted_as_far_as_there_is_time(console: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.console.failed.failed.LOOK_SECONDS", 0.0)
    for each in range(120):
        console.fail(f"t-{each:03}")

    part = section(console.get("/failed").text, "transactions")

    assert groups(part)[0][1] == "50"
    assert "By reason: the newest 50 of the 120 that failed." in part


def test_a_failed_transaction_is_listed_with_its_request(console: Open) -> None:
    console.fail("t-1")
    record = orjson.loads(console.api.store.records["t-1"]) | {"request_id": "asked-77"}
    console.api.sync_redis.set(Keys().transaction("t-1"), orjson.dumps(record))

    assert 'data-label="Request">asked-77</td>' in console.get("/failed").text


def test_each_kind_is_paged_by_itself_and_says_where_it_is(console: Open) -> None:
    names = [f"t-{each:03}" for each in range(120)]
    for each in names:
        # all within one second, as they are when a release is bad
        console.fail(each)
    for each in range(60):
        console.call_back(f"c-{each:02}", attempt(), status="dead", at_ms=1_700_000_000_000 + each)

    seen, said = [], []
    path: str | None = link(section(console.get("/failed").text, "callbacks"), "Older")
    while path is not None:
        page = console.get(path).text
        part = section(page, "transactions")
        seen += ids(part)
        said += re.findall(r"(\d+ to \d+ of \d+)", part)
        assert ids(section(page, "callbacks")) == [f"c-{each:02}" for each in reversed(range(10))]
        path = link(part, "Older")

    assert seen == names[::-1]
    assert said == ["1 to 50 of 120", "51 to 100 of 120", "101 to 120 of 120"]
    newest = link(section(page, "transactions"), "Newest")
    assert newest is not None
    assert ids(section(console.get(newest).text, "transactions")) == names[:69:-1]


def test_a_page_goes_on_where_its_last_row_was_though_that_is_gone(console: Open) -> None:
    names = [f"t-{each:03}" for each in range(60)]
    for each in names:
        console.fail(each)
    older = link(section(console.get("/failed").text, "transactions"), "Older")
    assert older is not None

    console.post("/failed/transactions", id="t-010")
    console.post("/failed/transactions", id="t-055")

    assert ids(section(console.get(older).text, "transactions")) == names[:10][::-1]


def test_the_last_page_has_no_link_to_one_that_is_empty(console: Open) -> None:
    for each in range(50):
        console.fail(f"t-{each}")

    assert "Older" not in console.get("/failed").text
    assert "There are no older ones." in console.get("/failed?transactions=1-x").text


def test_a_filter_looks_through_all_bounded_in_time(console: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.console.failed.failed.LOOK_SECONDS", 0.0)
    console.fail("rare", "3 workers were lost", at=1_600_000_000)
    for each in range(265):
        console.fail(f"t-{each:03}")

    path, looks = "/failed?reason=workers", 0
    while not ids(section(page := console.get(path).text, "transactions")):
        looks += 1
        part = section(page, "transactions")
        assert "None of those that were looked through" in part
        assert "Try these again…" in part
        path = link(part, "Look further back than") or ""

    assert looks == 5
    assert "Looked through 251 to 266 of the 266 that failed" in section(page, "transactions")


def test_a_question_says_how_many_it_is_about(console: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in range(205):
        console.fail(f"t-{each:03}")
    console.fail("lost", "3 workers were lost", at=1_600_000_000)

    def question(query: str) -> str:
        return unescape(re.search(r"<p>(Try .*?)</p>", console.get(f"/failed?{query}").text)[1])  # type: ignore[index]

    assert question("confirm=transactions").startswith("Try all 206 transactions again?")
    assert question("confirm=transactions&reason=LOST").startswith(
        "Try 1 transaction again whose reason has “LOST”? What"
    )
    assert question("confirm=transactions&reason=Value").startswith("Try 205 transactions again whose")
    monkeypatch.setattr("riskline.ingest.console.failed.failed.LOOK_SECONDS", 0.0)
    assert "There is none whose reason has “nothing”" in console.get("/failed?confirm=transactions&reason=nothing").text
    monkeypatch.setattr("riskline.ingest.console.failed.failed.COUNT_SECONDS", 0.0)
    assert question("confirm=transactions&reason=Value").startswith("Try at least 50 transactions again whose")


def test_with_a_filter_the_heading_says_how_many_of_how_many(console: Open) -> None:
    console.fail("t-1")
    console.fail("t-2", "3 workers were lost")

    assert "Failed transactions: 2<" in console.get("/failed").text
    assert "Failed transactions: 1 of 2<" in console.get("/failed?reason=lost").text


def test_many_are_tried_again_part_by_part_with_progress(console: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.console.failed.failed.AT_A_TIME", 3)
    for each in range(7):
        console.fail(f"t-{each}")

    place, pages = location(console.post("/failed/transactions")), []
    while "go=" in place:
        query = {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}
        pages.append(console.get(place).text)
        # what fails once more meanwhile is not met again
        console.fail(f"again-{len(pages)}", at=1_800_000_000)
        place = location(console.post("/failed/transactions", done=query["done"], go=query["go"]))

    assert place == "/failed?of=transactions&done=7"
    assert len(pages) == 2
    assert '<progress value="3" max="7">' in pages[0]
    assert '<progress value="6" max="7">' in pages[1]
    assert "hx-get" not in pages[0]
    assert console.api.sync_redis.llen(Keys().waiting) == 7
    changes = console.get("/changes").text
    assert changes.count("number 3, reason any") == 2
    assert changes.count("number 1, reason any") == 1


def test_nothing_goes_on_by_itself_that_a_link_asks_for(console: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.console.failed.failed.AT_A_TIME", 3)
    for each in range(7):
        console.fail(f"t-{each}")
    place = location(console.post("/failed/transactions"))
    by_itself = 'hx-trigger="load delay:200ms"'

    assert by_itself in console.get(place).text
    for changed in (
        "/failed?of=transactions&done=0&go=1900000000-t",
        place.replace("done=3", "done=2"),
        place.partition("&run=")[0],
        place.replace("of=transactions", "of=callbacks"),
        place.replace("/failed?", "/failed?reason=Value&"),
    ):
        page = console.get(changed).text
        assert by_itself not in page, changed
        assert "Go on" in page or "left to be looked through" not in page, changed


@pytest.mark.parametrize("number", ["9" * 13, "9" * 5000, "²", "-1", "x"])
def test_a_number_that_nobody_has_tried_again_is_none(console: Open, number: str) -> None:
    console.fail("t-1")

    assert "tried again" not in console.get(f"/failed?of=transactions&done={number}").text.partition("<form")[0]
    assert location(console.post("/failed/transactions", done=number)).endswith("&done=1")


def test_a_part_of_a_filter_that_finds_none_goes_on_and_keeps_no_change(
    console: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riskline.ingest.console.failed.failed.PART_SECONDS", 0.0)
    console.fail("lost", "3 workers were lost", at=1_600_000_000)
    for each in range(60):
        console.fail(f"t-{each}")

    place = location(console.post("/failed/transactions", reason="lost"))
    assert place.startswith("/failed?reason=lost&of=transactions&done=0&go=1700000000-")
    assert "11 are left to be looked through" in console.get(place).text
    assert "tried again" not in console.get("/changes").text
    go = parse_qs(urlsplit(place).query)["go"][0]

    assert location(console.post("/failed/transactions", reason="lost", done="0", go=go)).endswith("&done=1")
    assert console.api.sync_redis.lrange(Keys().waiting, 0, -1) == [b"lost"]


def test_what_is_tried_again_is_said_in_the_right_words_with_a_link_where_it_is_one(console: Open) -> None:
    for each in ("TXN-1", "TXN-2", "TXN-3"):
        console.call_back(each, attempt(), status="dead")

    one = console.get(location(console.post("/failed/callbacks", id="TXN-1"))).text
    assert re.search(r'note ok" role="status">\s*<p>1 callback is tried again: <a [^>]*transactions/TXN-1">TXN-1<', one)
    assert "2 callbacks are tried again." in console.get(location(console.post("/failed/callbacks"))).text
    gone = console.get(location(console.post("/failed/callbacks", id="TXN-1"))).text
    assert "Nothing is tried again: " in gone
    assert console.get("/changes").text.count("callbacks tried again") == 2


def test_the_lists_are_refreshed_only_while_something_was_just_tried_again(console: Open) -> None:
    console.fail("t-1")
    console.fail("t-2")

    place = location(console.post("/failed/transactions", id="t-1", page="reason=Value"))
    page = console.get(place).text

    assert place == "/failed?reason=Value&of=transactions&done=1&id=t-1"
    here = f"/console{place}".replace("&", "&amp;")
    assert f'<div id="lists" hx-get="{here}&amp;by_itself=1" hx-trigger="every 2s" hx-select="#lists > *" ' in page
    assert f'<a href="{here}">Refresh</a>' in page
    assert 'hx-get="' not in console.get("/failed").text


def test_one_that_is_tried_again_leads_back_to_the_page_it_was_on_and_nowhere_else(console: Open) -> None:
    console.fail("t-1")
    console.fail("t/2")
    view = "reason=ValueError&transactions=1700000000-t-2&evil=https%3A%2F%2Fevil.example"

    place = location(console.post("/failed/transactions", id="t-1", page=view))
    assert place == "/failed?reason=ValueError&transactions=1700000000-t-2&of=transactions&done=1&id=t-1"
    evil = console.post("/failed/transactions", id="t-1", back="https://evil.example", page="//evil.example")
    assert location(evil) == "/failed?of=transactions&done=0&id=t-1"
    assert location(console.post("/failed/transactions", id="t/2", back="transaction")).startswith(
        "/transactions/t%2F2?"
    )


def test_callbacks_that_are_tried_again_are_listed_with_next_attempt_host_and_error(console: Open) -> None:
    console.call_back("new")
    console.call_back("sent-again", attempt(status=200))
    console.call_back("r-1", attempt(), attempt(status=None, error="no such host name"), at_ms=1_700_000_001_000)
    console.call_back("r-2", attempt(), due_ms=1)

    part = section(console.get("/failed").text, "retries")

    assert "Callbacks that are tried again: 2<" in part
    assert ids(part) == ["r-1", "r-2"]
    first, second = re.findall(r"<tr id=.*?</tr>", part, re.DOTALL)
    assert "2096-10-02 07:06:40 UTC" in first
    assert ">https://shop.example/<" in first
    assert "no such host name" in first
    assert '<td class="n" data-label="Tries">2</td>' in first
    assert "is due" in second
    assert "status 500" in second
    assert "Try now</button>" in first


def test_retries_are_tried_now_one_some_or_all(console: Open) -> None:
    redis, keys = console.api.sync_redis, Keys()
    for each in ("r-1", "r-2", "r-3"):
        console.call_back(each, attempt(error="no such host name" if each == "r-2" else "reset the connection"))

    def due() -> set[bytes]:
        hosts = redis.zrangebyscore(keys.callback_host_prefix + "shop.example:443", 0, 3_000_000_000_000)
        return {*hosts}  # type: ignore[misc]

    one = console.get(location(console.post("/failed/retries", id="r-1"))).text
    assert "1 callback is tried now: " in one
    assert due() == {b"r-1"}
    assert "Try 1 callback now whose reason has" in console.get("/failed?confirm=retries&reason=such").text
    console.post("/failed/retries", reason="such")
    assert due() == {b"r-1", b"r-2"}
    assert "Try all 3 callbacks now?" in console.get("/failed?confirm=retries").text
    console.post("/failed/retries")
    assert due() == {b"r-1", b"r-2", b"r-3"}
    assert "callbacks tried now" in console.get("/changes").text


def test_one_that_was_delivered_meanwhile_is_not_sent_again(console: Open) -> None:
    console.call_back("c-1", attempt(status=200), status="delivered")

    for kind in ("retries", "callbacks"):
        assert "&done=0&" in f"{location(console.post(f'/failed/{kind}', id='c-1'))}&"
    assert not console.api.sync_redis.exists(Keys().callbacks)


def test_pending_callbacks_are_looked_through_bounded_in_time(console: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.console.failed.failed.LOOK_SECONDS", 0.0)
    console.call_back("retrying", attempt(), at_ms=1)
    for each in range(60):
        console.call_back(f"new-{each}")

    first = section(console.get("/failed").text, "retries")
    assert "Looked through 1 to 50 of the 61 that are pending" in first
    assert "None of those that were looked through is one." in first
    older = link(first, "Look further back than 2023-11-14 22:13:20 UTC")
    assert older is not None
    assert ids(section(console.get(older).text, "retries")) == ["retrying"]


def test_what_a_callbacks_url_has_of_secrets_is_not_shown_where_it_failed(console: Open) -> None:
    said = "no order at /hook?token=s3cret-value"
    console.call_back("r-1", attempt(status=None, error=said), url=SECRET_URL)
    console.call_back("d-1", attempt(), status="dead", url="https://me:s3cret@shop.example/", reason="s3cret is wrong")

    page = console.get("/failed").text

    assert "s3cret" not in page
    assert page.count(">https://shop.example/<") == 2
    # nor told by what is found
    assert "r-1" not in console.get("/failed?reason=s3cret").text
    assert "r-1" in console.get("/failed?reason=shop.example").text


def test_a_kind_that_is_not_there_is_404(console: Open) -> None:
    assert console.post("/failed/models").status_code == 404


def test_what_is_wrong_in_the_url_is_left_out(console: Open) -> None:
    console.fail("t-1")

    for query in ("transactions=nan-x", "transactions=-", "of=models&done=1", "of=transactions&done=x", "done=1"):
        answer = console.get(f"/failed?{query}")
        assert answer.status_code == 200, query
        assert ids(section(answer.text, "transactions")) == ["t-1"]
        assert 'role="status"' not in answer.text


def test_who_may_only_look_sees_what_failed_and_no_way_to_change_it() -> None:
    console = Console(Scope.READ)
    console.sign_in()
    plant: Any = Open.fail
    plant(console, "t-1")

    for query in ("", "?confirm=transactions"):
        page = console.get(f"/failed{query}").text
        assert "t-1" in page
        assert page.count('<form method="post"') == 0
        assert "again…" not in page
    csrf = console.csrf()
    assert console.post("/failed/transactions", id="t-1", csrf=csrf).status_code == 403
    assert console.api.sync_redis.zcard(Keys().failed) == 1


def test_over_several_shards_the_order_is_that_of_time_and_pages_go_on() -> None:
    # one server can have several: each has keys of its own
    redis, keys = fakeredis.FakeRedis(), all_keys(3)
    names = [f"t-{each:03}" for each in range(90)]
    record = orjson.dumps({"status": "failed", "submitted_at": "", "transaction": None, "error": "it raised"})
    for place, each in enumerate(names):
        mine = keys[shard_of(each, 3)]
        redis.set(mine.transaction(each), record)
        redis.zadd(mine.failed, {each: 1_700_000_000 + place // 7})
    failures = AllFailures([redis] * 3)
    kind = FailedTransactions(failures)

    seen: list[str] = []
    before: Entry | None = None
    while True:
        found = scan(kind, ALL, before, most=20, seconds=60)
        seen += [row.transaction_id for row in found.rows]
        if found.before is None:
            break
        before = found.before
        assert kind.listing.rank(before) == len(seen)

    assert seen == names[::-1]
    assert kind.listing.count() == 90


def test_what_is_looked_through_for_a_page_does_not_grow_with_what_there_is(console: Open) -> None:
    for each in range(400):
        console.call_back(f"c-{each:03}", *([attempt()] if each % 2 else []), at_ms=1_700_000_000_000 + each)
    records = AllCallbacks([console.api.sync_redis])
    kind: FailureKind = RetryingCallbacks(records)
    read: list[str] = []
    tried = records.tried

    def watched(transaction_ids: Any) -> list[str]:
        read.extend(transaction_ids)
        return tried(transaction_ids)

    records.tried = watched  # type: ignore[method-assign]
    found = scan(kind, ALL, None, most=50, seconds=60)

    assert len(found.rows) == 50
    assert len(read) == 150
    assert number(kind, ALL, seconds=60) == (200, True)


def test_a_place_among_many_of_one_score_is_found_by_halving(console: Open) -> None:
    redis = console.api.sync_redis
    redis.zadd("key", {f"{each:04}": 5 for each in range(1000)})
    listing = Listing(redis, "key")
    asked: list[int] = []
    is_below = listing._is_below
    listing._is_below = lambda rank, entry: asked.append(rank) or is_below(rank, entry)  # type: ignore[func-returns-value, method-assign]

    assert [each.transaction_id for each in listing.back(Entry(5, "0500"), 2)] == ["0499", "0498"]
    assert len(asked) <= 11
    assert listing.back(Entry(5, "0500x"), 1) == [Entry(5, "0500")]
    assert listing.back(Entry(6, "a"), 1) == [Entry(5, "0999")]
    assert listing.back(Entry(4, "a"), 1) == []


@pytest.mark.parametrize("entry", [Entry(1_700_000_000, "a-b"), Entry(1_764_000_000_123, "ü\n"), Entry(0.5, "-")])
def test_a_place_is_read_as_it_was_written(entry: Entry) -> None:
    assert Entry.parse(str(entry)) == entry


def test_the_page_says_which_receiver_is_left_alone_and_for_how_many(console: Open) -> None:
    console.call_back("c-1", attempt())
    assert "left alone" not in console.get("/failed").text
    console.api.sync_redis.hset(Keys().callback_gates, "shop.example:443", "12 0")

    page = console.get("/failed").text

    assert "shop.example:443" in page
    assert "is left alone but for one callback now and then: 1 waits" in page
