"""A bundle on disk: what is written is what is read, and every damage is refused by name."""

import hashlib
import io
import os
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import (
    MANIFEST,
    REFERENCE,
    TREES,
    Ensemble,
    Manifest,
    load_model,
    read_manifest,
    write_bundle,
)
from riskline.shared.model.trees import LEAF, MAX_WIDTH, Scoring, Trees
from riskline.worker.training.fit import Algorithm
from tests.support.fitted import a_stump, engine_of, fitted, labelled

CREATED_AT = "2026-11-24T03:15:07.123Z"


def write(models_dir: Path, trees: Trees | None = None, scoring: Scoring | None = None) -> Manifest:
    stump, identity = a_stump()
    return write_bundle(
        models_dir,
        Ensemble(
            trees=stump if trees is None else trees,
            scoring=identity if scoring is None else scoring,
            features=Transaction.feature_names(),
            thresholds=Thresholds(decline=0.8, review=0.4),
            estimator="stump",
            metrics={"roc_auc": 0.5},
            reference={"score": [0.1, 0.9]},
        ),
        libraries={"numpy": "2.4"},
        created_at=CREATED_AT,
        training={"rows": 3},
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tmp_path / write(tmp_path).version


def forge_manifest(bundle: Path, **changes: Any) -> None:
    manifest = orjson.loads((bundle / MANIFEST).read_bytes())
    (bundle / MANIFEST).write_bytes(orjson.dumps({**manifest, **changes}))


def forge_trees(bundle: Path, content: bytes) -> None:
    """Puts these bytes in the place of the trees, with a manifest that vouches for them."""
    (bundle / TREES).write_bytes(content)
    sha256 = orjson.loads((bundle / MANIFEST).read_bytes())["sha256"]
    forge_manifest(bundle, sha256={**sha256, TREES: hashlib.sha256(content).hexdigest()})


def arrays_of(changes: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=True, **{**asdict(a_stump()[0]), **changes})
    return content.getvalue()


def archive_of(changes: dict[str, bytes]) -> bytes:
    """The archive of the stump's arrays, with other bytes in the place of some of them."""
    content = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(arrays_of({}))) as stump,
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in stump.namelist():
            archive.writestr(name, changes.get(name.removesuffix(".npy"), stump.read(name)))
    return content.getvalue()


def assert_refused(bundle: Path, file: str, why: str) -> None:
    with pytest.raises(BundleError) as refused:
        load_model(bundle)

    message = str(refused.value)
    assert bundle.name in message
    assert file in message
    assert why in message
    assert "; " in message  # and then what to do
    assert "\n" not in message


@pytest.mark.parametrize("algorithm", Algorithm)
def test_what_was_written_scores_as_before(tmp_path: Path, algorithm: Algorithm) -> None:
    before = fitted(algorithm)
    rows = labelled().rows

    manifest = write(tmp_path, before.trees, before.scoring)
    model = load_model(tmp_path / manifest.version)

    assert (model.score(rows) == engine_of(before).score(rows)).all()
    assert (model.explain(rows)[1] == engine_of(before).explain(rows)[1]).all()
    assert model.manifest == manifest
    assert model.version == manifest.version
    assert model.base == before.scoring.base
    assert model.thresholds == Thresholds(decline=0.8, review=0.4)
    assert model.feature_names == Transaction.feature_names()


def test_versions_of_one_second_that_differ_in_anything_have_different_names(tmp_path: Path) -> None:
    _, identity = a_stump()

    first, second = write(tmp_path), write(tmp_path, scoring=identity.model_copy(update={"base": 0.25}))

    assert first.version[:16] == second.version[:16] == "20261124T031507-"
    assert first.version != second.version


def test_a_bundle_is_three_files(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == sorted([TREES, MANIFEST, REFERENCE])


def test_a_version_is_never_overwritten(bundle: Path) -> None:
    before = (bundle / MANIFEST).read_bytes()

    with pytest.raises(BundleError, match="one of this version already"):
        write(bundle.parent)

    assert (bundle / MANIFEST).read_bytes() == before


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        write(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_trees_that_cannot_be_scored_are_not_written(tmp_path: Path) -> None:
    trees, _ = a_stump()

    with pytest.raises(BundleError, match="cannot be written as a bundle: a child does not come after its parent"):
        write(tmp_path, replace(trees, left=np.array([0, LEAF, LEAF], dtype=np.int32)))

    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"20260101T000000-00000000: not there; `riskline models list`"):
        load_model(tmp_path / "20260101T000000-00000000")


@pytest.mark.parametrize("file", [TREES, MANIFEST, REFERENCE])
def test_a_missing_file_is_named(bundle: Path, file: str) -> None:
    (bundle / file).unlink()

    assert_refused(bundle, file, "is missing")


@pytest.mark.parametrize("file", [TREES, MANIFEST, REFERENCE])
def test_a_file_truncated_anywhere_is_named(bundle: Path, file: str) -> None:
    content = (bundle / file).read_bytes()

    for length in (0, 1, len(content) // 2, len(content) - 1):
        (bundle / file).write_bytes(content[:length])
        assert_refused(bundle, file, "truncated")


@pytest.mark.parametrize("file", [TREES, REFERENCE])
def test_a_file_with_one_altered_byte_is_named(bundle: Path, file: str) -> None:
    content = bytearray((bundle / file).read_bytes())

    content[len(content) // 2] ^= 1
    (bundle / file).write_bytes(content)

    assert_refused(bundle, file, "was altered")


@pytest.mark.parametrize("file", [TREES, MANIFEST, REFERENCE])
def test_a_link_in_the_place_of_a_file_is_named(bundle: Path, tmp_path: Path, file: str) -> None:
    (bundle / file).rename(tmp_path / "elsewhere")
    (bundle / file).symlink_to(tmp_path / "elsewhere")

    assert_refused(bundle, file, "is a link")


@pytest.mark.parametrize("file", [TREES, MANIFEST, REFERENCE])
def test_a_file_of_absurd_size_is_not_read(bundle: Path, file: str) -> None:
    os.truncate(bundle / file, 1 << 40)  # a sparse file: it takes no space

    assert_refused(bundle, file, "is larger than")


def test_a_newer_format_asks_for_a_newer_riskline(bundle: Path) -> None:
    forge_manifest(bundle, format=3, whatever="comes")

    assert_refused(bundle, MANIFEST, "has format 3, this Riskline reads up to 2; upgrade Riskline")


WEIGHED = {
    "inputs": "float64",
    "aggregation": "sum",
    "link": "sigmoid",
    "base": 0.0,
    "linear": {"weights": [1.0] * 5, "centres": [0.0] * 5},
}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 0}, "has format 0"),
        ({"format": "2"}, "has format 2, and says what format 1 has"),
        ({"format": None}, "format"),
        ({"sha256": {}}, "its sha256 is not the one in the manifest"),
        ({"version": "20260101T000000-00000000"}, "renamed or mixed up"),
        ({"features": []}, "0 features"),
        ({"thresholds": {"decline": 2}}, "thresholds.decline"),
        ({"thresholds": {"decline": 0.5, "review": 0.6}}, "thresholds"),
        ({"scoring": {"inputs": "float16"}}, "scoring.inputs"),
        ({"scoring": WEIGHED}, "has format 1, and says what format 2 has"),
        ({"format": 2, "scoring": {**WEIGHED, "link": "identity"}}, "its scores are not between 0 and 1"),
        ({"format": 2, "scoring": {**WEIGHED, "aggregation": "mean"}}, "it has weights, and a mean of trees"),
        ({"format": 2, "scoring": {**WEIGHED, "initial": 1e61}}, "its scores overflow"),
        (
            {"format": 2, "scoring": {**WEIGHED, "linear": {"weights": [1.0] * 4, "centres": [0.0] * 5}}},
            "it has 4 weights and 5 centres for 5 features",
        ),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(bundle: Path, changes: dict[str, Any], why: str) -> None:
    forge_manifest(bundle, **changes)

    of_trees = any(word in why for word in ("features", "its scores", "weights"))
    assert_refused(bundle, REFERENCE if "sha256" in why else TREES if of_trees else MANIFEST, why)


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [
        ([0, 1], [0.1], "2 places and 1 heights"),
        ([0, 0], [0.1, 0.2], "places do not rise"),
        ([1, 0], [0.1, 0.2], "places do not rise"),
        ([0, 1], [0.2, 0.1], "heights fall"),
        ([0, 1], [0.2, 1.1], "heights fall, or leave 0 to 1"),
        ([0, 1], [-0.1, 1], "heights fall, or leave 0 to 1"),
        ([-1.7e308, 1.7e308], [0, 1], "too near each other, or too far"),
        ([0, 5e-324, 1], [0, 1, 1], "too near each other, or too far"),
    ],
)
def test_a_calibration_that_is_no_rising_curve_is_refused(
    bundle: Path, x: list[float], y: list[float], why: str
) -> None:
    scoring = orjson.loads((bundle / MANIFEST).read_bytes())["scoring"]
    forge_manifest(bundle, scoring={**scoring, "calibration": {"kind": "isotonic", "x": x, "y": y}})

    assert_refused(bundle, TREES, why)


@pytest.mark.parametrize("content", [b"[]", b"null", b"\xff", b"[" * 100_000, b'{"format": NaN}'])
def test_a_manifest_that_is_no_object_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / MANIFEST).write_bytes(content)

    assert_refused(bundle, MANIFEST, "")


def int32(*values: int) -> Any:
    return np.array(values, dtype=np.int32)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"left": int32(0, LEAF, LEAF)}, "a child does not come after its parent"),
        ({"left": int32(-1, LEAF, LEAF)}, "a child does not come after its parent"),
        ({"right": int32(3, LEAF, LEAF)}, "a child does not come after its parent"),
        ({"right": int32(1, LEAF, LEAF)}, "a node belongs to no tree or to several"),
        ({"roots": int32(0, 1)}, "a node belongs to no tree or to several"),
        ({"roots": int32(3)}, "a root is not among the nodes"),
        ({"roots": int32(-1)}, "a root is not among the nodes"),
        ({"roots": int32()}, "there are no trees"),
        ({"feature": int32(5, LEAF, LEAF)}, "a feature that is not among the 5"),
        ({"feature": int32(-2, LEAF, LEAF)}, "a feature that is not among the 5"),
        ({"threshold": np.array([np.nan, 0, 0])}, "threshold has values that are not finite"),
        ({"value": np.array([0.5, np.inf, 0.9])}, "value has values that are not finite"),
        ({"value": np.array([0.5, 0.1, 1.5])}, "its scores are not between 0 and 1"),
        ({"value": np.array([0.5, 0.1])}, "value has 2 nodes, the array feature 3"),
        ({"value": np.array([0.5, 0.1, 0.9], dtype=np.float32)}, "value is not a row of float64"),
        ({"value": np.array([0.5, 0.1, 0.9], dtype=">f8")}, "value is not a row of float64"),
        ({"value": np.array([[0.5, 0.1, 0.9]])}, "value is not a row of float64"),
        ({"left": np.array([1, -1, -1])}, "left is not a row of int32"),
        ({"value": np.array([0.5, "x", None], dtype=object)}, "is not a file of arrays"),
        ({"more": int32(1)}, "has not the arrays"),
        ({name: int32() for name in ("feature", "left", "right")}, "nodes"),
    ],
)
def test_arrays_that_are_no_trees_are_refused_before_they_are_walked(
    bundle: Path, changes: dict[str, Any], why: str
) -> None:
    forge_trees(bundle, arrays_of(changes))

    assert_refused(bundle, TREES, why)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        b"\x80\x04\x95pickle",
        archive_of({"value": b"not an array"}),
        archive_of({})[:-30],
        archive_of({}).replace(b"PK\x03\x04", b"PK\x03\x05"),
    ],
)
def test_an_archive_that_is_none_is_refused_though_the_manifest_vouches_for_it(bundle: Path, content: bytes) -> None:
    forge_trees(bundle, content)

    assert_refused(bundle, TREES, "")


def test_reading_a_manifest_alone_does_not_touch_the_trees(bundle: Path) -> None:
    (bundle / TREES).unlink()

    assert read_manifest(bundle).estimator == "stump"


def test_trees_whose_sum_is_no_number_are_not_written(tmp_path: Path) -> None:
    trees, _ = a_stump()
    summed = Scoring(inputs="float64", aggregation="sum", link="sigmoid", scale=100.0, base=0.0)

    with pytest.raises(BundleError, match="its scores overflow"):
        write(tmp_path, replace(trees, value=np.array([0.0, 1e308, 1e308])), summed)


def test_a_manifest_that_is_nested_too_deep_is_refused(bundle: Path) -> None:
    content = (bundle / MANIFEST).read_bytes().replace(b'"rows": 3', b'"rows": ' + b"[" * 300 + b"]" * 300)
    (bundle / MANIFEST).write_bytes(content)

    assert_refused(bundle, MANIFEST, "is nested too deep")


def test_the_widest_model_is_written_so_that_it_can_be_read(tmp_path: Path) -> None:
    trees, scoring = a_stump()
    features = [f"feature_number_{i}" for i in range(MAX_WIDTH)]
    percentiles = np.sort(np.random.default_rng(0).random(101)).tolist()

    manifest = write_bundle(
        tmp_path,
        Ensemble(
            trees=trees,
            scoring=scoring,
            features=features,
            thresholds=Thresholds(),
            estimator="stump",
            metrics={},
            reference={"features": dict.fromkeys(features, percentiles)},
        ),
        libraries={},
        created_at=CREATED_AT,
        training={},
    )

    assert len(load_model(tmp_path / manifest.version).feature_names) == MAX_WIDTH
