"""Which version serves: activated, rolled back, pinned; and what cannot serve changes nothing."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from riskline.shared.domain.inputs import Inputs
from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import TREES, Ensemble, write_bundle
from riskline.shared.model.registry import Registry
from tests.support.fitted import a_stump

FEATURES = Transaction.feature_names()
INPUTS = Inputs(FEATURES)


def add_version(models_dir: Path, *, day: int, features: tuple[str, ...] = FEATURES) -> str:
    trees, scoring = a_stump(threshold=float(day))
    return write_bundle(
        models_dir,
        Ensemble(
            trees=trees,
            scoring=scoring,
            features=features,
            thresholds=Thresholds(),
            estimator="stump",
            metrics={},
            reference={},
        ),
        libraries={},
        created_at=f"2026-11-{day:02}T00:00:00Z",
        training={},
    ).version


def damage(models_dir: Path, version: str) -> None:
    with (models_dir / version / TREES).open("ab") as file:
        file.write(b"\0")


def test_without_any_model_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")

    assert registry.versions() == []
    assert registry.active_version() is None
    with pytest.raises(BundleError, match=r"models: make one by `riskline train FILE`"):
        registry.load_active(INPUTS)


def test_without_an_active_model_the_message_says_how_to_choose_one(tmp_path: Path) -> None:
    add_version(tmp_path, day=1)

    with pytest.raises(BundleError, match="is active: choose one by `riskline models activate VERSION`"):
        Registry(tmp_path).load_active(INPUTS)


def test_a_report_changes_nothing_of_the_order_of_versions_made_in_one_second(tmp_path: Path) -> None:
    made = [add_version(tmp_path, day=1, features=FEATURES[: 5 - number]) for number in range(2)]
    registry = Registry(tmp_path)

    time.sleep(0.01)
    registry.report_path(made[0]).write_text("kept later")

    assert registry.versions() == made


def test_versions_are_listed_oldest_first_without_unfinished_ones(tmp_path: Path) -> None:
    second, first = add_version(tmp_path, day=2), add_version(tmp_path, day=1)
    registry = Registry(tmp_path)
    registry.activate(first)
    (tmp_path / ".unfinished-x").mkdir()

    assert registry.versions() == [first, second]


def test_the_activated_version_serves(tmp_path: Path) -> None:
    first, second = add_version(tmp_path, day=1), add_version(tmp_path, day=2)
    registry = Registry(tmp_path)

    for version in (second, first):
        registry.activate(version, INPUTS)

        model = registry.load_active(INPUTS)
        assert registry.active_version() == model.version == version


def test_rollback_serves_the_version_before_and_again_the_one_after(tmp_path: Path) -> None:
    first, second = add_version(tmp_path, day=1), add_version(tmp_path, day=2)
    registry = Registry(tmp_path)
    registry.activate(first)
    registry.activate(second)
    registry.activate(second)

    assert registry.rollback() == first
    assert registry.active_version() == first
    assert registry.rollback(INPUTS) == second


def test_rollback_without_a_version_before_says_so(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.activate(add_version(tmp_path, day=1))

    with pytest.raises(BundleError, match="no version was active before"):
        registry.rollback()


def test_a_damaged_version_is_not_activated_and_the_active_one_stays(tmp_path: Path) -> None:
    good, bad = add_version(tmp_path, day=1), add_version(tmp_path, day=2)
    registry = Registry(tmp_path)
    registry.activate(good)
    damage(tmp_path, bad)

    with pytest.raises(BundleError, match=f"{bad}.*trees.npz was altered"):
        registry.activate(bad)

    assert registry.load_active(INPUTS).version == good


def test_a_rollback_to_a_damaged_version_changes_nothing(tmp_path: Path) -> None:
    bad, good = add_version(tmp_path, day=1), add_version(tmp_path, day=2)
    registry = Registry(tmp_path)
    registry.activate(bad)
    registry.activate(good)
    damage(tmp_path, bad)

    with pytest.raises(BundleError, match=bad):
        registry.rollback()

    assert registry.active_version() == good


def test_a_rollback_to_a_model_for_other_features_changes_nothing(tmp_path: Path) -> None:
    other, good = add_version(tmp_path, day=1, features=FEATURES[::-1]), add_version(tmp_path, day=2)
    registry = Registry(tmp_path)
    registry.activate(other)
    registry.activate(good)

    with pytest.raises(BundleError, match=other):
        registry.rollback(INPUTS)

    assert registry.active_version() == good


def test_a_model_for_other_features_is_refused_with_both_lists(tmp_path: Path) -> None:
    swapped = (*FEATURES[1::-1], *FEATURES[2:])
    version = add_version(tmp_path, day=1, features=swapped)
    registry = Registry(tmp_path)
    registry.activate(version)

    with pytest.raises(BundleError) as refused:
        registry.load_active(INPUTS)
    with pytest.raises(BundleError):
        registry.activate(version, INPUTS)

    assert version in str(refused.value)
    assert ", ".join(swapped) in str(refused.value)
    assert ", ".join(FEATURES) in str(refused.value)


def test_a_pinned_version_serves_whatever_is_active(tmp_path: Path) -> None:
    first, second = add_version(tmp_path, day=1), add_version(tmp_path, day=2)
    Registry(tmp_path).activate(second)

    pinned = Registry(tmp_path, pinned_version=first)

    assert pinned.active_version() == first
    assert pinned.load_active(INPUTS).version == first


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "..", ".", "", ".unfinished-x", "/etc"])
def test_a_name_that_leaves_the_directory_is_no_version(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError):
        Registry(tmp_path).load(name)


def test_an_unreadable_pointer_is_named(tmp_path: Path) -> None:
    (tmp_path / "active").write_bytes(b"\xff\xfe")

    with pytest.raises(BundleError, match=r"active cannot be read .* activate a version anew"):
        Registry(tmp_path).active_version()


def test_an_activation_that_fails_halfway_leaves_the_active_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = add_version(tmp_path, day=1), add_version(tmp_path, day=2)
    registry = Registry(tmp_path)
    registry.activate(first)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(BundleError, match=r"cannot be written to \(No space left on device\): mend that"):
            registry.activate(second)

    assert registry.load_active(INPUTS).version == first
    assert sorted(path.name for path in tmp_path.iterdir()) == [first, second, "active"]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "bytes that are no text": lambda active: active.write_bytes(b"\xff\xfe"),
    "more than a name": lambda active: active.write_text("20261101T000000-a3e1cdfe extra\n"),
    "a directory": lambda active: (active.mkdir(), (active / "kept").touch()),
    "a link": lambda active: active.symlink_to("elsewhere"),
    "a link to a directory": lambda active: active.symlink_to("."),
    "a version that is gone": lambda active: active.write_text("20250101T000000-12345678\n"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
@pytest.mark.parametrize("pointer", ["active", "previous"])
def test_a_damaged_pointer_is_mended_by_activating_a_version(
    tmp_path: Path, damage: Callable[[Path], object], pointer: str
) -> None:
    first, second = add_version(tmp_path, day=1), add_version(tmp_path, day=2)
    registry = Registry(tmp_path)
    registry.activate(second)
    (tmp_path / pointer).unlink(missing_ok=True)
    damage(tmp_path / pointer)

    registry.activate(first, INPUTS)

    assert registry.load_active(INPUTS).version == first
    assert registry.versions() == [first, second]
    if pointer == "active":
        with pytest.raises(BundleError, match="no version was active before"):
            registry.rollback()
    else:
        assert registry.rollback() == second


def test_two_processes_of_the_same_number_do_not_write_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = add_version(tmp_path, day=1), add_version(tmp_path, day=2)
    registry, unfinished = Registry(tmp_path), []

    def seen(descriptor: int) -> None:
        unfinished.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fsync", seen)
    registry.activate(first)
    (tmp_path / "active").unlink()
    registry.activate(second)

    written = [each for each in unfinished if each.endswith("/active")]
    assert len(set(written)) == len(written) == 2


def test_a_model_loaded_before_a_switch_goes_on_serving(tmp_path: Path) -> None:
    first, second = add_version(tmp_path, day=1), add_version(tmp_path, day=2)
    registry = Registry(tmp_path)
    registry.activate(first)
    old = registry.load_active(INPUTS)

    registry.activate(second)
    damage(tmp_path, first)

    assert old.score(np.array([[1.5, 1.0, 1.0, 1.0, 1.0]])).tolist() == [0.9]
    assert registry.load_active(INPUTS).score_one([1.5, 1.0, 1.0, 1.0, 1.0]) == 0.1
