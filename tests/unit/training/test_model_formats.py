"""The formats of XGBoost and LightGBM, with and without the libraries."""

import random
from pathlib import Path

import numpy as np
import orjson
import pytest

from riskline.shared.errors import BundleError
from riskline.shared.model.engine import Engine
from riskline.shared.model.trees import Trees
from riskline.worker.training.imports.dialects import lightgbm_trees, xgboost_trees
from riskline.worker.training.imports.reference import largest_sums, require_same_scores
from tests.support.fitted import labelled
from tests.support.foreign_models import FEATURES, dumped, imported

XGBOOST = {
    "learner": {
        "gradient_booster": {
            "name": "gbtree",
            "model": {
                "trees": [
                    {
                        # the nodes that lie between belong to a branch that was pruned
                        "left_children": [3, -1, -1, -1, -1],
                        "right_children": [4, -1, -1, -1, -1],
                        "split_indices": [1, 0, 0, 0, 0],
                        "split_conditions": [0.1, 0, 0, -0.5, 0.25],
                        "sum_hessian": [4, 0, 0, 3, 1],
                        "tree_param": {"size_leaf_vector": "1"},
                    }
                ]
            },
        },
        "learner_model_param": {"base_score": "[2E-1]", "num_class": "0", "num_target": "1"},
        "objective": {"name": "binary:logistic"},
    }
}


def test_xgboost_goes_left_strictly_below_a_threshold_of_single_precision() -> None:
    trees, scoring = xgboost_trees(orjson.dumps(XGBOOST))
    border = np.float32(0.1)
    rows = np.zeros((3, 2))
    rows[:, 1] = [border, np.nextafter(border, np.float32(0)), 0.1]

    scores = Engine(trees, scoring, width=2).score(rows)

    right, left = (1 / (1 + np.exp(-(np.log(0.2 / 0.8) + leaf))) for leaf in (0.25, -0.5))
    assert scores == pytest.approx([right, left, right], abs=1e-7)
    assert len(trees.feature) == 3
    assert trees.value[0] == (3 * -0.5 + 0.25) / 4


@pytest.mark.parametrize(("initial", "expected"), [(None, -13.81551), (-13.8156, -13.81551), (-20.72, -20.723267)])
def test_xgboost_starts_where_its_own_release_does(initial: float | None, expected: float) -> None:
    text = orjson.dumps(XGBOOST).replace(b"[2E-1]", b"[1E-9]")

    assert xgboost_trees(text, initial=initial)[1].initial == pytest.approx(expected, abs=1e-5)


def test_a_tiny_probability_must_be_right_and_many_trees_in_single_precision_may_round() -> None:
    trees, scoring = xgboost_trees(orjson.dumps(XGBOOST).replace(b"[2E-1]", b"[1E-6]"))
    rows = np.zeros((2, 2))
    ours = Engine(trees, scoring, width=2).score(rows)
    assert largest_sums(trees, scoring, rows) == pytest.approx([14.31551, 14.31551], abs=1e-5)

    assert (
        require_same_scores(trees, scoring, rows, ours, ours.astype(np.float32).astype(float), library="xgboost")
        < 1e-12
    )
    with pytest.raises(BundleError, match=r"would score .* in log-odds .at most 0\.0001"):
        require_same_scores(trees, scoring, rows, ours, ours / 2, library="xgboost")

    half, apart = np.full(2, 0.5), np.full(2, 0.5 + 4e-6)
    many = Trees(**{**vars(trees), "roots": np.repeat(trees.roots, 20)})
    assert require_same_scores(many, scoring, rows, half, apart, library="xgboost") == pytest.approx(4e-6)
    for held, library in ((trees, "xgboost"), (many, "lightgbm")):
        with pytest.raises(BundleError, match="would score up to 4e-06 otherwise"):
            require_same_scores(held, scoring, rows, half, apart, library=library)


@pytest.mark.parametrize("broken", [b"{", b'{"learner": {}}', orjson.dumps(XGBOOST).replace(b"0.25]", b"]")])
def test_an_xgboost_model_that_is_not_whole_is_refused(broken: bytes) -> None:
    with pytest.raises(BundleError, match="it is not a whole XGBoost model"):
        xgboost_trees(broken)


@pytest.mark.parametrize(
    ("found", "instead", "said"),
    [
        (b'"gbtree"', b'"dart"', "train it with booster='gbtree'"),
        (b"binary:logistic", b"multi:softprob", "train it with objective='binary:logistic'"),
        (b'"num_class":"0"', b'"num_class":"3"', "several classes"),
        (b'"sum_hessian"', b'"categories_nodes":[0],"sum_hessian"', "splits by categories"),
    ],
)
def test_an_xgboost_model_of_another_kind_is_refused(found: bytes, instead: bytes, said: str) -> None:
    text = orjson.dumps(XGBOOST)
    assert found in text
    with pytest.raises(BundleError, match=said):
        xgboost_trees(text.replace(found, instead))


LIGHTGBM = """tree
version=v4
num_class=1
num_tree_per_iteration=1
objective=binary sigmoid:2
feature_names=a b

Tree=0
num_leaves=3
num_cat=0
split_feature=1 0
threshold=0.10000000000000001 5
decision_type=2 8
left_child=1 -1
right_child=-2 -3
leaf_value=-0.5 0.25 0.75
leaf_count=3 4 1
internal_count=8 4
is_linear=0

Tree=1
num_leaves=1
num_cat=0
leaf_value=0.125
is_linear=0

end of trees
"""


def test_lightgbm_goes_left_at_or_below_a_threshold_of_double_precision() -> None:
    trees, scoring = lightgbm_trees(LIGHTGBM)

    scores = Engine(trees, scoring, width=2).score(np.array([[5, 0.1], [6, 0.1], [5, np.nextafter(0.1, 1)]]))

    assert scores == pytest.approx([1 / (1 + np.exp(-2 * (leaf + 0.125))) for leaf in (-0.5, 0.75, 0.25)], abs=1e-15)
    assert trees.value[0] == (3 * -0.5 + 0.75 + 4 * 0.25) / 8


@pytest.mark.parametrize(
    ("found", "instead", "said"),
    [
        ("objective=binary", "objective=regression", "train it with objective='binary'"),
        ("num_class=1", "num_class=3", "which a bundle cannot hold"),
        ("num_cat=0", "num_cat=1", "columns of numbers"),
        ("decision_type=2 8", "decision_type=2 6", "zero_as_missing=False"),
        ("is_linear=0", "is_linear=1", "linear_tree=False"),
        ("threshold=0.10000000000000001 5", "threshold=0.1", "threshold has 1 numbers, not 2"),
        ("right_child=-2 -3", "right_child=0 -3", "not a whole LightGBM model"),
    ],
)
def test_a_lightgbm_model_of_another_kind_is_refused(found: str, instead: str, said: str) -> None:
    assert found in LIGHTGBM
    with pytest.raises(BundleError, match=said):
        lightgbm_trees(LIGHTGBM.replace(found, instead))


# a later XGBoost calls its random forests deprecated; teams have them all the same
@pytest.mark.filterwarnings("ignore:`XGBRFClassifier` is deprecated:FutureWarning")
@pytest.mark.parametrize("form", ["pkl", "json", "ubj", "named", "forest"])
def test_an_xgboost_classifier_scores_as_it_did(tmp_path: Path, form: str) -> None:
    xgboost = pytest.importorskip("xgboost", reason="XGBoost is no package of Riskline's; `pip install xgboost`")
    make = xgboost.XGBRFClassifier if form == "forest" else xgboost.XGBClassifier
    model = make(n_estimators=40, n_jobs=1).fit(labelled().rows, labelled().labels)
    file = tmp_path / f"team.{form}"
    if form in ("pkl", "forest"):
        dumped(model, file)
    else:
        model.get_booster().feature_names = list(FEATURES) if form == "named" else None
        file = file.with_suffix(".json") if form == "named" else file
        model.save_model(file)

    manifest = imported(file, named=None if form == "named" else FEATURES)

    assert manifest.training["max_difference"] <= 1e-6
    assert manifest.estimator == (make.__name__ if form in ("pkl", "forest") else "xgboost.Booster")


def test_a_large_xgboost_model_may_round_with_each_of_its_trees(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost", reason="XGBoost is no package of Riskline's; `pip install xgboost`")
    options = {"n_estimators": 400, "max_depth": 4, "scale_pos_weight": 50, "base_score": 1e-9, "n_jobs": 1}
    labels = np.random.default_rng(0).random(len(labelled().rows)) < 0.3
    model = xgboost.XGBClassifier(**options).fit(labelled().rows, labels)

    assert imported(dumped(model, tmp_path / "team.pkl")).training["max_difference"] < 1e-4


@pytest.mark.parametrize("form", ["pkl", "txt", "rf"])
def test_a_lightgbm_classifier_scores_as_it_did_to_the_last_bit(tmp_path: Path, form: str) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is no package of Riskline's; `pip install lightgbm`")
    forests = {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1} if form == "rf" else {}
    model = lightgbm.LGBMClassifier(n_estimators=40, n_jobs=1, verbose=-1, **forests)
    model.fit(labelled().rows, labelled().labels)
    file = tmp_path / f"team.{form}"
    if form == "txt":
        model.booster_.save_model(file)
    else:
        dumped(model, file)

    assert imported(file).training["max_difference"] == 0


@pytest.mark.parametrize("form", ["json", "ubj", "txt"])
def test_a_file_that_is_cut_off_or_altered_is_one_line_or_a_model_that_is_proven(tmp_path: Path, form: str) -> None:
    library = pytest.importorskip("lightgbm" if form == "txt" else "xgboost")
    if form == "txt":
        model = library.LGBMClassifier(n_estimators=3, num_leaves=5, n_jobs=1, verbose=-1)
        model.fit(labelled().rows, labelled().labels).booster_.save_model(tmp_path / "team.txt")
    else:
        model = library.XGBClassifier(n_estimators=3, max_depth=2, n_jobs=1)
        model.fit(labelled().rows, labelled().labels).save_model(tmp_path / f"team.{form}")
    content, chance = (tmp_path / f"team.{form}").read_bytes(), random.Random(form)
    for case in range(4):
        damaged = bytearray(content)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        damaged = damaged[: chance.randrange(len(damaged))] if case % 2 else damaged
        (tmp_path / f"{case}.{form}").write_bytes(damaged)
        try:
            imported(tmp_path / f"{case}.{form}", created_at=f"2026-11-24T03:15:{case:02}Z")
        except BundleError as error:
            assert f"{case}.{form}" in str(error)  # noqa: PT017  # either outcome is right
            assert str(error).isprintable()  # noqa: PT017  # same
