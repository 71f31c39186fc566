"""Linear models from elsewhere: their own probabilities, and reasons that add up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC

from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError
from riskline.shared.model.registry import Registry
from tests.support.fitted import labelled
from tests.support.foreign_models import FEATURES, dumped, imported

ROWS, LABELS = labelled().rows, labelled().labels


def scaled(*scalers: Any, last: Any = None) -> Any:
    return make_pipeline(*(scalers or (StandardScaler(),)), last or LogisticRegression())


def calibrated(model: Any, method: str) -> Any:
    return CalibratedClassifierCV(model, method=method, ensemble=False)


MODELS: dict[str, Callable[[], Any]] = {
    "bare": lambda: LogisticRegression(max_iter=5_000),
    "standard": scaled,
    "without a mean": lambda: scaled(StandardScaler(with_mean=False)),
    "min and max": lambda: scaled(MinMaxScaler((-1, 3))),
    "robust": lambda: scaled(RobustScaler()),
    "largest": lambda: scaled(MaxAbsScaler()),
    "several scalers": lambda: scaled(RobustScaler(), MinMaxScaler(), StandardScaler()),
    "its own search for a penalty": lambda: scaled(last=LogisticRegressionCV(Cs=3, cv=2, l1_ratios=(0,))),
    "stochastic": lambda: scaled(last=SGDClassifier(loss="log_loss", random_state=0)),
    "sparse": lambda: scaled(last=LogisticRegression(l1_ratio=1, solver="liblinear", C=0.01)),
    "a vector machine": lambda: calibrated(scaled(last=LinearSVC()), "sigmoid"),
    "calibrated": lambda: calibrated(scaled(last=SGDClassifier(random_state=0)), "isotonic"),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_linear_model_scores_as_it_did_and_its_reasons_add_up(tmp_path: Path, kind: str) -> None:
    model = MODELS[kind]().fit(ROWS, LABELS)
    if kind == "sparse":
        model.steps[-1][1].sparsify()

    manifest = imported(dumped(model, tmp_path / "team.joblib"))
    serving = Registry(tmp_path / "models").load(manifest.version, inputs_of(Transaction))

    rows = ROWS[2_000:4_000]
    scores, contributions = serving.explain(rows)
    assert np.abs(serving.score(rows) - model.predict_proba(rows)[:, 1]).max() < 1e-12
    assert [serving.score_one(row) for row in rows[:200].tolist()] == serving.score(rows)[:200].tolist()
    assert np.array_equal(scores, serving.score(rows))
    total = serving.base + contributions.sum(axis=1)
    if manifest.scoring.link == "sigmoid":
        assert np.allclose(1 / (1 + np.exp(-total)), scores, rtol=1e-9)
    assert manifest.training["max_difference"] < 1e-12
    assert manifest.training["edge_rows"] == 5 * len(FEATURES)


def test_a_contribution_is_how_far_a_value_is_from_the_references_mean_times_its_weight(tmp_path: Path) -> None:
    model = scaled().fit(ROWS, LABELS)

    serving = imported_model(model, tmp_path)

    weights, mean = model[-1].coef_[0] / model[0].scale_, ROWS[:2_000].mean(axis=0)
    _, contributions = serving.explain(ROWS[:50])
    assert contributions == pytest.approx((ROWS[:50] - mean) * weights, rel=1e-9, abs=1e-12)
    assert serving.base == pytest.approx(logit(model.predict_proba(mean[np.newaxis])[0, 1]), rel=1e-9)


def test_columns_in_another_order_keep_their_weights(tmp_path: Path) -> None:
    order = [3, 0, 4, 2, 1]
    names = tuple(FEATURES[each] for each in order)
    model = scaled().fit(ROWS[:, order], LABELS)

    serving = imported_model(model, tmp_path, named=names)

    assert np.abs(serving.score(ROWS) - model.predict_proba(ROWS[:, order])[:, 1]).max() < 1e-12


def test_every_valid_amount_has_a_score_however_large(tmp_path: Path) -> None:
    serving = imported_model(scaled().fit(ROWS, LABELS), tmp_path)

    rows = np.array([[far, 5942, 24, -far, 1] for far in (5e-324, 1e150, 1.7e308, -1.7e308)])

    assert (serving.score(rows) >= 0).all()
    assert np.isfinite(serving.explain(rows)[1]).all()


def test_what_a_large_mean_would_cancel_out_is_kept(tmp_path: Path) -> None:
    far = ROWS * [1e-6, 1, 1, 1, 1] + [1e9, 0, 0, 0, 0]
    model = scaled().fit(far, LABELS)

    manifest = imported(dumped(model, tmp_path / "team.joblib"))

    assert manifest.training["max_difference"] < 1e-12


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: scaled(MinMaxScaler(clip=True)), "its scaler clips, which no weight can: train it with clip=False"),
        (LinearSVC, "which gives no probability: fit a CalibratedClassifierCV"),
        (lambda: SGDClassifier(random_state=0), "train it with loss='log_loss', or fit a CalibratedClassifierCV"),
    ],
)
def test_what_is_no_log_odds_or_no_weight_is_refused_with_the_way(
    tmp_path: Path, make: Callable[[], Any], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        imported(dumped(make().fit(ROWS, LABELS), tmp_path / "team.joblib"))


@pytest.mark.parametrize("alone", [True, False])
def test_a_model_without_its_scaler_is_noticed(tmp_path: Path, *, alone: bool) -> None:
    model, told = scaled().fit(ROWS, LABELS), []

    imported(dumped(model[-1] if alone else model, tmp_path / "team.joblib"), warn=told.append)

    assert any("dump make_pipeline(scaler, model) as one" in each for each in told) is alone


def imported_model(model: Any, directory: Path, **options: Any) -> Any:
    manifest = imported(dumped(model, directory / "team.joblib"), **options)
    return Registry(directory / "models").load(manifest.version, inputs_of(Transaction))
