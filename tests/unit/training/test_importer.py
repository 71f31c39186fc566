"""A model that was trained elsewhere, as a version that scores the same."""

import hashlib
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from riskline.cli.main import run
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError
from riskline.shared.model.engine import Engine
from riskline.shared.model.registry import Registry
from riskline.worker.training.data.simulate import simulate
from riskline.worker.training.imports import importer, unpickle
from riskline.worker.training.imports.importer import columns_of, edge_rows
from riskline.worker.training.imports.scaling import fold_scaling
from tests.support.fitted import WIDTH, labelled
from tests.support.foreign_models import FEATURES, dumped, forest, imported, reference

SHUFFLED = (FEATURES[3], FEATURES[0], FEATURES[4], FEATURES[2], FEATURES[1])
RELEASE = version("scikit-learn")


def boosted() -> Any:
    return GradientBoostingClassifier(n_estimators=15, random_state=0)


FAMILIES: dict[str, tuple[Callable[[], Any], float]] = {
    "random forest": (forest, 0.0),
    "extra trees": (lambda: ExtraTreesClassifier(10, max_depth=6, random_state=0), 0.0),
    "a tree": (lambda: DecisionTreeClassifier(max_depth=7, random_state=0), 0.0),
    "a random tree": (lambda: ExtraTreeClassifier(max_depth=7, random_state=0), 0.0),
    "bagging": (lambda: BaggingClassifier(n_estimators=12, max_features=0.6, n_jobs=2, random_state=0), 0.0),
    # without a fraud among the rows of most trees
    "bagging of few rows": (lambda: BaggingClassifier(n_estimators=12, max_samples=30, random_state=0), 0.0),
    "gradient boosting": (boosted, 1e-12),
    "exponential loss": (lambda: boosted().set_params(loss="exponential", init="zero"), 1e-12),
    "histogram boosting": (lambda: HistGradientBoostingClassifier(max_iter=15, random_state=0), 1e-12),
    "isolation forest": (
        lambda: IsolationForest(n_estimators=20, max_features=0.6, bootstrap=True, max_samples=300, random_state=0),
        1e-8,
    ),
    "scaled forest": (
        lambda: make_pipeline(StandardScaler(), MinMaxScaler(clip=True), ExtraTreesClassifier(8, random_state=0)),
        0.0,
    ),
    "forest behind other scalers": (
        lambda: make_pipeline(RobustScaler(), MaxAbsScaler(), ExtraTreesClassifier(8, random_state=0)),
        0.0,
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_from_elsewhere_scores_as_it_did_on_rows_and_at_its_thresholds(tmp_path: Path, family: str) -> None:
    make, allowed = FAMILIES[family]
    model = make() if family == "random forest" else make().fit(labelled().rows, labelled().labels)

    manifest = imported(dumped(model, tmp_path / "team.joblib", compress=3))
    serving = Registry(tmp_path / "models").load(manifest.version, inputs_of(Transaction))

    final = model.steps[-1][1] if hasattr(model, "steps") else model
    assert manifest.estimator == type(final).__name__
    assert manifest.training["imported_from"] == "team.joblib"
    assert manifest.training["rows"] == 2_000
    assert manifest.training["edge_rows"] > 30
    assert manifest.training["max_difference"] <= allowed
    assert manifest.libraries["scikit-learn"] == RELEASE
    rows = labelled().rows[2_000:3_000]
    if family != "isolation forest":
        own = model.set_params(n_jobs=None) if family in ("random forest", "bagging") else model
        assert np.abs(serving.score(rows) - own.predict_proba(rows)[:, 1]).max() <= allowed
    scoring = manifest.scoring
    total = serving.base + serving.explain(rows)[1].sum(axis=1)
    assert np.allclose(total if scoring.link == "identity" else 1 / (1 + np.exp(-total)), serving.score(rows))
    kept = orjson.loads((tmp_path / "models" / manifest.version / "reference.json").read_bytes())
    assert (set(kept["features"]), len(kept["score"])) == (set(FEATURES), 101)


def test_columns_in_another_order_are_found_by_name(tmp_path: Path) -> None:
    order = [FEATURES.index(name) for name in SHUFFLED]
    model = RandomForestClassifier(8, max_depth=5, random_state=0).fit(labelled().rows[:, order], labelled().labels)
    model.feature_names_in_ = np.array(SHUFFLED, dtype=object)

    manifest = imported(dumped(model, tmp_path / "team.joblib"), named=None)
    serving = Registry(tmp_path / "models").load(manifest.version, inputs_of(Transaction))

    assert manifest.features == FEATURES
    rows = labelled().rows[:500]
    del model.feature_names_in_
    assert np.array_equal(serving.score(rows), model.predict_proba(rows[:, order])[:, 1])


@pytest.mark.parametrize(
    ("width", "own", "named", "said"),
    [
        (5, None, None, r"name them in its order by --features a,b,c: the transaction class has amount, merchant"),
        (2, ("amount", "age"), None, r"it has 2 columns \(amount, age\); the transaction class has amount, merchant"),
        (4, None, FEATURES[:4], r"it has 4 columns; the transaction class has amount, merchant"),
        (5, (*"abcde",), None, r"its columns are a, b, c, d, e; the transaction class has amount, merchant"),
        (5, None, (*FEATURES[:-1], "amount"), "They must be the same"),
        (5, FEATURES, SHUFFLED, "--features says"),
    ],
)
def test_columns_are_never_guessed(width: int, own: Any, named: Any, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        columns_of(FEATURES, own, named, width=width)


def test_an_isolation_forest_without_labels_is_told_how_it_becomes_a_probability(tmp_path: Path) -> None:
    model = IsolationForest(n_estimators=5, random_state=0).fit(labelled().rows)

    with pytest.raises(BundleError, match="add a column is_fraud with both 0 and 1 to the reference"):
        imported(dumped(model, tmp_path / "team.joblib"), rows=reference(with_labels=False))


def test_a_model_that_would_score_otherwise_here_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nearly(*arguments: Any) -> Any:
        trees, scoring = held(*arguments)
        trees.threshold[:] = np.nextafter(trees.threshold, np.inf)
        return trees, scoring

    held = importer._held
    monkeypatch.setattr(importer, "_held", nearly)
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(labelled().rows, labelled().labels)

    with pytest.raises(BundleError, match=r"otherwise than sklearn does .*; nothing was written"):
        imported(dumped(model, tmp_path / "team.joblib"))

    assert Registry(tmp_path / "models").versions() == []


@pytest.mark.parametrize(("release", "counts"), [((0, 22), True), ((1, 3), True), ((1, 4), False), ((1, 9), False)])
def test_a_forests_nodes_are_shares_whether_its_scikit_learn_keeps_counts_or_shares(
    monkeypatch: pytest.MonkeyPatch, release: tuple[int, int], *, counts: bool
) -> None:
    shares = np.array([[[0.25, 0.75]], [[1.0, 0.0]]])
    tree = SimpleNamespace(value=shares * np.array([8, 3]).reshape(2, 1, 1) if counts else shares)
    monkeypatch.setattr(unpickle, "_release", lambda package: release)

    assert unpickle._values(SimpleNamespace(tree_=tree), "RandomForestClassifier", 1).tolist() == [0.75, 0.0]


def test_numbers_that_are_no_probabilities_are_called_a_misreading_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = importer.converted
    wrong = r"Riskline misreads this file of sklearn's .*not of the model's, so report it .*train the model again"

    def counted(facts: Any, arrays: Any) -> Any:
        return converted(facts, {**arrays, "value": arrays["value"] * 36})

    monkeypatch.setattr(importer, "converted", counted)
    with pytest.raises(BundleError, match=wrong):
        imported(dumped(forest(), tmp_path / "team.joblib"))
    with pytest.raises(BundleError, match=wrong):
        imported(
            dumped(
                CalibratedClassifierCV(FrozenEstimator(forest()), method="isotonic", ensemble=False).fit(
                    labelled().rows, labelled().labels
                ),
                tmp_path / "calibrated.joblib",
            )
        )
    assert Registry(tmp_path / "models").versions() == []


WRONG = {
    "never fitted": (lambda: RandomForestClassifier(2), "is a RandomForestClassifier that was never fitted: fit it"),
    "of another kind": (GaussianNB, r"is a sklearn.GaussianNB: supported are RandomForestClassifier"),
    "several models": (
        lambda: VotingClassifier([("one", forest()), ("line", LogisticRegression())], voting="soft"),
        r"is a VotingClassifier of several models, .* import the best of them .one of its estimators_. alone",
    ),
    "bagged lines": (
        lambda: BaggingClassifier(GaussianNB(), n_estimators=2),
        "is a BaggingClassifier of GaussianNBs: only one of decision trees can be held",
    ),
    "a regressor": (lambda: RandomForestRegressor(2), "is a sklearn.RandomForestRegressor"),
    "never calibrated": (lambda: CalibratedClassifierCV(forest()), "a CalibratedClassifierCV that was never fitted"),
    "calibrated by parts": (
        lambda: CalibratedClassifierCV(RandomForestClassifier(2), cv=2),
        "a CalibratedClassifierCV of 2 models, whose mean has no exact reasons: fit it with ensemble=False",
    ),
    "calibrated by temperature": (
        lambda: CalibratedClassifierCV(RandomForestClassifier(2), method="temperature", ensemble=False, cv=2),
        "method='temperature': fit it with method='sigmoid' or 'isotonic'",
    ),
    "calibrated twice": (
        lambda: CalibratedClassifierCV(
            CalibratedClassifierCV(RandomForestClassifier(2), ensemble=False, cv=2), ensemble=False, cv=2
        ),
        "is calibrated twice",
    ),
    "a step": (lambda: make_pipeline(PolynomialFeatures(), forest()), "the step polynomialfeatures"),
    "an estimator before it": (lambda: boosted().set_params(init=LogisticRegression()), "train it without init"),
    "categories": (
        lambda: HistGradientBoostingClassifier(max_iter=2, categorical_features=[1]),
        "train it with categorical_features=None",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_held_exactly_is_refused_with_the_way_there(kind: str) -> None:
    make, said = WRONG[kind]
    rows, labels = labelled().rows[:300].copy(), labelled().labels[:300].copy()
    rows[:, 1] %= 7
    labels[:9] = 1
    model = make()
    if ("calibrated" in kind and "never" not in kind) or kind == "bagged lines":
        model.fit(rows, labels)
    if kind in ("an estimator before it", "categories"):
        rows = rows / rows.max(axis=0)
        rows[:, 1] *= 6
        model.set_params(**({"n_estimators": 2} if kind != "categories" else {})).fit(rows, labels)

    with pytest.raises(unpickle.Unsupported, match=said):
        unpickle.describe(model)


@pytest.mark.parametrize(
    ("labels", "fraud_class", "said"),
    [
        (np.arange(300) % 3, None, "has the classes 0, 1, 2: say by --fraud-class which of them is fraud"),
        (np.array(["0", "1"])[np.arange(300) % 2], None, "has the classes 0, 1: say by --fraud-class"),
        (np.array(["no", "yes"])[np.arange(300) % 2], "fraud", "has no class 'fraud': it has no, yes"),
        (np.ones(300), None, "has the one class 1.0: train it with fraud and with what is none"),
    ],
)
def test_which_class_is_fraud_is_never_guessed(labels: Any, fraud_class: str | None, said: str) -> None:
    with pytest.raises(unpickle.Unsupported, match=said):
        unpickle.describe(RandomForestClassifier(2).fit(labelled().rows[:300], labels), fraud_class)


def test_of_several_classes_only_a_forests_shares_are_taken() -> None:
    rows, labels = labelled().rows[:300], np.arange(300) % 3

    with pytest.raises(unpickle.Unsupported, match="has 3 classes, and of several only a forest"):
        unpickle.describe(HistGradientBoostingClassifier(max_iter=2).fit(rows, labels), "2")


def test_an_error_while_scoring_is_told_as_such(tmp_path: Path) -> None:
    model = RandomForestClassifier(2).fit(labelled().rows[:300], labelled().labels[:300])
    model.estimators_[1].n_classes_ = np.array([2, 2])

    with pytest.raises(BundleError, match=r"its estimator cannot score the rows of the reference .\w+Error: "):
        imported(dumped(model, tmp_path / "team.joblib"))


def test_true_and_false_are_1_and_0() -> None:
    facts, _ = unpickle.describe(RandomForestClassifier(2).fit(labelled().rows[:300], np.arange(300) % 2 == 1))

    assert facts["estimator"] == "RandomForestClassifier"


def test_a_scaler_becomes_thresholds_to_the_last_bit() -> None:
    scaler = StandardScaler().fit(labelled().rows)
    model = make_pipeline(scaler, HistGradientBoostingClassifier(max_iter=5, random_state=0)).fit(
        labelled().rows, labelled().labels
    )
    facts, arrays = unpickle.describe(model)

    trees, scoring = fold_scaling(*importer._held(facts, arrays, None), facts["scaling"])

    rows = edge_rows(trees, labelled().rows)
    assert np.abs(Engine(trees, scoring, width=WIDTH).score(rows) - model.predict_proba(rows)[:, 1]).max() < 1e-12


def test_the_command_makes_a_version_and_serves_it_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RISKLINE_DATA", str(tmp_path / "data"))
    simulate(rows=1_000, seed=5).write_csv(tmp_path / "sample.csv")
    file = dumped(forest(), tmp_path / "team.joblib")
    words = ["models", "import", str(file), "--reference", str(tmp_path / "sample.csv"), "--json"]
    named = [
        "--features",
        ",".join(FEATURES),
        "--python",
        os.path.relpath(sys.executable),
        "--decline-threshold",
        "0.7",
    ]

    assert run([*words, *named, "--activate"]) == 0
    printed = capsys.readouterr()
    shown = orjson.loads(printed.out)
    registry = Registry(tmp_path / "data" / "models")
    assert registry.active_version() == shown["model_version"]
    assert registry.load_active(inputs_of(Transaction)).thresholds.decline == 0.7
    assert (shown["estimator"], tuple(shown["features"])) == ("RandomForestClassifier", FEATURES)
    assert (shown["max_difference"], shown["rows"]) == (0, 1_000)
    assert shown["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"runs the code in it (sha256 {shown['sha256']})" in printed.err
    assert run(["models", "verify", shown["model_version"]]) == 0

    rows = pl.read_csv(tmp_path / "sample.csv")
    rows.with_columns(is_fraud=pl.Series([None, *rows["is_fraud"][1:]])).write_csv(tmp_path / "sample.csv")
    assert run(words) == 1
    said = capsys.readouterr().err
    assert "note: only 999 of 1,000 rows of sample.csv have is_fraud, so no labels are used" in said
    assert "name them in its order by --features" in said
    assert run([*words, *named, "--label", "fraud"]) == 1
    assert "sample.csv has no column fraud; it has" in capsys.readouterr().err
    assert run([*words, "--decline-threshold", "0.2", "--review-threshold", "0.3"]) == 2
    assert len(registry.versions()) == 1
