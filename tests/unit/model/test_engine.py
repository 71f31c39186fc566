"""The kernel: the estimator's own probabilities, whatever the rows, however many at a time."""

import struct
from pathlib import Path

import numpy as np
import pytest

from riskline.shared.errors import InstallationError
from riskline.shared.model import build, engine
from riskline.shared.model.engine import Engine
from riskline.shared.model.trees import LEAF
from riskline.worker.training.fit import Algorithm
from tests.support.fitted import WIDTH, a_stump, engine_of, fitted, labelled, rows_at_every_threshold

SUMMED = [Algorithm.HIST_GRADIENT_BOOSTING, Algorithm.ISOLATION_FOREST]


def test_a_forest_scores_cents_bit_for_bit_as_scikit_learn() -> None:
    forest, rows = fitted(Algorithm.RANDOM_FOREST), labelled(rows=20_000, seed=9).rows

    assert (engine_of(forest).score(rows) == forest.estimator.predict_proba(rows)[:, 1]).all()


def test_a_forest_scores_bit_for_bit_at_and_beside_every_threshold() -> None:
    forest = fitted(Algorithm.RANDOM_FOREST)
    rows = rows_at_every_threshold(forest.trees)

    assert (engine_of(forest).score(rows) == forest.estimator.predict_proba(rows)[:, 1]).all()


def test_boosting_scores_as_scikit_learn_at_and_beside_every_threshold() -> None:
    boosting = fitted(Algorithm.HIST_GRADIENT_BOOSTING)
    rows = np.concatenate([labelled().rows, rows_at_every_threshold(boosting.trees)])

    scores = engine_of(boosting).score(rows)

    assert np.abs(scores - boosting.estimator.predict_proba(rows)[:, 1]).max() <= 1e-12


def test_an_isolation_forest_is_a_curve_over_scikit_learns_score_at_and_beside_every_threshold() -> None:
    isolation = fitted(Algorithm.ISOLATION_FOREST)
    rows = rows_at_every_threshold(isolation.trees)[::40]

    scores = engine_of(isolation).score(rows)

    assert np.abs(scores - isolation.probabilities(rows)).max() <= 1e-9
    ranked = np.argsort(isolation.estimator.score_samples(rows))
    assert (np.diff(scores[ranked]) <= 1e-9).all()


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_row_scores_the_same_alone_and_in_a_batch_of_any_size(algorithm: Algorithm) -> None:
    model = engine_of(fitted(algorithm))
    rows = labelled().rows[:1_000]

    alone = [model.score_one(row) for row in rows.tolist()]

    for size in (1, 63, 64, 65, 1_000):
        assert model.score(rows[:size]).tolist() == alone[:size]
    assert model.score(rows[::-1]).tolist() == alone[::-1]
    assert model.score(rows[:0]).shape == (0,)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_contributions_do_not_depend_on_how_many_rows_are_explained_together(algorithm: Algorithm) -> None:
    model, rows = engine_of(fitted(algorithm)), labelled().rows[:300]

    alone = [model.explain(row[np.newaxis])[1][0].tolist() for row in rows]

    for size in (15, 16, 17, 63, 64, 65, 300):
        assert model.explain(rows[:size])[1].tolist() == alone[:size]
    assert model.explain(rows[::-1])[1].tolist() == alone[::-1]


def test_contributions_and_base_add_up_to_a_forests_probability() -> None:
    forest, rows = fitted(Algorithm.RANDOM_FOREST), labelled().rows
    model = engine_of(forest)

    total = forest.scoring.base + model.explain(rows)[1].sum(axis=1)

    assert np.abs(total - model.score(rows)).max() < 1e-12


@pytest.mark.parametrize("algorithm", SUMMED)
def test_contributions_and_base_add_up_to_log_odds(algorithm: Algorithm) -> None:
    summed, rows = fitted(algorithm), labelled().rows
    model = engine_of(summed)

    log_odds = summed.scoring.base + model.explain(rows)[1].sum(axis=1)

    assert np.abs(1 / (1 + np.exp(-log_odds)) - model.score(rows)).max() < 1e-9


def test_a_feature_that_no_split_asks_for_contributes_nothing() -> None:
    model = Engine(*a_stump(), width=WIDTH)

    _, contributions = model.explain(np.array([[1000.0, 1, 2, 3, 4], [1000.5, 1, 2, 3, 4]]))

    assert contributions[:, 0] == pytest.approx([-0.4, 0.4])
    assert (contributions[:, 1:] == 0).all()


def test_every_valid_amount_has_a_score_however_large() -> None:
    forest = engine_of(fitted(Algorithm.RANDOM_FOREST))

    for amount in (5e-324, 3.5e38, 1.7e308):
        assert 0 <= forest.score_one([amount, 5942, 24, 1.7e308, 1]) <= 1


@pytest.mark.parametrize("shape", [(4,), (2, WIDTH - 1), (2, WIDTH + 1), (2, WIDTH, 1)])
def test_rows_of_another_shape_are_refused_before_the_kernel_reads_past_them(shape: tuple[int, ...]) -> None:
    model = Engine(*a_stump(), width=WIDTH)

    with pytest.raises(ValueError, match="not rows of 5 features"):
        model.score(np.zeros(shape))
    with pytest.raises(ValueError, match="not rows of 5 features"):
        model.explain(np.zeros(shape))
    with pytest.raises(struct.error):
        model.score_one([0.0] * (WIDTH + 1))


def test_rows_in_any_memory_order_are_read_right() -> None:
    model = engine_of(fitted(Algorithm.RANDOM_FOREST))
    rows = labelled().rows[:500]

    assert (model.score(np.asfortranarray(rows)) == model.score(rows)).all()
    assert (model.score(np.repeat(rows, 2, axis=0)[::2]) == model.score(rows)).all()


def test_inner_nodes_hold_the_mean_of_what_lies_below() -> None:
    trees = fitted(Algorithm.HIST_GRADIENT_BOOSTING).trees
    inner = trees.feature != LEAF

    low = np.minimum(trees.value[trees.left[inner]], trees.value[trees.right[inner]])
    high = np.maximum(trees.value[trees.left[inner]], trees.value[trees.right[inner]])

    assert (trees.value[inner] >= low - 1e-15).all()
    assert (trees.value[inner] <= high + 1e-15).all()


def test_a_kernel_that_was_not_built_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LIBRARY", tmp_path / "_kernel.so")

    with pytest.raises(InstallationError, match="run `make install`"):
        Engine(*a_stump(), width=WIDTH)


def test_a_kernel_of_another_layout_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "kernel.c"
    monkeypatch.setattr(engine, "LIBRARY", tmp_path / "_kernel.so")

    for older in ("int riskline_score_one(void) { return 0; }", "const int riskline_layout = 1;"):
        source.write_text(older + "\n")
        build.build(sources=[source], library=tmp_path / "_kernel.so")
        engine._kernel.cache_clear()

        with pytest.raises(InstallationError, match="another version's source"):
            Engine(*a_stump(), width=WIDTH)


def test_with_the_systems_compiler_hidden_ziglang_builds_a_kernel_of_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ziglang", reason="ziglang is not installed: it is only where there is no other C compiler")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    forest, rows = fitted(Algorithm.RANDOM_FOREST), labelled().rows
    expected = engine_of(forest).score(rows)

    build.build(library=tmp_path / "_kernel.so")
    monkeypatch.setattr(engine, "LIBRARY", tmp_path / "_kernel.so")

    assert (engine_of(forest).score(rows) == expected).all()
