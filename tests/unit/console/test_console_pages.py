"""What the console's pages show, and what they do when they are asked to."""

import csv
import hashlib
import io
import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from html import unescape
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import fakeredis
import orjson
import pytest
from pydantic import Field
from typing_extensions import TypeAliasType

from riskline.ingest.console.decisions.columns import ShownField, shown_fields
from riskline.ingest.console.decisions.exports import MARK
from riskline.ingest.console.decisions.filters import Filter
from riskline.ingest.console.frame.rendering import Renderer, duration
from riskline.ingest.console.overview.axes import nice_top
from riskline.ingest.console.overview.intervals import between, last, score_parts
from riskline.shared.domain.features import InputOnly
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.model.registry import Registry
from riskline.shared.store.keys import Keys
from riskline.shared.store.status.minute_counts import RedisMinuteCounts, Snapshot
from riskline.shared.telemetry.histograms import SECONDS
from tests.support.console_pages import Open, ids
from tests.support.factories import transaction_json
from tests.unit.model.test_registry import add_version

EVIL = '"><script>alert(1)</script>'


@pytest.fixture
def console() -> Open:
    return Open()


def test_decisions_are_shown_newest_first_and_page_by_page(console: Open) -> None:
    console.feed(*({"id": f"t-{number:03}"} for number in range(120)))

    seen: list[str] = []
    query: str | None = ""
    pages = 0
    while query is not None:
        page = console.get(f"/decisions?{query}").text
        seen += ids(page)
        pages += 1
        older = re.search(r'href="/console/decisions\?([^"]*)">(?:Older|Look)', page)
        query = None if older is None else unescape(older[1])

    assert seen == [f"t-{number:03}" for number in reversed(range(120))]
    assert pages == 3


FED = (
    {"id": "a", "score": 0.95, "action": "DECLINE", "values": {"amount": 900.0}},
    {"id": "b", "score": 0.5, "version": "v2", "values": {"amount": 10.0}},
    {"id": "c", "score": 0.1, "values": {"amount": 500.0, "customer_age": 77}},
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("action=DECLINE", ["a"]),
        ("score_min=0.2", ["b", "a"]),
        ("score_min=0.2&score_max=0.6", ["b"]),
        ("version=v2", ["b"]),
        ("id=c", ["c"]),
        ("id=nobody", []),
        ("f.amount.min=400", ["c", "a"]),
        ("f.amount.min=400&f.amount.max=600", ["c"]),
        ("f.customer_age.min=70&action=APPROVE", ["c"]),
        ("since=2999-01-01T00:00", []),
        ("until=2000-01-01T00:00", []),
        ("since=2000-01-01&until=2999-01-01", ["c", "b", "a"]),
        ("action=&score_min=&id=", ["c", "b", "a"]),
    ],
)
def test_a_filter_in_the_url_is_what_is_shown(console: Open, query: str, expected: list[str]) -> None:
    console.feed(*FED)

    assert ids(console.get(f"/decisions?{query}").text) == expected


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("action=MAYBE", "action=MAYBE is none of APPROVE, REVIEW, DECLINE"),
        ("score_min=much", "score_min=much is no number"),
        ("score_min=nan", "score_min=nan is no number"),
        ("since=yesterday", "since=yesterday is no time like 2026-11-24T03:15"),
        ("f.amount.min=x", "f.amount.min=x is no number"),
        ("f.nothing=1", "f.nothing=1 is for no field of a transaction"),
        ("before=soon", "before=soon is no place in the feed"),
    ],
)
def test_a_filter_that_is_not_understood_shows_and_exports_nothing(console: Open, query: str, told: str) -> None:
    console.feed(*FED)

    page = console.get(f"/decisions?{query}&version=v1")
    exported = console.get(f"/decisions.csv?{query}")

    assert page.status_code == 200
    assert ids(page.text) == []
    assert told in unescape(page.text)
    assert "<option selected>v1</option>" in page.text
    assert exported.status_code == 400
    assert told in unescape(exported.text)
    assert "exported" not in console.get("/changes").text.partition("<tbody>")[2]


def test_an_id_whose_transaction_has_no_decision_that_fits_leads_to_the_transaction(console: Open) -> None:
    console.feed(*FED)
    record = {"v": 1, "status": "queued", "submitted_at": "2026-11-24T03:15:07.123Z"}
    kept = orjson.dumps({**record, "transaction": transaction_json(transaction_id="q-1")})
    console.api.sync_redis.set(Keys().transaction("q-1"), kept)

    assert "the transaction is kept: queued" in console.get("/decisions?id=q-1").text
    assert "the transaction is kept: scored" in console.get("/decisions?id=c&action=DECLINE").text
    assert "no id is q, or begins so" in console.get("/decisions?id=q").text


def test_an_id_is_found_in_the_feed_where_its_record_has_expired(console: Open) -> None:
    console.feed(*FED)
    console.api.sync_redis.delete(Keys().transaction("b"))

    assert ids(console.get("/decisions?id=b").text) == ["b"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("since=2026-11-24T03:15", ["c"]),
        ("since=2026-11-24T03:16", []),
        ("until=2026-11-24T03:15", []),
        ("until=2026-11-24T03:16", ["c"]),
        ("since=2026-11-24T05:16%2B02:00", []),
    ],
)
def test_an_id_is_found_only_in_the_time_that_is_asked_for(console: Open, query: str, expected: list[str]) -> None:
    console.feed(*FED)

    found = console.get(f"/decisions?id=c&{query}").text

    assert ids(found.partition("<tbody>")[2]) == expected


def test_a_time_with_an_offset_stands_in_the_form_in_utc(console: Open) -> None:
    page = console.get("/decisions?since=2026-11-24T05:16%2B02:00").text

    assert 'type="datetime-local" value="2026-11-24T03:16:00"' in page
    assert "is no time like" in console.get("/decisions?since=9999-12-31T23:59:59-23:59").text


async def test_minutes_are_kept_again_after_a_clock_was_ahead_once() -> None:
    redis = fakeredis.FakeAsyncRedis()
    history = RedisMinuteCounts(redis)
    await history.keep(Snapshot(1_000_000 + 86_400, {"decided": 1}))

    for minute in range(3):
        await history.keep(Snapshot(1_000_000 + 60 * minute, {"decided": minute}))

    assert [each.numbers["decided"] for each in await history.since(0)] == [1, 2]


def test_who_looks_for_values_is_kept_with_the_fields_and_without_the_values(console: Open) -> None:
    console.get("/decisions?action=DECLINE")
    console.get("/decisions?action=DECLINE&f.amount.min=671.83&f.amount.max=671.83")

    changes = console.get("/changes").text.partition("<tbody>")[2]
    assert changes.count("<tr>") == 1
    assert "decisions looked for by values" in changes
    assert "f.amount.min, f.amount.max, action DECLINE" in changes
    assert "671" not in changes


def test_periods_keep_the_rest_of_the_filter(console: Open) -> None:
    page = unescape(console.get("/decisions?action=DECLINE&before=5-0").text)

    today = datetime.now(UTC).date()
    assert f'href="/console/decisions?action=DECLINE&since={today}T00%3A00">today' in page
    yesterday = f"since={today - timedelta(days=1)}T00%3A00&until={today - timedelta(days=1)}T23%3A59"
    assert f'href="/console/decisions?action=DECLINE&{yesterday}">yesterday' in page


def test_a_rare_decision_is_looked_for_part_by_part(console: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.ingest.console.transaction.filtered_search.PART", 10)
    monkeypatch.setattr("riskline.ingest.console.transaction.filtered_search.SEARCH_SECONDS", 0.0)
    console.feed({"id": "rare", "action": "DECLINE"}, *({"id": f"t-{number}"} for number in range(25)))

    query, looks = "action=DECLINE", 0
    while not ids(page := console.get(f"/decisions?{query}").text):
        looks += 1
        assert "Look further back" in page
        query = unescape(re.search(r'href="/console/decisions\?([^"]*)">Look', page)[1])  # type: ignore[index]

    assert (ids(page), looks) == (["rare"], 2)


def test_the_export_has_all_that_the_filter_admits_and_no_values(console: Open) -> None:
    reasons = [{"feature": "amount", "value": 900.0, "contribution": 0.25, "text": "amount 900.00 is far above usual"}]
    console.feed(*FED, {"id": "=cmd", "score": 0.99, "action": "DECLINE", "reasons": reasons})

    answer = console.get("/decisions.csv?action=DECLINE")

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["transaction_id"] for row in rows] == ["'=cmd", "a"]
    assert rows[0]["reasons"] == "amount +0.2500"
    assert "900" not in answer.text
    assert "decisions exported" in console.get("/changes").text
    assert "attachment" in answer.headers["content-disposition"]
    newest, oldest = (datetime.fromisoformat(answer.headers[f"riskline-{name}"]) for name in ("newest", "oldest"))
    assert timedelta(0) <= newest - oldest < timedelta(minutes=1)


def test_an_export_that_is_watched_says_how_far_it_is_also_where_it_finds_nothing(
    console: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riskline.ingest.console.transaction.filtered_search.EXPORT_PART", 10)
    console.feed(*({"id": f"t-{number}"} for number in range(35)))

    watched = console.get("/decisions.csv?action=DECLINE&progress=1").text.split(MARK)

    assert "".join(watched[::2]) == console.get("/decisions.csv?action=DECLINE").text
    assert len(watched[1::2]) == 3
    moments = [datetime.fromisoformat(each) for each in watched[1::2]]
    assert moments == sorted(moments, reverse=True)
    assert MARK not in console.get("/decisions.csv").text


class Channel(StrEnum):
    """A field's own type, which its schema refers to."""

    WEB = "web"
    SHOP = "shop"


Amount = TypeAliasType("Amount", Annotated[float, Field(gt=0, examples=[20.0])])


class Own(TransactionModel):
    """A class whose schema has references, and kinds to choose from."""

    transaction_id: str
    amount: Amount
    hops: Annotated[int | None, InputOnly, Field(examples=[2])]
    channel: Annotated[Channel, InputOnly, Field(examples=["web"])]


def test_a_filter_knows_what_a_field_refers_to() -> None:
    assert [(each.name, each.is_number) for each in shown_fields(Own)] == [
        ("amount", True),
        ("hops", True),
        ("channel", False),
    ]


def test_the_report_of_a_version_is_shown_and_may_run_nothing(tmp_path: Path) -> None:
    version = add_version(tmp_path, day=1)
    console = Open(models_dir=tmp_path)
    assert f'href="/console/models/{version}/report"' not in console.get("/models").text
    missing = console.get(f"/models/{version}/report")
    assert missing.status_code == 404
    assert f"riskline evaluate FILE --model {version} --keep-report" in missing.text
    Registry(tmp_path).report_path(version).write_text(f"<style>p {{}}</style><p>{EVIL}</p>")

    answer = console.get(f"/models/{version}/report")

    assert f'href="/console/models/{version}/report"' in console.get("/models").text
    assert answer.text == f"<style>p {{}}</style><p>{EVIL}</p>"
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox", "frame-ancestors 'none'"} <= {*policy}
    of_style = b64encode(hashlib.sha256(b"p {}").digest()).decode()
    assert [part for part in policy if "src" in part] == ["default-src 'none'", f"style-src 'sha256-{of_style}'"]


@pytest.mark.parametrize("name", ["..", "active", ".hidden", "none"])
def test_a_report_of_what_is_no_version_is_not_shown(tmp_path: Path, name: str) -> None:
    (tmp_path / "report.html").write_text("secret")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "report.html").write_text("secret")

    answer = Open(models_dir=tmp_path).get(f"/models/{name}/report")

    assert answer.status_code in {404, 409}
    assert "secret" not in answer.text


def test_a_report_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    version = add_version(tmp_path / "models", day=1)
    (tmp_path / "secret").write_text("secret")
    Registry(tmp_path / "models").report_path(version).symlink_to(tmp_path / "secret")

    answer = Open(models_dir=tmp_path / "models").get(f"/models/{version}/report")

    assert answer.status_code == 409
    assert "--keep-report" in unescape(answer.text)


def test_which_version_a_roll_back_goes_to_is_asked_and_kept(tmp_path: Path) -> None:
    first, second = add_version(tmp_path, day=1), add_version(tmp_path, day=2)
    registry = Registry(tmp_path)
    registry.activate(first)
    console = Open(models_dir=tmp_path)
    assert "Roll back" not in console.get("/models").text
    registry.activate(second)

    question = console.get("/models?confirm=rollback").text
    form = dict(re.findall(r'name="(version|replaces)" value="([^"]*)"', question))
    console.post("/models/switch", **form)

    assert f'Go back to <span class="mono">{first}</span>, which was active before' in question
    assert "Declines above" in question
    assert registry.active_version() == first
    assert f"version {first}, replaces {second}" in console.get("/changes").text


def test_the_page_follows_until_every_process_serves_the_version(tmp_path: Path) -> None:
    version = add_version(tmp_path, day=1)
    Registry(tmp_path).activate(version)
    console = Open(models_dir=tmp_path)
    asked = f'hx-get="/console/models?done={version}&amp;by_itself=1"'

    first = console.get(f"/models?done={version}").text
    again = console.get(f"/models?done={version}&by_itself=1").text

    # the same address each time
    assert asked in first
    assert asked in again
    assert "hx-get" not in console.get("/models").text


def test_what_was_confirmed_is_not_done_where_a_colleague_has_been_there(tmp_path: Path) -> None:
    first, second, third = (add_version(tmp_path, day=day) for day in (1, 2, 3))
    registry = Registry(tmp_path)
    registry.activate(second)
    console = Open(models_dir=tmp_path)
    registry.activate(third)

    answer = console.post("/models/switch", version=first, replaces=second)

    assert answer.status_code == 409
    assert f"{third} is active by now, not {second}" in unescape(answer.text)
    assert registry.active_version() == third
    assert "a model was not activated" in console.get("/changes").text


def test_a_version_can_be_activated_where_what_names_the_active_one_is_damaged(tmp_path: Path) -> None:
    version = add_version(tmp_path, day=1)
    (tmp_path / "active").write_bytes(b"\xff")
    console = Open(models_dir=tmp_path)
    assert "activate a version anew" in unescape(console.get("/models").text)

    assert console.post("/models/switch", version=version).status_code == 303

    assert Registry(tmp_path).active_version() == version


def test_changes_are_shown_page_by_page_and_lead_to_their_transaction(
    console: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riskline.ingest.console.change_log.SHOWN", 2)
    console.feed(*({"id": f"t-{number}"} for number in range(3)))
    for number in range(3):
        console.post(f"/transactions/t-{number}")

    first = console.get("/changes").text
    older = re.search(r'href="(/console/changes\?before=[0-9-]+)"', first)
    assert older
    second = console.get(older[1].removeprefix("/console")).text

    assert [page.count("values looked at") for page in (first, second)] == [2, 1]
    assert 'href="/console/transactions/t-0"' in second
    assert "Older" not in second


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),  # noqa: RUF001
        (0, "0 ms"),
        (0.000131, "0.131 ms"),
        (0.00131, "1.31 ms"),
        (0.24234, "242 ms"),
        (4.31, "4.3 s"),
        (78.2, "78 s"),
        (180.0, "3.0 min"),
        (7200.0, "2.0 h"),
    ],
)
def test_a_time_is_shown_in_a_unit_that_people_read(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def texts() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "id", {"id": EVIL}
    yield "version", {"id": "t", "version": EVIL}
    yield "reason", {"id": "t", "reasons": [{"feature": EVIL, "value": 1, "contribution": 0.5, "text": EVIL}]}
    yield "values", {"id": "t", "values": {"note": EVIL}}


@pytest.mark.parametrize(("where", "fed"), list(texts()), ids=lambda each: each if isinstance(each, str) else "")
def test_no_text_becomes_markup(console: Open, where: str, fed: dict[str, Any]) -> None:
    console.feed(fed)
    path = f"/transactions/{quote(fed['id'], safe='')}"
    pages = [console.get("/decisions"), console.get(path), console.post(path), console.get("/changes")]
    pages += [
        console.get(f"/decisions?version={quote(EVIL)}&score_min={quote(EVIL)}"),
        console.get(f"/failed?reason={quote(EVIL)}"),
    ]

    assert any("&lt;script&gt;" in page.text for page in pages)
    for page in pages:
        assert "<script>" not in page.text


def test_the_overview_shows_what_there_is_and_what_is_wrong(console: Open) -> None:
    page = console.get("").text

    assert "Redis does not answer" in page
    assert 'hx-get="/console/live?period=1h&amp;by_itself=1"' in page
    assert "<html" not in console.get("/live").text


def test_all_pages_can_be_compiled_before_anybody_asks_for_one() -> None:
    renderer = Renderer()

    renderer.load()

    assert len(renderer._environment.cache or ()) == len(renderer._environment.list_templates())


def test_rates_are_those_between_two_looks() -> None:
    looks = [Snapshot(float(at), {"accepted": 10.0 * at, "undecided": 3.0}) for at in range(100, 161)]

    time = last(looks, 10)

    assert time is not None
    assert time.seconds == 10
    assert time.rate("accepted") == 10
    assert "undecided" not in time.numbers


def test_a_redis_that_lost_its_counts_is_no_rate_at_all() -> None:
    assert between(Snapshot(1.0, {"accepted": 100}), Snapshot(2.0, {"accepted": 5})) is None
    assert last([Snapshot(1.0, {})], 10) is None


def test_quantiles_of_a_long_wait_in_the_queue_are_within_its_own_buckets() -> None:
    time = between(
        Snapshot(0, {}), Snapshot(60, {f"queue_seconds  {bound}": 10.0 for bound in ("0.0005", "1800.0", "+Inf")})
    )
    assert time is not None

    assert time.quantile("queue_seconds", 0.25) == pytest.approx(0.0005 * 7.5 / 10)
    assert time.quantile("queue_seconds", 0.5) == pytest.approx(600 + 1200 * 5 / 10)
    assert time.quantile("queue_seconds", 0.99) == 3600


def test_quantiles_are_those_of_prometheus() -> None:
    counts = {f"sync_seconds  {float(bound)}": 0.0 for bound in SECONDS} | {"sync_seconds  sum": 99.0}
    numbers = counts | {"sync_seconds  0.001": 90.0, "sync_seconds  0.01": 10.0}
    time = between(Snapshot(0.0, {}), Snapshot(1.0, numbers))

    assert time is not None
    # histogram_quantile: linear within the bucket from the bound below
    assert time.quantile("sync_seconds", 0.5) == pytest.approx(0.0005 + 0.0005 * 50 / 90)
    assert time.quantile("sync_seconds", 0.95) == pytest.approx(0.005 + 0.005 * 5 / 10)
    assert time.quantile("submit_seconds", 0.5) is None


def test_a_score_histogram_has_both_doors_in_it() -> None:
    numbers = {"sync_score  0.05": 3.0, "queue_score  0.05": 2.0, "queue_score  1.0": 4.0, "queue_score  sum": 9.0}
    time = between(Snapshot(0.0, {}), Snapshot(1.0, numbers))

    assert time is not None
    assert score_parts(time)[0] == 5
    assert score_parts(time)[-1] == 4
    assert sum(score_parts(time)) == 9


@pytest.mark.parametrize(("largest", "top"), [(0, 1), (0.7, 1), (3, 5), (10, 10), (1400, 2000), (20_001, 50_000)])
def test_an_axis_ends_at_a_round_number(largest: float, top: float) -> None:
    assert nice_top(largest) == pytest.approx(top)


def test_a_filter_is_written_as_it_was_read() -> None:
    fields = [ShownField("amount", is_number=True), ShownField("country", is_number=False)]
    params = {"action": "REVIEW", "f.amount.min": "5", "f.country": "UG", "since": "2026-11-24T03:15", "before": "5-0"}

    wanted = Filter.read(params, fields)
    again = Filter.read(dict(pair.split("=") for pair in wanted.query(before="5-0").split("&")), fields)

    assert wanted.admits({"action": "REVIEW", "fraud_probability": 0.5})
    assert wanted.admits_values({"amount": 5, "country": "UG"})
    assert not wanted.admits_values({"amount": 4.9, "country": "UG"})
    assert not wanted.admits_values(None)
    assert (again.equal, again.at_least, again.before) == (wanted.equal, wanted.at_least, wanted.before)
