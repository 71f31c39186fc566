"""The way on from a decision to the next of its list, and what is new in a list that is open."""

import re
from html import unescape

import pytest

from tests.support.console_pages import Open, ids
from tests.unit.console.test_console_values import show_values


@pytest.fixture
def console() -> Open:
    opened = Open()
    opened.feed(*({"id": f"t-{each}", "action": "DECLINE" if each % 2 else "APPROVE"} for each in range(6)))
    return opened


def links(page: str) -> dict[str, str]:
    part = page.partition('class="beside"')[2].partition("</nav>")[0]
    return {words: unescape(path) for path, words in re.findall(r'href="/console([^"]*)">([^<]*)</a>', part)}


def row(page: str, transaction_id: str) -> str:
    found = re.search(rf'href="/console(/transactions/{transaction_id}\?[^"]*)"', page)
    assert found
    return unescape(found[1])


def test_one_goes_from_decision_to_decision_of_the_filter_and_back_to_the_list(console: Open) -> None:
    listing = "/decisions?action=DECLINE"
    page = console.get(row(console.get(listing).text, "t-3")).text

    beside = links(page)
    assert beside["Newer"].startswith("/transactions/t-5?")
    assert beside["Older"].startswith("/transactions/t-1?")
    assert beside["Back to the list"] == listing
    last = links(console.get(beside["Older"]).text)
    assert set(last) == {"Newer", "Back to the list"}
    assert last["Newer"].startswith("/transactions/t-3?")
    assert set(links(console.get(beside["Newer"]).text)) == {"Older", "Back to the list"}


def test_a_transaction_that_no_list_led_to_has_no_neighbours(console: Open) -> None:
    for query in ("", "?at=soon", "?at=1-1&score_min=x"):
        assert links(console.get(f"/transactions/t-3{query}").text) == {}


def test_the_list_is_kept_where_values_are_asked_for(console: Open) -> None:
    path = row(console.get("/decisions").text, "t-3")
    page = unescape(console.get(path).text)

    assert f'<form method="post" action="/console{path}">' in page
    assert show_values(console, back=f"/console{path}").headers["location"] == f"/console{path}"


def test_a_filter_of_values_has_no_neighbours_as_each_would_be_a_look(console: Open) -> None:
    page = console.get(row(console.get("/decisions?f.amount.min=1").text, "t-3")).text

    assert links(page) == {"Back to the list": "/decisions?f.amount.min=1"}


def test_a_list_that_is_open_says_how_many_are_new(console: Open) -> None:
    def asked(query: str) -> str:
        found = re.search(r'hx-get="/console(/decisions/new[^"]*)"', console.get(f"/decisions?{query}").text)
        assert found
        return unescape(found[1])

    every, declined = asked(""), asked("action=DECLINE")
    assert console.get(every).text.strip() == ""
    console.feed({"id": "new-1", "action": "DECLINE"}, {"id": "new-2"}, {"id": "new-3"})

    assert ">3 new</a>" in console.get(every).text
    assert '<a class="button" href="/console/decisions?action=DECLINE">1 new</a>' in console.get(declined).text
    assert ids(console.get("/decisions").text)[:3] == ["new-3", "new-2", "new-1"]


def test_of_very_many_new_ones_no_more_is_looked_at_than_a_part(console: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.console.transaction.filtered_search.PART", 4)
    first = row(console.get("/decisions").text, "t-0")

    page = console.get(first).text

    # the next newer one is not among those that were looked at
    assert "Newer" not in links(page)
    at = re.search(r"at=([0-9-]+)", first)
    assert at
    assert ">4 or more new</a>" in console.get(f"/decisions/new?after={at[1]}").text


@pytest.mark.parametrize("query", ["before=5-0", "until=2999-01-01", "f.amount.min=1", "id=t-3"])
def test_a_list_in_which_nothing_new_can_be_does_not_ask(console: Open, query: str) -> None:
    assert "/decisions/new" not in console.get(f"/decisions?{query}").text
