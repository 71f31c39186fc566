"""From a file to a model version and back to decisions, through the command line."""

import re
from collections.abc import Callable
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
from tests.support.files import rows_of, save

SHARED_DATA = Path(__file__).parents[3].parent / "shared/data/transactions.csv.gz"
ROWS = 5_000


class Line:
    """The command line on one data directory: what a command printed, and its exit code."""

    def __init__(self, directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.data = directory / "installation"
        self._capfd = capfd
        self.out = ""
        self.err = ""

    def __call__(self, *arguments: object, code: int = 0) -> str:
        self._capfd.readouterr()
        given = [str(each) for each in arguments]
        if given[0] != "data":
            given += ["--data", str(self.data)]
        found = run(given)
        self.out, self.err = self._capfd.readouterr()
        assert found == code, self.err
        return self.out

    def json(self, *arguments: object) -> Any:
        return orjson.loads(self(*arguments, "--json"))

    def registry(self) -> Registry:
        return Registry(self.data / "models")


@pytest.fixture
def riskline(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Line:
    for name in ("RISKLINE_DATA", "RISKLINE_MODELS", "RISKLINE_MODEL_VERSION", "RISKLINE_TRANSACTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("riskline.worker.training.fit.FOREST_TREES", 20)
    # a second each time, and tested elsewhere
    monkeypatch.setattr("riskline.cli.models.training.keep_report", lambda *_, **__: None)
    return Line(tmp_path, capfd)


@pytest.fixture
def file(riskline: Line) -> Path:
    path = riskline.directory / "transactions.csv.gz"
    riskline("data", path, "--rows", ROWS)
    return path


def damaged(file: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
    path = file.with_name("damaged.csv")
    change(pl.read_csv(file)).write_csv(path)
    return path


def with_minors(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows 3 and 5 have an age that the contract refuses."""
    number = pl.int_range(1, pl.len() + 1)
    age = pl.when(number.is_in([3, 5])).then(17).otherwise(pl.col("customer_age"))
    return frame.with_columns(age.alias("customer_age"))


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".ndjson", ".parquet"])
def test_data_writes_every_kind_of_file_that_train_reads(riskline: Line, ending: str) -> None:
    path = riskline.directory / f"sample{ending}"

    riskline("data", path, "--rows", 2_000, "--seed", 5)

    assert "2,000 simulated transactions" in riskline.err
    assert riskline.json("train", path)["training"]["rows"] == 1_500


@pytest.mark.parametrize("ending", [".csv.gz", ".parquet"])
def test_data_of_cards_says_which_class_takes_them(riskline: Line, ending: str) -> None:
    path = riskline.directory / f"cards{ending}"

    riskline("data", path, "--kind", "card", "--rows", 2_000)

    assert "2,000 simulated card payments, 30 of them fraud" in riskline.err
    assert "export RISKLINE_TRANSACTION=riskline.examples.card:CardPayment" in riskline.err


def test_the_same_seed_gives_the_same_trees_from_every_kind_of_file(riskline: Line) -> None:
    digests = set()
    for ending in (".csv", ".csv.gz", ".ndjson", ".parquet"):
        path = riskline.directory / f"sample{ending}"
        riskline("data", path, "--rows", 2_000)
        riskline.data = riskline.directory / f"installation{ending}"
        made = riskline.json("train", path)
        digests.add((made["training"]["sha256"], made["sha256"]["trees.npz"]))

    assert len(digests) == 1


def test_data_refuses_an_unknown_ending_and_too_few_rows(riskline: Line) -> None:
    riskline("data", "sample.xlsx", code=2)
    assert "the name must end in .csv, .csv.gz, .ndjson, .parquet" in riskline.err

    riskline("data", "sample.csv", "--rows", 5, code=2)
    assert list(riskline.directory.iterdir()) == []


def test_the_first_model_serves_at_once_and_the_second_waits(riskline: Line, file: Path) -> None:
    told = riskline("train", file, "--review-threshold", 0.6)
    assert "It serves now." in told
    assert re.search(r"above 0.6 \(reviewed\)\n    [\d,]+ rows?, \d+ of them fraud", told)
    assert re.search(r"At these thresholds \d+ of \d+ frauds \(\d+%\) are approved", told)
    assert "riskline evaluate FILE --model" in told
    assert "To serve it: riskline models activate" in riskline("train", file, "--algorithm", "hist-gradient-boosting")

    listed = riskline.json("models", "list")

    assert [each["active"] for each in listed] == [True, False]
    assert [each["estimator"] for each in listed] == ["RandomForestClassifier", "HistGradientBoostingClassifier"]
    assert all(each["measured_on"] == "1,250 rows held out" for each in listed)
    assert "1,250 rows held out" in riskline("models", "list")
    assert all(each["rows"] == 3_750 and 0.5 < each["roc_auc"] <= 1 for each in listed)


def test_a_second_model_is_activated_and_rolled_back(riskline: Line, file: Path) -> None:
    riskline("train", file)
    second = riskline.json("train", file, "--algorithm", "isolation-forest")
    assert second["active"] is False

    riskline("models", "activate", second["version"])
    assert riskline.registry().active_version() == second["version"]

    riskline("models", "rollback")
    assert riskline.registry().active_version() != second["version"]


def test_a_model_may_be_activated_or_not_as_one_says(riskline: Line, file: Path) -> None:
    first = riskline.json("train", file, "--no-activate")
    assert first["active"] is False
    assert riskline.registry().active_version() is None

    second = riskline.json("train", file, "--algorithm", "isolation-forest", "--activate")
    assert second["active"] is True
    assert riskline.registry().active_version() == second["version"]


@pytest.mark.parametrize(
    ("algorithm", "difference"),
    [("random-forest", 0.0), ("hist-gradient-boosting", 1e-12), ("isolation-forest", 1e-9)],
)
def test_a_model_says_what_it_was_made_of(riskline: Line, file: Path, algorithm: str, difference: float) -> None:
    made = riskline.json(
        "train", file, "--algorithm", algorithm, "--decline-threshold", 0.7, "--review-threshold", 0.4, "--seed", 9
    )

    shown = orjson.loads(riskline("models", "show", made["version"]))

    assert shown == {name: value for name, value in made.items() if name not in ("active", "refused_rows")}
    assert shown["thresholds"] == {"decline": 0.7, "review": 0.4}
    assert shown["training"]["seed"] == 9
    assert shown["training"]["window"][1] < shown["training"]["test"]["window"][0]
    assert shown["training"]["rows"] + shown["training"]["test"]["rows"] == ROWS
    assert shown["metrics"]["largest_difference_to_estimator"] <= difference
    assert set(shown["libraries"]) == {"python", "scikit-learn", "numpy"}
    riskline("models", "verify", made["version"])
    assert f"{made['version']} is whole" in riskline.err


def test_a_model_is_evaluated_on_a_file(riskline: Line, file: Path) -> None:
    version = riskline.json("train", file)["version"]

    measured = riskline.json("evaluate", file)

    assert measured["model_version"] == version
    assert measured["rows"] == ROWS
    assert measured["roc_auc"] > 0.95
    assert "ROC-AUC" in riskline("evaluate", file, "--model", version)


def test_a_file_is_scored_to_standard_output_or_a_file(riskline: Line, file: Path) -> None:
    version = riskline.json("train", file)["version"]
    out = riskline.directory / "decisions.ndjson"

    printed = [orjson.loads(line) for line in riskline("score", file).splitlines()]
    riskline("score", file, "--out", out, "--explain")
    written = [orjson.loads(line) for line in out.read_bytes().splitlines()]

    assert f"{ROWS:,} decisions by model {version}" in riskline.err
    ids = pl.read_csv(file)["transaction_id"].to_list()
    assert [each["transaction_id"] for each in printed] == ids
    assert [each["transaction_id"] for each in written] == ids
    assert [each["fraud_probability"] for each in printed] == [each["fraud_probability"] for each in written]
    assert {each["action"] for each in written} <= {"APPROVE", "REVIEW", "DECLINE"}
    assert {each["model_version"] for each in written} == {version}


def test_scores_are_those_of_the_model(riskline: Line, file: Path) -> None:
    riskline("train", file)
    model = riskline.registry().load_active(inputs_of(Transaction))
    rows = pl.read_csv(file).select(model.feature_names).to_numpy().astype(np.float64)

    decisions = [orjson.loads(line) for line in riskline("score", file).splitlines()]

    expected = [round(probability, 4) for probability in model.score(rows).tolist()]
    assert [each["fraud_probability"] for each in decisions] == expected


@pytest.mark.parametrize("command", ["train", "evaluate", "score"])
def test_bad_rows_fail_a_command_with_their_numbers(riskline: Line, file: Path, command: str) -> None:
    riskline("train", file)
    bad = damaged(file, with_minors)

    assert riskline(command, bad, code=1) == ""

    assert "row 3: customer_age: Input should be greater than or equal to 18" in riskline.err
    assert "row 5: " in riskline.err
    assert "--skip-bad-rows" in riskline.err
    assert len(riskline.registry().versions()) == 1


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_bad_rows_are_left_out_if_one_says_so(riskline: Line, file: Path, command: str) -> None:
    riskline("train", file)

    riskline(command, damaged(file, with_minors), "--skip-bad-rows")

    assert "Traceback" not in riskline.err


def test_train_says_which_rows_it_left_out(riskline: Line, file: Path) -> None:
    made = riskline.json("train", damaged(file, with_minors), "--skip-bad-rows")

    assert made["refused_rows"] == 2
    assert made["training"]["rows"] + made["training"]["test"]["rows"] == ROWS - 2
    assert "left out 2 rows that are no transactions" in riskline.err
    assert "2 x customer_age: Input should be greater than or equal to 18" in riskline.err
    assert "row 3: " in riskline.err


def test_a_version_is_trained_with_a_name_and_a_note(riskline: Line, file: Path) -> None:
    riskline("train", file, "--no-report", "--name", "x" * 61, code=2)
    assert "the name has 61 characters; 60 are allowed" in riskline.err

    riskline("train", file, "--no-report", "--name", "Autumn", "--note", "With October's chargebacks.")

    (listed,) = riskline.json("models", "list")
    assert (listed["name"], listed["note"]) == ("Autumn", "With October's chargebacks.")
    assert "Autumn" in riskline("models", "list")


def test_score_leaves_bad_rows_out_if_one_says_so(riskline: Line, file: Path) -> None:
    riskline("train", file)

    lines = riskline("score", damaged(file, with_minors), "--skip-bad-rows").splitlines()

    assert len(lines) == ROWS - 2
    assert "left out 2 rows" in riskline.err


@pytest.mark.parametrize(
    "change",
    [with_minors, lambda frame: frame.drop("amount"), lambda frame: frame.head(0).drop("customer_age")],
    ids=["bad rows", "missing column", "no rows"],
)
def test_a_file_of_decisions_appears_whole_or_not_at_all(
    riskline: Line, file: Path, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    riskline("train", file)
    out = riskline.directory / "decisions.ndjson"
    out.write_text("older")
    bad = damaged(file, change)
    before = sorted(path.name for path in riskline.directory.iterdir())

    riskline("score", bad, "--out", out, code=1)

    assert out.read_text() == "older"
    assert sorted(path.name for path in riskline.directory.iterdir()) == before


def test_an_unknown_algorithm_is_wrong_usage_and_names_those_that_are_known(riskline: Line, file: Path) -> None:
    riskline("train", file, "--algorithm", "magic", code=2)

    assert "random-forest, hist-gradient-boosting, isolation-forest" in riskline.err
    assert not riskline.data.exists()


def test_a_review_threshold_above_the_decline_threshold_is_wrong_usage(riskline: Line, file: Path) -> None:
    riskline("train", file, "--review-threshold", 0.9, code=2)

    assert "must not be above the decline threshold" in riskline.err


@pytest.mark.parametrize("command", ["train", "evaluate", "score"])
def test_a_file_that_is_not_there_fails_in_one_line(riskline: Line, file: Path, command: str) -> None:
    riskline("train", file)

    riskline(command, "none.csv", code=1)

    assert riskline.err.strip().splitlines()[-1] == "riskline: none.csv: there is no such file"


@pytest.mark.parametrize("command", ["evaluate", "score"])
def test_without_a_model_one_is_told_to_train(riskline: Line, file: Path, command: str) -> None:
    riskline(command, file, code=1)

    assert "make one by `riskline train FILE`" in riskline.err


def test_a_label_that_is_not_there_is_named(riskline: Line, file: Path) -> None:
    riskline("train", file, "--label", "chargeback", code=1)

    assert "has no column chargeback; it has transaction_id" in riskline.err


def test_a_day_after_the_last_row_leaves_nothing_to_test_on(riskline: Line, file: Path) -> None:
    riskline("train", file, "--test-from", "2030-01-01", code=1)

    assert "the test part has 0 rows" in riskline.err


def test_a_damaged_version_is_listed_as_such(riskline: Line, file: Path) -> None:
    version = riskline.json("train", file)["version"]
    (riskline.data / "models" / version / "manifest.json").write_text("{")

    assert "manifest.json is not JSON" in riskline.json("models", "list")[0]["problem"]
    assert "unreadable" in riskline("models", "list")
    riskline("models", "verify", version, code=1)
    assert "manifest.json is not JSON" in riskline.err


def test_versions_are_listed_where_what_names_the_active_one_is_damaged(riskline: Line, file: Path) -> None:
    version = riskline.json("train", file)["version"]
    (riskline.data / "models" / "active").write_bytes(b"\xff\xfe")

    (listed,) = riskline.json("models", "list")

    assert (listed["version"], listed["active"]) == (version, False)
    assert "active cannot be read" in riskline.err
    assert riskline.err.endswith("activate a version anew\n")
    riskline("models", "activate", version, "--no-wait")
    assert riskline.json("models", "list")[0]["active"]


def test_times_that_are_not_read_are_said(riskline: Line, tmp_path: Path) -> None:
    rows = [{**row, "timestamp": 1_700_000_000 + i} for i, row in enumerate(rows_of(200))]

    riskline("train", save(tmp_path / "rows.csv", rows))

    assert "no time was used: in 200 rows the timestamp is not written as in ISO 8601" in " ".join(riskline.err.split())


def test_the_shared_data_gives_the_figures_that_its_description_promises(
    riskline: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not SHARED_DATA.exists():
        pytest.skip(f"{SHARED_DATA} is not here: the figures on it were not measured")
    monkeypatch.setattr("riskline.worker.training.fit.FOREST_TREES", 100)

    made = riskline.json("train", SHARED_DATA, "--test-from", "2025-06-01", "--skip-bad-rows")

    assert made["refused_rows"] == 267
    assert made["metrics"]["roc_auc"] >= 0.97
    assert made["metrics"]["average_precision"] >= 0.74
    assert made["metrics"]["largest_difference_to_estimator"] == 0
