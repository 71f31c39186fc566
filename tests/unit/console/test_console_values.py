"""Values on every page for whoever asked for them, why a decision was taken, and one transaction found by its id."""

import re
from html import unescape
from typing import Any

import orjson
import pytest

from riskline.ingest.console.decisions.columns import columns_of, shown_fields
from riskline.ingest.console.frame.shown_values import COOKIE
from riskline.ingest.console.transaction.explanation import explanation
from riskline.shared.access.api_keys import Scope
from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import SettingsError
from riskline.shared.store.keys import Keys
from riskline.shared.store.status.counts import Counts
from tests.support.console_pages import Open, ids
from tests.support.factories import transaction_json
from tests.unit.console.test_console_sessions import Console

REASONS = [
    {
        "feature": "distance",
        "value": 98.91,
        "contribution": 0.5,
        "text": "distance 98.91 is far above usual: raises the risk",
    },
    {"feature": "age", "value": 24, "contribution": -0.3, "text": "age 24 is below usual"},
    {"feature": "amount", "value": 928.31, "contribution": 0.2, "text": "amount 928.31 is above usual"},
]
DECLINED: dict[str, Any] = {"id": "t-1", "score": 0.9998, "action": "DECLINE", "reasons": REASONS}


@pytest.fixture
def console() -> Open:
    return Open()


def show_values(console: Open, *, shown: str = "1", back: str = "/console/decisions") -> Any:
    answer = console.post("/values", shown=shown, back=back)
    console.cookies[COOKIE] = answer.cookies[COOKIE].value
    return answer


def test_a_session_that_asks_once_sees_values_on_every_page_and_each_look_is_kept(console: Open) -> None:
    console.feed(DECLINED | {"values": {"amount": 928.31}})
    pages = ("/decisions", "/transactions/t-1")
    assert not any("928.31" in console.get(path).text for path in pages)

    assert show_values(console).headers["location"] == "/console/decisions"

    assert all("928.31" in console.get(path).text for path in pages)
    changes = unescape(console.get("/changes").text)
    assert "values shown on every page" in changes
    assert "fields amount merchant_category_code, decisions 1, filter none" in changes
    assert "values looked at" in changes
    assert "928.31" not in changes
    show_values(console, shown="")
    assert not any("928.31" in console.get(path).text for path in pages)


def test_the_cookie_of_another_session_shows_no_values(console: Open) -> None:
    console.feed(DECLINED | {"values": {"amount": 928.31}})
    show_values(console)

    console.cookies["riskline_console"] = "another"

    assert "928.31" not in console.get("/decisions").text


def test_who_may_only_look_can_have_values_shown() -> None:
    console = Console(Scope.READ)
    console.sign_in()

    answer = console.post("/values", shown="1", csrf=console.csrf())

    assert answer.status_code == 303
    assert answer.cookies[COOKIE].http_only


@pytest.mark.parametrize("back", ["https://evil.example", "//evil.example", "/console\\@evil.example", "/elsewhere"])
def test_nobody_is_led_elsewhere_by_it(console: Open, back: str) -> None:
    assert show_values(console, back=back).headers["location"] == "/console"


def test_the_list_has_the_columns_that_the_url_names_and_says_day_and_version_where_they_change(console: Open) -> None:
    console.feed(
        *(
            {"id": f"t-{each}", "version": "v1" if each < 2 else "v2", "values": {"customer_age": 77}}
            for each in range(4)
        )
    )
    show_values(console)

    page = console.get("/decisions?c.customer_age=1&c.is_online_transaction=1").text

    heads = re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', page)
    assert heads == ["Time (UTC)", "Action", "Score", "customer_age", "is_online_transaction", "Why", "Transaction"]
    assert page.count('data-label="customer_age">77</td>') == 4
    groups = re.findall(r'scope="rowgroup"[^>]*>(.*?)</th>', page)
    assert groups == [f'24 November 2026 <span class="mono">{each}</span>' for each in ("v2", "v1")]
    assert '<time datetime="2026-11-24T03:15:07.123000+00:00" title="2026-11-24 03:15:07 UTC">03:15:07</time>' in page


def test_a_team_names_its_columns_and_a_wrong_name_stops_the_start() -> None:
    fields = shown_fields(Transaction)

    assert columns_of(fields, None) == ("amount", "merchant_category_code")
    assert columns_of(fields, ["customer_age"]) == ("customer_age",)
    with pytest.raises(SettingsError, match=r"RISKLINE_CONSOLE_COLUMNS names colour, .* its fields are amount, "):
        columns_of(fields, ["amount", "colour"])


def test_a_row_has_the_two_reasons_that_moved_it_most_and_which_way(console: Open) -> None:
    console.feed(DECLINED)

    def said() -> list[str]:
        cell = console.get("/decisions").text.partition('data-label="Why">')[2].partition("</td>")[0]
        return re.findall(r'visually-hidden">([^<]*)</span>([^<]*)</span>', cell)  # type: ignore[return-value]

    assert said() == [("raises the risk: ", "distance"), ("lowers the risk: ", "age")]
    show_values(console)
    assert said()[0] == ("raises the risk: ", "distance 98.91 is far above usual")


def test_one_sentence_says_why_with_values_for_whoever_asked_for_them(console: Open) -> None:
    console.feed(DECLINED | {"version": "20261124T031500-3f9a2c1b"})

    before = console.get("/transactions/t-1").text
    shown = console.post("/transactions/t-1").text

    assert '<p class="why">Declined: score 0.9998, above 0.85. Raised most by distance and amount.</p>' in before
    assert "Mainly distance 98.91 is far above usual; amount 928.31 is above usual.</p>" in shown


@pytest.mark.parametrize(
    ("action", "score", "review", "words"),
    [
        ("DECLINE", 0.9, None, "Declined: score 0.9000, above 0.85. Raised most by distance and amount."),
        (
            "REVIEW",
            0.6,
            0.5,
            "Sent to review: score 0.6000, above 0.5 and not above 0.85. Raised most by distance and amount.",
        ),
        ("APPROVE", 0.1, 0.5, "Approved: score 0.1000, not above 0.5. Lowered most by age."),
        ("APPROVE", 0.1, None, "Approved: score 0.1000, not above 0.85. Lowered most by age."),
    ],
)
def test_the_sentence_names_what_points_to_the_action(
    action: str, score: float, review: float | None, words: str
) -> None:
    decision = {"action": action, "fraud_probability": score, "reasons": REASONS}

    assert explanation(decision, Thresholds(review=review), with_values=False) == words


def test_the_sentence_needs_neither_thresholds_nor_reasons() -> None:
    assert (
        explanation({"action": "APPROVE", "fraud_probability": 0.1}, None, with_values=True)
        == "Approved: score 0.1000."
    )


def wait(console: Open, transaction_id: str) -> None:
    record = {"v": 1, "status": "queued", "submitted_at": "2026-11-24T03:15:07.123Z"}
    kept = orjson.dumps({**record, "transaction": transaction_json(transaction_id=transaction_id)})
    console.api.store.records[transaction_id] = kept
    console.api.sync_redis.zadd(Keys().undecided, {transaction_id: 1_764_000_000_000})


def test_a_transaction_is_found_by_its_id_in_whatever_state(console: Open) -> None:
    console.feed({"id": "decided-1"})
    console.fail("failed-1")
    wait(console, "waiting-1")

    for each in ("decided-1", "failed-1", "waiting-1"):
        # by the whole id, and by the only one that begins so
        for sought in (each, each[:4]):
            answer = console.get(f"/find?q={sought}")
            assert (answer.status_code, answer.headers["location"]) == (303, f"/console/transactions/{each}")
    assert console.get("/find?q=").headers["location"] == "/console/decisions"


def test_all_whose_ids_begin_so_are_listed_by_state(console: Open) -> None:
    console.feed({"id": "t-1"}, {"id": "t-12"}, {"id": "u-1"})
    console.fail("t-2")
    wait(console, "t-3")

    page = console.get("/find?q=t-").text

    assert ids(page) == ["t-12", "t-1", "t-3", "t-2"]
    assert [each.strip() for each in re.findall(r'<h2 id="f-[a-z]*">([^<]*)', page)] == [
        "Decided: 2",
        "Waiting: 1",
        "Failed: 1",
    ]
    # the whole id is one transaction; with a star all that begin like it
    assert console.get("/find?q=t-1").status_code == 303
    assert ids(console.get("/find?q=t-1*").text) == ["t-12", "t-1"]
    assert "none that was looked through begins so" in console.get("/find?q=x").text


def test_a_list_that_is_long_is_looked_through_for_an_id_bounded_in_time(
    console: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riskline.ingest.console.transaction.id_lookup.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("riskline.ingest.console.transaction.id_lookup.PART", 10)
    for each in range(30):
        console.fail(f"t-{each:02}")
    console.fail("rare", at=1_600_000_000)

    page = console.get("/find?q=rar").text

    assert ids(page) == []
    assert "not all were looked through" in page
    assert "At least" not in page


def test_decisions_are_found_by_how_their_id_begins(console: Open) -> None:
    console.feed({"id": "t-1"}, {"id": "t-12"}, {"id": "u-1"})

    assert ids(console.get("/decisions?id=t-").text) == ["t-12", "t-1"]
    assert ids(console.get("/decisions?id=t-1").text) == ["t-1"]
    assert ids(console.get("/decisions?id=t-1*").text) == ["t-12", "t-1"]


def test_each_condition_is_a_chip_that_takes_it_away(console: Open) -> None:
    page = unescape(console.get("/decisions?action=DECLINE&f.amount.min=5&f.is_online_transaction=1&c.amount=1").text)

    chips = re.findall(r'class="chip" href="/console/decisions\?([^"]*)">(.*?) <span aria', page)
    assert ("f.amount.min=5&f.is_online_transaction=1&c.amount=1", "action DECLINE") in chips
    assert ("f.is_online_transaction=1&action=DECLINE&c.amount=1", "amount from 5") in chips
    assert ("f.amount.min=5&action=DECLINE&c.amount=1", "is_online_transaction is 1") in chips
    assert len(chips) == 3


def test_flags_and_codes_are_chosen_and_quantities_have_a_range(console: Open) -> None:
    page = console.get("/decisions").text

    assert '<select id="f.is_online_transaction"' in page
    assert 'name="f.merchant_category_code" type="text"' in page
    assert "f.merchant_category_code.min" not in page
    assert 'name="f.amount.min" type="number"' in page


def test_the_navigation_says_how_many_failed(console: Open) -> None:
    assert 'class="count"' not in console.get("/changes").text

    console.api.backlog._last = (0.0, Counts(failed_now=6, callbacks_dead_now=16))

    assert "22<span" in console.get("/changes").text
    assert "6 failed, 16 callbacks given up" in console.get("/changes").text
