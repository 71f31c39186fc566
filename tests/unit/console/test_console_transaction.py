"""The console's page of one transaction: its history, its values, its callback, and another try."""

import re
from html import unescape
from typing import Any

import orjson
import pytest

from riskline.ingest.console.transaction.callback_view import bare_url, without_secrets
from riskline.ingest.console.transaction.timeline import timeline_of
from riskline.shared.access.api_keys import Scope
from riskline.shared.store.keys import Keys
from tests.support.console_pages import FAILED_AT, Open, attempt
from tests.unit.console.test_console_sessions import Console

SECRET_URL = "https://shop.example/hook?token=s3cret-value"


@pytest.fixture
def console() -> Open:
    return Open()


def timeline(page: str) -> list[tuple[str, ...]]:
    """The rows of `Timeline`."""
    part = page.partition('aria-labelledby="timeline"')[2].partition("</section>")[0]
    return [tuple(re.findall(r"<td[^>]*>(.*?)</td>", row)) for row in re.findall(r"<tr><td.*?</tr>", part)]


def test_a_transactions_values_are_shown_once_they_are_asked_for_and_that_is_kept(console: Open) -> None:
    console.feed({"id": "t-1", "values": {"amount": 4711.5}})

    before = console.get("/transactions/t-1").text
    shown = console.post("/transactions/t-1").text

    assert "4711.5" not in before
    assert "4711.5" in shown
    changes = console.get("/changes").text
    assert "values looked at" in changes
    assert "t-1" in changes


def test_a_transaction_that_nobody_knows_is_404_on_a_page(console: Open) -> None:
    answer = console.get("/transactions/nobody")

    assert answer.status_code == 404
    assert "Unknown transaction" in answer.text


def test_who_asks_for_values_that_are_not_there_leaves_no_trace(console: Open) -> None:
    assert console.post("/transactions/nobody").status_code == 404
    assert console.post(f"/transactions/{'x' * 3000}").status_code == 404

    assert "values looked at" not in console.get("/changes").text


def test_what_moved_it_adds_up_where_its_version_is_known(console: Open) -> None:
    reasons = [{"feature": "amount", "value": 900.0, "contribution": 0.5, "text": "amount 900.00"}]
    console.feed(
        {"id": "known", "score": 0.5, "version": "20261124T031500-3f9a2c1b", "reasons": reasons},
        {"id": "gone", "score": 0.5, "version": "v0", "reasons": reasons},
    )

    known, gone = (console.get(f"/transactions/{each}").text for each in ("known", "gone"))

    assert "Unit: probability. The sum is the fraud probability, 0.5000." in known
    assert "<strong>0.5000</strong></td><td></td></tr></tfoot>" in known
    assert "which is not stored here" in gone
    assert "<tfoot>" not in gone


def test_values_are_a_table_and_the_record_is_folded(console: Open) -> None:
    values = {"amount": 4711.5, "nested": {"a": [1, True]}, "is_new": False, "note": "a <b>", "nothing": ""}
    console.feed({"id": "t-1", "values": values})

    shown = console.post("/transactions/t-1").text

    cells = dict(re.findall(r'<tr><td class="mono">(.*?)</td><td class="mono">(.*?)</td></tr>', shown))
    assert unescape(cells["nested"]) == '{"a":[1,true]}'
    assert (cells["amount"], cells["is_new"], cells["note"]) == ("4711.5", "false", "a &lt;b&gt;")
    assert "&#34;v&#34;: 1" in shown.partition("<details>")[2].partition("</details>")[0]
    assert "&#34;v&#34;: 1" not in shown.partition("<details>")[0]


def test_the_values_can_be_tried_as_they_are(console: Open) -> None:
    console.feed({"id": "t-1", "score": 0.1, "values": {"amount": 9000.0, "csrf": "evil"}})

    before = console.get("/transactions/t-1").text
    form = console.post("/transactions/t-1").text.partition('action="/console/try?of=t-1"')[2].partition("</form>")[0]
    fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form))
    tried = console.post("/try", **fields)

    assert "Try with these values</button>" not in before
    assert "transaction_id" not in fields
    assert fields["csrf"] == console.csrf
    assert tried.status_code == 200
    assert "DECLINE" in tried.text
    assert 'value="9000.0"' in tried.text


def test_what_was_approved_without_reasons_says_how_it_is_explained(console: Open) -> None:
    console.feed({"id": "t-1"})

    page = console.get("/transactions/t-1").text

    assert re.search(r"<a href=\"#values\">Show the values</a>, and then <em>Try with these values</em> explains", page)
    assert 'id="values"' in page


def test_one_that_was_erased_has_no_values_to_show_or_to_try(console: Open) -> None:
    record = {"v": 1, "status": "erased", "submitted_at": "2026-11-24T03:15:07.123Z", "transaction": None}
    console.api.store.records["t-1"] = orjson.dumps(record | {"erased_at": "2026-11-25T03:15:07.123Z"})

    page = console.post("/transactions/t-1").text

    assert "The values are not stored any more." in page
    assert "/console/try" not in page.partition("<main")[2]
    assert [row[1] for row in timeline(page)] == ["submitted", "erased"]


def test_its_history_says_by_which_door_it_came(console: Open) -> None:
    console.feed({"id": "at-once"})
    console.api.store.records["queued"] = orjson.dumps(
        orjson.loads(console.api.store.records["at-once"]) | {"submitted_at": "2026-11-24T03:15:06.000Z"}
    )

    assert timeline(console.get("/transactions/at-once").text) == [
        ("2026-11-24 03:15:07 UTC", "decided", "APPROVE, at once: by the synchronous door")
    ]
    assert timeline(console.get("/transactions/queued").text) == [
        ("2026-11-24 03:15:06 UTC", "submitted", "to the queue"),
        ("2026-11-24 03:15:07 UTC", "decided", "APPROVE"),
    ]


def test_its_history_says_when_it_failed_and_when_its_callback_was_given_up(console: Open) -> None:
    console.fail("t-1", "deciding it raised KeyError", at=FAILED_AT)
    tried = attempt(at="2023-11-14T22:13:21.500Z")
    console.call_back("t-1", tried, status="dead", at_ms=1_700_000_001_900, reason="the last of 1 attempts failed")

    assert timeline(console.get("/transactions/t-1").text) == [
        ("2023-11-14 22:13:19 UTC", "submitted", "to the queue"),
        ("2023-11-14 22:13:20 UTC", "failed", "deciding it raised KeyError"),
        ("2023-11-14 22:13:21 UTC", "callback tried", "status 500 after 2 ms"),
        ("2023-11-14 22:13:21 UTC", "callback given up", ""),
    ]
    console.api.sync_redis.zrem(Keys().failed, "t-1")
    assert timeline(console.get("/transactions/t-1").text)[-1][:2] == ("–", "failed")  # noqa: RUF001  # as it is shown


def test_an_attempt_of_which_no_time_is_known_has_its_place_too() -> None:
    record = {"status": "scored", "submitted_at": "2026-11-24T03:15:07.123Z"}
    callback = {"status": "pending", "attempts": [attempt(status=None, error="not tried", latency_ms=None)]}

    assert timeline_of(record, callback, failed_at=None, given_up_at=None)[-1].about == "not tried"


def test_an_attempt_that_is_to_come_is_the_next_one(console: Open) -> None:
    console.feed({"id": "t-1"})
    console.call_back("t-1", attempt())

    page = console.get("/transactions/t-1").text

    assert "Next attempt 2096-10-02 07:06:40 UTC." in page
    assert "Tried again" not in page


def test_what_failed_is_tried_again_on_its_own_page_and_comes_back_to_it(console: Open) -> None:
    console.fail("t-1")

    page = console.get("/transactions/t-1").text
    form = page.partition('action="/console/failed/transactions"')[2].partition("</form>")[0]
    fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form))
    answer = console.post("/failed/transactions", **fields)

    assert "Try again</button>" in form
    assert answer.headers["location"] == "/console/transactions/t-1?of=transactions&done=1"
    assert "It waits for a worker again." in console.get("/transactions/t-1?of=transactions&done=1").text
    assert console.api.sync_redis.lrange(Keys().waiting, 0, -1) == [b"t-1"]
    assert console.post("/failed/transactions", **fields).headers["location"].endswith("done=0")
    assert "Nothing was done" in console.get("/transactions/t-1?of=transactions&done=0").text
    assert "transaction t-1" in console.get("/changes").text


@pytest.mark.parametrize(
    ("status", "attempts", "kind"),
    [("dead", [attempt()], "callbacks"), ("pending", [attempt()], "retries"), ("pending", [], None)],
)
def test_a_callback_is_sent_again_on_its_transactions_page(
    console: Open, status: str, attempts: list[Any], kind: str | None
) -> None:
    console.feed({"id": "t-1"})
    console.call_back("t-1", *attempts, status=status)

    page = console.get("/transactions/t-1").text

    assert ("Send again</button>" in page) == (kind is not None)
    if kind is not None:
        assert f'action="/console/failed/{kind}"' in page
        answer = console.post(f"/failed/{kind}", id="t-1", back="transaction")
        assert answer.headers["location"] == f"/console/transactions/t-1?of={kind}&done=1"
        assert "Its callback is sent again." in console.get(f"/transactions/t-1?of={kind}&done=1").text
        assert console.api.sync_redis.zscore(Keys().callbacks, "t-1") > 1_700_000_000_000


def test_who_may_only_look_sees_no_way_to_try_it_again() -> None:
    console = Console(Scope.READ)
    console.sign_in()
    plant: Any = Open
    plant.fail(console, "t-1")
    plant.call_back(console, "t-1", attempt(), status="dead")

    page = console.get("/transactions/t-1").text

    assert "It failed:" in page
    assert "/console/failed/" not in page


def test_a_callbacks_secrets_are_shown_once_the_values_are_asked_for(console: Open) -> None:
    console.feed({"id": "t-1"})
    said = "POST /hook?token=s3cret-value: no such order"
    tries = (attempt(answer=said), attempt(status=None, error=said), attempt(answer="your token: s3cret-va"))
    console.call_back("t-1", *tries, status="dead", url=SECRET_URL, reason=f"the last of 2 attempts failed: {said}")

    before = console.get("/transactions/t-1").text
    shown = console.post("/transactions/t-1").text

    assert "s3cret" not in before
    assert "https://shop.example/hook?…" in before
    assert SECRET_URL in shown
    assert said in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://shop.example/hook", "https://shop.example/hook"),
        ("https://shop.example/hook?a=1#b", "https://shop.example/hook?…"),
        ("https://me:s3cret@shop.example:8443/", "https://shop.example:8443/"),
        ("https://shop.example?s3cret", "https://shop.example?…"),
        ("http://[::1", "…"),
        ("", ""),
    ],
)
def test_of_a_url_is_shown_what_is_no_secret(url: str, shown: str) -> None:
    assert bare_url(url) == shown


@pytest.mark.parametrize(
    "said", ["s3cret/+value", "s3cret%2F+value", "s3cret%2F%2Bvalue", "me and p4ssword", "s3cret/+val", "s3cret/ value"]
)
def test_a_secret_is_hidden_however_it_is_spelled(said: str) -> None:
    callback = {
        "url": "https://me:p4ssword@shop.example/?token=s3cret%2F+value&n=1",
        "error": said,
        "attempts": [attempt(answer=said, error=None)],
    }

    shown = without_secrets(callback)

    for text in (shown["error"], shown["attempts"][0]["answer"]):
        assert "s3cret" not in text
        assert "p4ss" not in text
    assert callback["error"] == said


@pytest.mark.parametrize("submitted_by_me", [True, False])
def test_who_may_look_sees_the_host_of_a_callback_that_somebody_else_has_named(*, submitted_by_me: bool) -> None:
    console = Console(Scope.READ)
    console.sign_in()
    feed = Open()
    feed.api = console.api
    feed.feed({"id": "t-1"})
    feed.call_back("t-1", attempt(answer="token s3cret-path"), url="https://shop.example/hooks/s3cret-path")
    record = orjson.loads(console.api.store.records["t-1"]) | {"callback_url": "https://shop.example/hooks/s3cret-path"}
    record["callback_by"] = console.key.identity if submitted_by_me else "another 2026-11-24T03:15:00+00:00"
    console.api.store.records["t-1"] = orjson.dumps(record)

    without_values = console.get("/transactions/t-1").text
    with_values = console.post("/transactions/t-1", csrf=console.csrf()).text

    assert "https://shop.example/" in without_values
    assert "https://shop.example/" in with_values
    assert ("s3cret-path" in without_values, "s3cret-path" in with_values) == (submitted_by_me, submitted_by_me)
    assert "s3cret-path" not in console.get("/failed").text
