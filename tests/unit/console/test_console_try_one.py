"""Try one: what is typed in is decided and explained, and the page says what would change that."""

import re
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from html import unescape
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import AwareDatetime, BaseModel, Field
from structlog.testing import capture_logs

from riskline.ingest.console.try_one.curves import ScoreBars, ScoreCurve, picture_of, round_values, stairs
from riskline.ingest.console.try_one.form_fields import form_fields_of, row_of
from riskline.ingest.console.try_one.nearest_change import changes_of
from riskline.ingest.console.try_one.try_one import result_of
from riskline.ingest.console.try_one.variation import ChoiceScores, QuantityScores, Variation
from riskline.shared.domain.assessment import Assessment, Rows
from riskline.shared.domain.features import Encoded, InputOnly, Nominal, OneHot, feature
from riskline.shared.domain.policy import Action, Thresholds
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import Ensemble, ServingModel, load_model, quantiles, write_bundle
from riskline.shared.model.trees import Scoring, Trees
from riskline.worker.training.fit import Algorithm
from tests.support.console_pages import Open
from tests.support.factories import a_transaction, transaction_json
from tests.support.fitted import fitted, labelled
from tests.support.models import small_trees
from tests.unit.console.test_console_pages import Own

BOTH = Thresholds(decline=0.6, review=0.3)
TURN = re.compile(r"(?P<low>[\d,.]+)(?: to (?P<high>[\d,.]+)| or (?P<on>less|more))?")


class Home(BaseModel):
    """What has parts."""

    city: str
    floor: int = 0


class Channel(StrEnum):
    """A type of its own."""

    WEB = "web"
    SHOP = "shop"


class Everything(TransactionModel):
    """A class with a field of each kind."""

    amount: float = Field(gt=0, examples=[8.0], description="The `amount`.")
    price: Annotated[Decimal, InputOnly] = Field(ge=0, decimal_places=2, examples=["12.50"])
    channel: Annotated[Channel, InputOnly] = Field(examples=["web"])
    tier: Annotated[Literal[1, 2, 3], InputOnly] = Field(examples=[2])
    currency: Annotated[str, Encoded({"EUR": 0, "USD": 1}, other=3)] = Field(examples=["EUR"])
    entry: Annotated[str, OneHot("chip", "keyed")] = Field(examples=["chip"])
    at: Annotated[AwareDatetime, InputOnly] = Field(examples=["2026-11-24T03:15:07Z"])
    home: Annotated[Home | None, InputOnly] = Field(default=None, examples=[{"city": "Berlin"}])
    hops: Annotated[int | None, InputOnly] = Field(default=None, ge=0, le=5)
    note: Annotated[str | None, InputOnly] = None
    bonus: float = Field(default=0.5, ge=0)
    count: int = Field(ge=0, le=6, examples=[3])
    code: Annotated[int, Nominal] = Field(ge=1, le=99, examples=[5])
    is_new: int = Field(ge=0, le=1, examples=[1])
    trusted: bool = Field(examples=[True])

    @feature
    def ratio(self) -> float:
        return self.amount / float(self.price + 1)

    @feature
    def is_remote(self) -> bool:
        return self.channel == Channel.WEB

    @feature
    def hour(self) -> int:
        return self.at.hour


class Made:
    """A model whose score is what a test says of the features by name."""

    scoring = Scoring(inputs="float64", aggregation="mean", link="identity", base=0.0)
    version = "20261124T031500-3f9a2c1b"
    twin: "Made | None" = None

    def __init__(
        self,
        score: Callable[[dict[str, float]], float],
        transaction_class: type[TransactionModel] = Transaction,
        *,
        usual: dict[str, tuple[float, float]] | None = None,
        common: tuple[float, ...] = (),
    ) -> None:
        self._score = score
        self._usual = usual or {}
        self._common = common
        self.feature_names = transaction_class.feature_names()
        self.thresholds = BOTH
        self.batches: list[int] = []

    def score_one(self, features: Any) -> float:
        return float(self._score(dict(zip(self.feature_names, features, strict=True))))

    def score(self, rows: Rows) -> Rows:
        self.batches.append(len(rows))
        return np.array([self.score_one(row) for row in rows.tolist()])

    def explain(self, rows: Rows) -> tuple[Rows, Rows]:
        return np.array([self.score_one(row) for row in rows.tolist()]), np.zeros_like(rows)

    def usual(self, feature: str) -> tuple[float, float] | None:
        return self._usual.get(feature)

    def common(self, feature: str) -> tuple[float, ...]:
        return self._common

    def words(self, feature: str, value: float, shown: float | str, *, nominal: bool, phrase: str | None = None) -> str:
        return feature


def served(
    directory: Path, trees: Trees, scoring: Scoring, thresholds: Thresholds, rows: Rows | None = None
) -> ServingModel:
    names = Transaction.feature_names()
    known = {} if rows is None else {name: quantiles(rows[:, at]) for at, name in enumerate(names)}
    manifest = write_bundle(
        directory,
        Ensemble(
            trees=trees,
            scoring=scoring,
            features=names,
            thresholds=thresholds,
            estimator="a model",
            metrics={},
            reference={"features": known, "score": []},
        ),
        libraries={},
        created_at="2026-11-24T03:15:00.000Z",
        training={},
    )
    return load_model(directory / manifest.version)


def sentences(model: Any, transaction: TransactionModel) -> list[str]:
    found = result_of(transaction, form_fields_of(type(transaction)), model)
    return [
        "; ".join(f"{each.name} {turn.words} (now {each.now}): {turn.action}" for turn in each.turns)
        for each in found["changes"]
    ]


def example_of(transaction_class: type[TransactionModel], **changes: Any) -> Any:
    inputs = form_fields_of(transaction_class)
    row = row_of(inputs, {each.name: each.example for each in inputs})
    return transaction_class.from_row({**row, "transaction_id": "T", **changes})


def of(model: Any, transaction: TransactionModel) -> dict[str, QuantityScores | ChoiceScores]:
    return {each.field.name: each for each in Variation(transaction, form_fields_of(type(transaction)), model).fields}


# what would change it


def test_one_sentence_a_field_says_what_would_change_the_action_the_nearest_first() -> None:
    model = Made(
        lambda row: (row["amount"] > 658.12) * 0.4 + (row["distance_from_home"] > 310) * 0.4,
        usual={"amount": (0.0, 1000.0), "distance_from_home": (0.0, 1000.0)},
    )

    said = sentences(model, a_transaction(amount=880.5, distance_from_home=250.0))

    assert said == [
        "distance_from_home 310.01 or more (now 250.00): DECLINE",
        "amount 658.12 or less (now 880.50): APPROVE",
    ]


def test_a_run_that_ends_is_told_from_the_one_end_to_the_other() -> None:
    model = Made(lambda row: 0.9 if 40 <= row["amount"] <= 73.5 else 0.1, usual={"amount": (0.0, 100.0)})

    assert sentences(model, a_transaction(amount=10.0)) == ["amount 40.00 to 73.50 (now 10.00): DECLINE"]


def test_of_a_whole_number_the_sentence_is_exact() -> None:
    model = Made(lambda row: 0.9 if row["customer_age"] >= 41 else 0.1, usual={"customer_age": (18.0, 90.0)})

    assert sentences(model, a_transaction(customer_age=24)) == ["customer_age 41 or more (now 24): DECLINE"]


def test_a_value_that_is_finer_than_what_is_looked_at_is_told_as_it_is() -> None:
    model = Made(lambda row: 0.9 if row["amount"] > 50.0004 else 0.1, usual={"amount": (0.0, 100.0)})

    assert sentences(model, a_transaction(amount=50.0005)) == ["amount 50.00 or less (now 50.0005): APPROVE"]


def test_where_nothing_would_change_it_the_page_says_so() -> None:
    page = Open(model=Made(lambda _row: 0.1)).get("/try").text

    assert "No single field would change it within its usual range." in page


@pytest.mark.parametrize("algorithm", [Algorithm.RANDOM_FOREST, Algorithm.HIST_GRADIENT_BOOSTING])
def test_each_value_that_is_told_has_that_action_and_the_one_beside_it_has_not(
    algorithm: Algorithm, tmp_path: Path
) -> None:
    kind = fitted(algorithm)
    model = served(tmp_path, kind.trees, kind.scoring, Thresholds(decline=0.5, review=0.1), labelled().rows)
    names = Transaction.feature_names()
    seen = 0

    frauds = labelled().rows[labelled().labels == 1][:20]
    for values in frauds.tolist():
        row = dict(zip(names, values, strict=True))
        transaction = Transaction.from_row({"transaction_id": "T", **row})
        action = model.thresholds.action_for(model.score_one(values))

        def action_with(name: str, value: float, row: dict[str, float] = row) -> Action:
            vector = [{**row, name: value}[each] for each in names]
            return model.thresholds.action_for(float(model.score(np.array([vector]))[0]))

        variation = Variation(transaction, form_fields_of(Transaction), model)
        lines = {each.field.name: each for each in variation.fields if isinstance(each, QuantityScores)}
        for change in changes_of(variation, action):
            for turn in change.turns if change.name in lines else []:
                found = TURN.fullmatch(turn.words)
                assert found is not None, turn
                ends = {float(end.replace(",", "")) for end in (found["low"], found["high"]) if end}
                unit = float(lines[change.name].steps.unit)
                for end, away in zip(sorted(ends), (-unit, unit), strict=False) if len(ends) > 1 else []:
                    assert action_with(change.name, round(end + away, 6)) is not turn.action
                for end in ends:
                    assert action_with(change.name, end) is turn.action
                if found["on"]:
                    beside = round(ends.pop() + (unit if found["on"] == "less" else -unit), 6)
                    assert action_with(change.name, beside) is not turn.action
                seen += 1

    assert seen > 10


def test_all_fields_take_one_batch_and_a_small_one_for_each_halving() -> None:
    model = Made(lambda row: 0.9 if row["amount"] > 658.12 else 0.1, usual={"amount": (0.0, 1000.0)})
    transaction = a_transaction(amount=880.5)

    result_of(transaction, form_fields_of(Transaction), model)

    assert model.batches[0] < 1_500
    assert len(model.batches) < 20
    assert max(model.batches[1:]) <= 10


# codes and choices


def test_of_a_code_no_sentence_says_below_or_above() -> None:
    model = Made(lambda row: 0.9 if row["merchant_category_code"] < 5800 else 0.1, common=(5411.0, 5541.0, 5999.0))

    said = sentences(model, a_transaction(merchant_category_code=5942))

    assert said == ["merchant_category_code 5411 or 5541 (now 5942): DECLINE"]


def test_a_code_and_a_flag_are_bars_and_a_quantity_is_a_line() -> None:
    model = Made(lambda row: row["is_online_transaction"] / 2, common=(5411.0, 5541.0))

    pictures = {name: picture_of(each, BOTH) for name, each in of(model, a_transaction()).items()}

    assert {name: type(each) for name, each in pictures.items()} == {
        "amount": ScoreCurve,
        "merchant_category_code": ScoreBars,
        "customer_age": ScoreCurve,
        "distance_from_home": ScoreCurve,
        "is_online_transaction": ScoreBars,
    }
    flag, code = pictures["is_online_transaction"], pictures["merchant_category_code"]
    assert isinstance(flag, ScoreBars)
    assert [(bar.name, bar.score, bar.action, bar.is_now) for bar in flag.bars] == [
        ("0", 0.0, Action.APPROVE, False),
        ("1", 0.5, Action.REVIEW, True),
    ]
    assert isinstance(code, ScoreBars)
    assert [bar.name for bar in code.bars] == ["5411", "5541", "5942"]


def test_a_code_of_which_no_other_value_is_known_is_left_out_and_the_page_says_so() -> None:
    page = Open().get("/try").text

    assert "Not varied: merchant_category_code (no other value is known)." in page
    assert page.count("<figure>") == 4


def test_of_many_choices_some_are_shown_among_them_the_one_that_it_has() -> None:
    choices = tuple(f"country {number:02}" for number in range(40))
    field = form_fields_of(Own)[0]
    varied = ChoiceScores(field, "country 33", choices, (Assessment(0.25, Action.APPROVE),) * 40)

    picture = picture_of(varied, BOTH)

    assert isinstance(picture, ScoreBars)
    assert (len(picture.bars), picture.hidden) == (12, 28)
    assert [bar.name for bar in picture.bars if bar.is_now] == ["country 33"]


# curves


def test_a_curve_is_drawn_in_steps_and_equal_neighbours_are_one() -> None:
    places: list[tuple[float, float | None]] = [(0, 5), (1, 5), (2, 5), (3, 9), (4, 9), (5, None), (6, 7), (7, 7)]

    assert stairs(places) == "M0 5H2.5V9H4M6 7H7"


def test_a_line_is_as_fine_as_a_picture_and_its_path_is_small() -> None:
    model = Made(lambda row: 0.9 if row["amount"] > 500 else 0.1, usual={"amount": (0.0, 1000.0)})
    line = of(model, a_transaction(amount=100.0))["amount"]

    picture = picture_of(line, BOTH)

    assert len(line.values) > 200
    assert isinstance(picture, ScoreCurve)
    assert re.fullmatch(r"M[\d.]+ [\d.]+H[\d.]+V[\d.]+H[\d.]+", picture.line)


def test_a_whole_number_of_few_values_is_points_over_ticks_at_whole_numbers() -> None:
    line = of(Made(lambda row: row["count"] / 10, Everything), example_of(Everything))["count"]

    picture = picture_of(line, BOTH)

    assert isinstance(picture, ScoreCurve)
    assert line.values == (0, 1, 2, 3, 4, 5, 6)
    assert picture.line == ""
    assert picture.points.count("M") == 7
    assert [tick.text for tick in picture.x_ticks] == ["0", "2", "4", "6"]


@pytest.mark.parametrize(
    ("low", "high", "is_whole", "expected"),
    [(0, 1, True, [0, 1]), (0, 3, True, [0, 1, 2, 3]), (18, 90, True, [20, 40, 60, 80]), (0, 1, False, [0, 0.5, 1])],
)
def test_ticks_are_at_round_numbers(low: float, high: float, is_whole: bool, expected: list[float]) -> None:
    found = round_values(low, high, is_whole=is_whole)

    assert set(expected) <= {round(each, 9) for each in found}
    assert len(found) <= 6
    assert not is_whole or all(float(each).is_integer() for each in found)


@pytest.mark.parametrize("value", [0.5, 300.0, 9_000.0])
def test_a_line_goes_beyond_what_was_typed_in_on_both_sides(value: float) -> None:
    model = Made(lambda _row: 0.5, usual={"distance_from_home": (1.0, 300.0), "customer_age": (18.0, 90.0)})

    lines = of(model, a_transaction(distance_from_home=value, customer_age=18))

    assert lines["distance_from_home"].values[0] < value < lines["distance_from_home"].values[-1]
    assert lines["distance_from_home"].values[0] >= 0
    # there is no younger customer
    assert lines["customer_age"].values[0] == 18


def test_usual_values_are_looked_at_closely_also_where_what_was_typed_in_is_far_from_them() -> None:
    model = Made(lambda row: 0.9 if 50 < row["amount"] < 52 else 0.1, usual={"amount": (1.0, 100.0)})

    assert sentences(model, a_transaction(amount=1_000_000.0)) == ["amount 50.01 to 51.99 (now 1,000,000.00): DECLINE"]


def test_thresholds_are_drawn_and_labelled_where_they_hide_no_curve() -> None:
    model = Made(lambda _row: 0.65, usual={"amount": (0.0, 1000.0)})

    picture = picture_of(of(model, a_transaction(amount=500.0))["amount"], BOTH)

    assert isinstance(picture, ScoreCurve)
    assert [mark.text for mark in picture.marks] == ["decline above 0.6", "review above 0.3"]
    assert [tick.text for tick in picture.y_ticks] == ["0", "0.5", "1"]
    # below its line, as the curve is above it
    assert picture.marks[0].text_at > picture.marks[0].at


def test_a_field_is_named_once_above_its_picture() -> None:
    page = Open().get("/try").text

    assert page.count("<figcaption>amount</figcaption>") == 1
    assert "over amount" not in page


# the page


def test_one_that_is_typed_in_is_decided_as_the_door_decides_it_and_kept_nowhere() -> None:
    console = Open()
    typed = {name: str(value) for name, value in transaction_json(amount=9000).items() if name != "transaction_id"}

    with capture_logs() as logs:
        page = console.post("/try", **typed).text

    assert '<span class="badge DECLINE">DECLINE</span> fraud probability <strong>0.9000' in page
    assert not console.api.store.records
    assert console.api.recorder.pending == 0
    assert "1250.5" not in str(logs)


def test_all_that_is_wrong_with_what_was_typed_in_is_told_beside_what_it_was() -> None:
    page = unescape(Open().post("/try", amount="-1", customer_age="old").text)

    assert "Input should be greater than 0" in page
    assert 'value="old"' in page
    assert "Field required" in page


def test_the_form_has_an_example_in_it_which_is_scored_at_once() -> None:
    page = Open().get("/try").text

    assert 'name="amount" value="4500.0"' in page
    assert "fraud probability <strong>0.4500" in page
    assert "<figcaption>amount</figcaption>" in page
    assert "amount 8,500.01 or more (now 4,500.00)" in page


def test_where_no_model_serves_the_page_says_what_to_do() -> None:
    console = Open(model=BundleError("no model is active: `riskline models activate VERSION`"))

    for page in (console.get("/try").text, console.post("/try", **strings(transaction_json())).text):
        assert "No model serves" in page
        assert "riskline models activate VERSION" in page
        assert "`" not in page
        assert 'name="amount" value="4500.0"' in page


def test_where_a_field_has_no_example_the_page_says_which_to_fill_in() -> None:
    class Plain(TransactionModel):
        amount: float = Field(examples=[3.0])
        hours: float

    page = Open(transaction_class=Plain).get("/try").text

    assert "There is no example of hours" in page
    assert 'name="amount" value="3.0"' in page


def test_the_form_knows_what_a_field_refers_to() -> None:
    assert [(each.kind, each.range, each.choices) for each in form_fields_of(Own)] == [
        ("number", "above 0", ()),
        ("integer", "", ()),
        ("text", "", ("web", "shop")),
    ]


def test_a_class_with_a_field_of_each_kind_is_tried_and_nothing_is_said_oddly() -> None:
    model = Made(lambda row: min(1.0, row["ratio"] / 2 + row["is_remote"] / 4), Everything, common=(5.0, 7.0))

    page = unescape(Open(model=model, transaction_class=Everything).get("/try").text)

    shown = re.findall(r"<figcaption>(.*)</figcaption>", page)
    assert shown == [
        *("amount", "price", "channel", "tier", "currency", "entry"),
        *("bonus", "count", "code", "is_new", "trusted"),
    ]
    assert "at (no number, no list of values), home (no number, no list of values)" in page
    assert "hops (left empty), note (left empty)." in page
    assert '{"city":"Berlin","floor":0}' in page
    assert "`" not in page
    assert "None" not in page
    # price and channel reach the score through what is derived of them only
    assert "amount 13.51 or more" not in page
    assert re.search(r"price [\d.]+ or less \(now 12.50\)", page)
    assert "channel shop (now web)" in page


def strings(row: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in row.items()}


@pytest.mark.parametrize("spelled", ["true", "True", "false"])
def test_the_values_of_a_stored_transaction_are_taken_as_another_page_wrote_them(spelled: str) -> None:
    model = Made(lambda row: row["trusted"] / 2, Everything)
    sent = {
        "transaction_id": "evil id",
        "callback_url": "https://example.com",
        "amount": "20",
        "price": "3.20",
        "channel": "shop",
        "tier": "3",
        "currency": "CHF",
        "entry": "keyed",
        "at": "2026-11-24T03:15:07+01:00",
        "home": '{"city":"Bonn"}',
        "hops": "null",
        "count": "2.0",
        "code": "7",
        "is_new": "0",
        "trusted": spelled,
        "nobody_knows": "1",
    }

    page = unescape(Open(model=model, transaction_class=Everything).post("/try", **sent).text)

    assert "Not valid" not in page
    assert f"fraud probability <strong>{'0.0000' if spelled == 'false' else '0.5000'}" in page
    # another than those that are named, which the class lets in
    assert 'value="CHF"' in page
    assert "note (left empty)" in page


def test_what_is_left_empty_is_left_out_and_a_default_holds() -> None:
    inputs = form_fields_of(Everything)
    typed = {each.name: each.example for each in inputs} | {"home": " ", "bonus": ""}

    row = row_of(inputs, typed)

    assert {"home", "hops", "note", "bonus"}.isdisjoint(row)
    built = Everything.from_row({**row, "transaction_id": "T"})
    assert (built.home, built.bonus) == (None, 0.5)


def test_what_must_be_there_and_may_be_null_is_null_where_it_is_left_empty() -> None:
    inputs = form_fields_of(Own)

    assert row_of(inputs, {"amount": "1", "hops": "", "channel": "web"}) == {
        "amount": 1,
        "hops": None,
        "channel": "web",
    }


@pytest.mark.parametrize("typed", ["1e400", "nan", "inf", "9" * 400, "9" * 5000, "1e308", "-0", "1_0", "%D9%A3", "--5"])
def test_no_number_that_is_typed_in_is_more_than_the_page_can_take(typed: str) -> None:
    page = Open().post("/try", **strings(transaction_json(amount=typed)))
    of_distance = Open().post("/try", **strings(transaction_json(distance_from_home=typed)))

    assert (page.status_code, of_distance.status_code) == (200, 200)


def test_a_class_whose_range_is_wider_than_numbers_go_is_tried() -> None:
    class Wide(TransactionModel):
        number: int = Field(examples=[5])
        size: float = Field(examples=[5.0])

    console = Open(model=Made(lambda row: 0.9 if row["number"] > 7 else 0.1, Wide), transaction_class=Wide)

    for number, size in (("9" * 300, "1.7e308"), ("-" + "9" * 300, "-1.7e308"), ("0", "5e-324")):
        assert "What would change it" in console.post("/try", number=number, size=size).text


def test_the_table_begins_with_the_base_and_ends_with_the_sum(tmp_path: Path) -> None:
    scoring = Scoring(inputs="float32", aggregation="mean", link="identity", base=0.4)
    model = served(tmp_path, small_trees(), scoring, BOTH)

    table = Open(model=model).get("/try").text.partition("<h2>Why<")[2].partition("</section>")[0]

    numbers = [float(each) for each in re.findall(r'class="n">(?:<strong>)?([-+][\d.]+|[\d.]+)', table)]
    assert len(numbers) > 3
    assert numbers[0] == 0.4
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=1e-3)
    assert "Unit: probability. The sum is the fraud probability, 0.7000." in table


def test_a_flag_is_chosen_a_code_has_known_values_and_the_way_back_is_shown() -> None:
    console = Open()

    page = console.get("/try").text
    tried = console.post("/try?of=t-1", amount="20")

    assert '<select id="in-is_online_transaction"' in page
    assert '<datalist id="known-merchant_category_code"><option value="5942">' in page
    assert "With the values of" not in page
    assert 'With the values of <a class="mono" href="/console/transactions/t-1">t-1</a>' in tried.text
    assert 'action="/console/try?of=t-1" hx-post="/console/try?of=t-1"' in tried.text
