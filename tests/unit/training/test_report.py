"""The report of `riskline evaluate`: one page that needs nothing else, and says what was measured."""

import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from riskline.cli.main import run
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.registry import Registry
from riskline.worker.training.data.simulate import simulate
from riskline.worker.training.evaluation.sketch import share_known, sketched

ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//|^(?:https?|ftp|data|javascript):", re.IGNORECASE)
TRAINED, MEASURED = 6_000, 6_000


class Page(HTMLParser):
    """What a page has: its text, its tables by id, and the attributes of its elements."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self.styles = ""
        self._rows: list[list[str]] = []
        self._in: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in.append(tag)
        if tag == "table":
            self._rows = self.tables[dict(attrs).get("id") or f"table {len(self.tables)}"] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._in:
            self.styles += data
            return
        self.text += data
        if {"td", "th"} & set(self._in) and self._rows and self._rows[-1]:
            self._rows[-1][-1] += data if "small" not in self._in else f" [{data}]"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a model that serves, and `measured.csv`, from later than what it was trained on."""
    directory = tmp_path_factory.mktemp("report")
    simulate(rows=TRAINED, seed=5).write_csv(directory / "training.csv")
    later = pl.col("timestamp").str.replace("2025", "2026", literal=True)
    simulate(rows=MEASURED, seed=6).with_columns(later).write_csv(directory / "measured.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("riskline.worker.training.fit.FOREST_TREES", 20)
        words = ["train", str(directory / "training.csv"), "--decline-threshold", "0.8", "--review-threshold", "0.3"]
        assert run([*words, "--data", str(directory / "data")]) == 0
    return directory


@pytest.fixture
def evaluate(installation: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Any]:
    """Runs `riskline evaluate` on a file; gives what it printed, as JSON if that was asked for."""

    def evaluated(file: Path | pl.DataFrame, *words: object, code: int = 0) -> Any:
        if isinstance(file, pl.DataFrame):
            file.write_csv(tmp_path / "rows.csv")
            file = tmp_path / "rows.csv"
        capfd.readouterr()
        found = run(["evaluate", str(file), "--data", str(installation / "data"), *map(str, words)])
        out, err = capfd.readouterr()
        assert found == code, err
        if code:
            return err
        return orjson.loads(out) if "--json" in words else out

    return evaluated


@pytest.fixture
def rows(installation: Path) -> pl.DataFrame:
    return pl.read_csv(installation / "measured.csv")


@pytest.fixture
def registry(installation: Path) -> Registry:
    return Registry(installation / "data" / "models")


COSTS = ("--cost-fn", "amount", "--cost-fp", 20)


def test_the_page_needs_no_other_host_and_no_script(installation: Path, evaluate: Any, tmp_path: Path) -> None:
    evaluate(installation / "measured.csv", "--report", tmp_path / "r.html", *COSTS, "--alerts-per-day", 5)

    page = Page(tmp_path / "r.html")

    named = ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    addresses = [value for _, each in page.elements for name, value in each.items() if name in named and value]
    styles = page.styles + " ".join(each.get("style") or "" for _, each in page.elements)
    assert all(address.startswith("#") for address in addresses)
    assert not [url for url in re.findall(r"url\(([^)]*)\)", (tmp_path / "r.html").read_text()) if url[:1] != "#"]
    assert "@import" not in styles
    assert "http" not in (tmp_path / "r.html").read_text()
    assert not [each for _, each in page.elements if "style" in each]
    assert len(page.all("style")) == 1
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {tag for tag, _ in page.elements}


def test_every_id_is_there_once_and_what_is_pointed_at_is_there(
    installation: Path, evaluate: Any, tmp_path: Path
) -> None:
    evaluate(installation / "measured.csv", "--report", tmp_path / "r.html", *COSTS)

    page = Page(tmp_path / "r.html")

    ids = [each["id"] for _, each in page.elements if "id" in each]
    pointed = re.findall(r'(?:href="|url\()#([^")]+)', (tmp_path / "r.html").read_text())
    assert len(ids) == len(set(ids))
    assert pointed
    assert set(pointed) <= set(ids)


def test_charts_are_told_in_words_and_tables_have_headers(installation: Path, evaluate: Any, tmp_path: Path) -> None:
    evaluate(installation / "measured.csv", "--report", tmp_path / "r.html", *COSTS)

    page = Page(tmp_path / "r.html")

    images = [each for _, each in page.elements if each.get("role") == "img"]
    assert len(images) == len(page.all("figure")) == len(page.all("figcaption")) == len(page.all("svg")) == 7
    assert all(len(each.get("aria-label") or "") > 40 for each in images)
    assert all(each.get("scope") in ("col", "row") for each in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]


def test_the_same_rows_make_the_same_page(installation: Path, evaluate: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        evaluate(installation / "measured.csv", "--report", tmp_path / f"{name}.html", *COSTS)

    first, second = ((tmp_path / f"{name}.html").read_text() for name in ("a", "b"))

    now = re.compile(r"measured by Riskline on \S+ \S+")
    assert now.sub("", first) == now.sub("", second)


def test_the_figures_of_the_page_are_those_that_were_measured(
    installation: Path, evaluate: Any, tmp_path: Path, rows: pl.DataFrame
) -> None:
    told = evaluate(installation / "measured.csv", "--json", "--report", tmp_path / "r.html")
    page = Page(tmp_path / "r.html")

    assert f"area {told['roc_auc']:.4f}" in page.text
    assert f"average precision {told['average_precision']:.4f}" in page.text
    assert f"Brier score {told['brier_score']:.5f}" in page.text
    table = {row[0]: row for row in page.tables["thresholds-table"][1:]}
    assert len(table) == len(told["at_thresholds"])
    for each in told["at_thresholds"]:
        row = table[f"{each['threshold']:.4g}"]
        for cell, name in zip(row[2:5], ("recall", "precision", "false_positive_rate"), strict=True):
            figures = [float(figure) for figure in re.findall(r"[\d.]+", cell)]
            expected = [figure * 100 for figure in each[name] if figure is not None]
            assert figures == pytest.approx(expected, abs=0.051)
    decline, review = (
        next(each for each in told["at_thresholds"] if name in each["why"]) for name in ("decline", "review")
    )
    assert (decline["threshold"], review["threshold"]) == (0.8, 0.3)
    assert decline["recall"][0] == told["recall"]
    assert f"{told['true_positives']:,} [caught]" in str(page.tables)
    assert f"{told['false_positives']:,} [false alarm]" in str(page.tables)
    by = {row[0]: row for row in page.tables["top-k-table"][1:]}
    assert by["transactions"][1:4] == ["1", "90", str(told["precision_at_k"]["shorter_days"])]
    for what, name in (("transactions", "precision_at_k"), ("cards", "card_precision_at_k")):
        assert float(by[what][4].rstrip(" %")) == pytest.approx(told[name]["mean"] * 100, abs=0.051)
    bins = page.tables["calibration-table"][1:]
    assert sum(int(row[1].replace(",", "")) for row in bins) == rows.height
    assert sum(int(row[3].replace(",", "")) for row in bins) == rows["is_fraud"].sum()


def test_the_summary_says_how_many_of_a_thousand_are_declined_and_of_what_kind(
    installation: Path, evaluate: Any, tmp_path: Path
) -> None:
    told = evaluate(installation / "measured.csv", "--json", "--report", tmp_path / "r.html")

    text = " ".join(Page(tmp_path / "r.html").text.split())

    declined = (told["true_positives"] + told["false_positives"]) / told["rows"] * 1000
    assert f"Of 1,000 transactions like these, the model would decline {declined:.1f} (95 %: " in text
    assert f"{told['true_positives'] / told['rows'] * 1000:.1f} (95 %: " in text
    assert f"It stops {told['true_positives']:,} of the {told['frauds']:,} frauds in this file" in text
    assert "Warning" not in text


def test_the_page_says_of_which_model_and_rows_it_is(
    installation: Path, evaluate: Any, tmp_path: Path, registry: Registry
) -> None:
    evaluate(installation / "measured.csv", "--report", tmp_path / "r.html")

    text = " ".join(Page(tmp_path / "r.html").text.split())

    version = registry.active_version()
    assert version is not None
    for words in (version, "RandomForestClassifier", "customer_age, distance_from_home", "measured.csv", "6,000"):
        assert words in text
    assert "2026-01-01" in text
    assert "days after it" in text


def test_names_of_files_are_text_in_the_page(evaluate: Any, tmp_path: Path, rows: pl.DataFrame) -> None:
    odd = tmp_path / "<b onclick=x>$&.csv"
    rows.write_csv(odd)

    evaluate(odd, "--report", tmp_path / "r.html")

    page = Page(tmp_path / "r.html")
    assert not page.all("b")
    assert odd.name in page.text


def test_rows_that_the_model_was_trained_on_are_warned_of(installation: Path, evaluate: Any, tmp_path: Path) -> None:
    evaluate(installation / "training.csv", "--report", tmp_path / "r.html")

    text = " ".join(Page(tmp_path / "r.html").text.split())

    # three quarters were for training, the last for the test
    assert re.search(r"Warning\. About 7\d of 100 of these rows are rows that the model was trained on", text)
    assert "Don't rely on these figures" in text


def told_on_the_terminal(installation: Path, file: Path, capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    assert run(["evaluate", str(file), "--data", str(installation / "data")]) == 0
    return " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    ("change", "share"),
    [
        (lambda rows: rows, r"About 7\d of 100"),
        (lambda rows: rows.drop("timestamp"), r"About 7\d of 100"),
        (lambda rows: rows.head(3_000).sample(1_500, seed=1), "All"),
        (lambda rows: rows.head(4_000).vstack(rows.tail(1_000)), r"About (?:7|8)\d of 100"),
    ],
    ids=["the whole file", "without times", "some of them", "mixed with others"],
)
def test_rows_that_the_model_was_trained_on_are_warned_of_on_the_terminal(
    installation: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], change: Any, share: str
) -> None:
    file = tmp_path / "rows.csv"
    change(pl.read_csv(installation / "training.csv")).write_csv(file)

    told = told_on_the_terminal(installation, file, capfd)

    assert re.search(rf"warning: {share} of these rows are rows that the model was trained on: every figure", told)


def test_rows_that_it_was_not_trained_on_are_said_to_be_so(
    installation: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.csv"
    pl.read_csv(installation / "measured.csv").drop("timestamp").write_csv(file)

    told = told_on_the_terminal(installation, file, capfd)

    assert "note: None of these rows is one that the model was trained on." in told
    assert "warning" not in told


def test_a_sketch_that_is_damaged_or_of_no_release_says_nothing() -> None:
    rows = np.arange(12.0).reshape(4, 3)

    assert [share_known(rows, sketch) for sketch in (None, "", "no base64!", 7, "AAAA")] == [None] * 5
    assert share_known(rows, sketched(rows)) == 1.0
    assert share_known(rows[:2] + 100, sketched(rows)) == 0.0


def test_the_very_rows_of_the_training_are_known_by_their_sha256(
    installation: Path, evaluate: Any, tmp_path: Path, registry: Registry
) -> None:
    window = registry.manifest(str(registry.active_version())).training["window"]
    trained = pl.read_csv(installation / "training.csv").filter(pl.col("timestamp") <= window[1])

    evaluate(trained, "--report", tmp_path / "r.html")

    assert "the very rows that the model was trained on" in Page(tmp_path / "r.html").text


def few_frauds(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows.filter(pl.col("is_fraud") == 1).head(20), rows.filter(pl.col("is_fraud") == 0).head(500)])


def same_score(rows: pl.DataFrame) -> pl.DataFrame:
    fraud = pl.int_range(pl.len()) % 7 == 0
    return pl.concat([rows.head(1)] * 70).with_columns(fraud.cast(pl.Int64).alias("is_fraud"))


def one_a_day(rows: pl.DataFrame) -> pl.DataFrame:
    days = rows.unique(pl.col("timestamp").str.head(10), keep="first", maintain_order=True)
    return days.with_columns((pl.int_range(pl.len()) == 3).cast(pl.Int64).alias("is_fraud"))


def some_cards(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.col("card_id")))


@pytest.mark.parametrize(
    "case",
    [
        (few_frauds, "Few frauds", "No times"),
        (same_score, "area 0.5000", "No times"),
        (one_a_day, "would decline none", "No times"),
        (some_cards, "4,000 rows without one", "No times"),
        (lambda rows: rows.drop("timestamp"), "No times", "What investigators would find"),
        (lambda rows: rows.drop("card_id"), "Transactions: precision at ", "Cards: precision"),
        (lambda rows: rows.head(1).vstack(rows.filter(pl.col("is_fraud") == 1).head(1)), "Few frauds", "No times"),
    ],
    ids=["few frauds", "one score", "one a day", "some cards", "no times", "no cards", "two rows"],
)
def test_odd_files_have_a_report(
    evaluate: Any,
    tmp_path: Path,
    rows: pl.DataFrame,
    case: tuple[Callable[[pl.DataFrame], pl.DataFrame], str, str],
) -> None:
    change, said, not_said = case

    evaluate(change(rows), "--report", tmp_path / "r.html", *COSTS)

    text = " ".join(Page(tmp_path / "r.html").text.split())
    assert said in text
    assert not_said not in text
    assert "nan" not in text.lower().replace("financ", "")


@pytest.mark.parametrize("label", [0, 1])
def test_rows_of_one_kind_have_no_report(evaluate: Any, tmp_path: Path, rows: pl.DataFrame, label: int) -> None:
    told = evaluate(rows.filter(pl.col("is_fraud") == label), "--report", tmp_path / "r.html", code=1)

    assert "a measure needs both kinds" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv"]


def test_a_report_takes_the_place_of_an_older_one_whole_or_not_at_all(
    installation: Path, evaluate: Any, tmp_path: Path, rows: pl.DataFrame
) -> None:
    report = tmp_path / "r.html"
    report.write_text("older")

    evaluate(rows.head(0), "--report", report, code=1)
    assert report.read_text() == "older"
    evaluate(installation / "measured.csv", "--report", report)

    assert "older" not in report.read_text()[:100]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "rows.csv"]


def test_a_report_that_cannot_be_written_is_said_before_the_file_is_read(
    installation: Path, evaluate: Any, tmp_path: Path
) -> None:
    missing = tmp_path / "nowhere" / "r.html"

    assert f"{missing} cannot be written to: No such file" in evaluate(
        tmp_path / "none.csv", "--report", missing, code=1
    )
    assert "Is a directory" in evaluate(installation / "measured.csv", "--report", tmp_path, code=1)


def test_the_report_never_replaces_the_rows(installation: Path, evaluate: Any) -> None:
    file = installation / "measured.csv"
    before = file.read_bytes()

    assert "would replace the file that is measured" in evaluate(file, "--report", file, code=2)

    assert file.read_bytes() == before


def test_one_cost_needs_the_other_and_must_be_known(installation: Path, evaluate: Any) -> None:
    file = installation / "measured.csv"

    assert "needs the other cost" in evaluate(file, "--cost-fn", 5, code=2)
    assert "must be a number or a feature (amount," in evaluate(file, "--cost-fn", "turnover", "--cost-fp", 1, code=1)
    assert "a cost must be 0 or more" in evaluate(file, "--cost-fn", -1, "--cost-fp", 1, code=1)


def test_a_card_column_that_was_named_must_be_there(evaluate: Any, rows: pl.DataFrame) -> None:
    told = evaluate(rows.rename({"card_id": "pan"}), "--json", "--card-column", "pan")

    assert told["card_precision_at_k"]["days"] == 90
    assert "card_precision_at_k" not in evaluate(rows.rename({"card_id": "pan"}), "--json")
    assert "has no column pan" in evaluate(rows, "--card-column", "pan", code=1)


def test_chosen_thresholds_are_applied_by_the_command_that_is_printed(
    installation: Path, evaluate: Any, registry: Registry, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, report = installation / "measured.csv", tmp_path / "r.html"
    words = (*COSTS, "--alerts-per-day", 5)
    told = evaluate(file, "--json", "--report", report, *words)
    printed = evaluate(file, *words)
    command = told["command"].split()

    assert f"To apply it: {told['command']}" in printed
    assert "looks better on that file than it will be" in printed
    assert told["command"] in " ".join(Page(report).text.split())
    assert all(sentence[1:] in " ".join(Page(report).text.split()) for sentence in told["chosen"]["because"])
    assert command[:3] == ["riskline", "models", "thresholds"]
    assert run(command[1:]) == 0
    made = capfd.readouterr().out.strip()
    again = evaluate(file, "--model", made, "--json", *words)

    assert again["threshold"] == told["chosen"]["decline"]
    assert again["cost"]["now_per_1000"] == pytest.approx(told["cost"]["least_per_1000"])
    assert registry.manifest(made).thresholds.review == told["chosen"]["review"]
    assert "command" not in again


def test_the_chosen_review_threshold_leaves_as_many_reviews_as_there_is_time_for(
    evaluate: Any, rows: pl.DataFrame, registry: Registry
) -> None:
    told = evaluate(rows, "--json", "--alerts-per-day", 1)

    features = Transaction.feature_names()
    scores = registry.load_active(inputs_of(Transaction)).score(rows.select(features).to_numpy().astype(float))
    chosen, days = told["chosen"], told["precision_at_k"]["days"]
    assert chosen["decline"] == 0.8
    assert 0 < ((scores > chosen["review"]) & (scores <= 0.8)).sum() <= days
    # the next lower score has more rows than there is time for
    lower = scores[scores <= chosen["review"]].max()
    assert ((scores >= lower) & (scores <= 0.8)).sum() > days
    assert told["precision_at_k"]["k"] == 1


def test_without_the_packages_of_a_report_one_is_told_what_to_install(
    installation: Path, evaluate: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [each for each in sys.modules if each.startswith(("riskline.worker.training.report", "matplotlib"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # type: ignore[arg-type]

    told = evaluate(installation / "measured.csv", "--report", tmp_path / "r.html", code=1)

    assert "pip install '.[train,files]'" in told
    assert np.isfinite(evaluate(installation / "measured.csv", "--json")["roc_auc"])
