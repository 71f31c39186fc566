"""`riskline models thresholds`: other thresholds are another version of the same model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riskline.cli.main import run
from riskline.shared.domain.policy import Thresholds
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import write_with_thresholds
from riskline.shared.model.registry import Registry
from tests.support.models import write_version

LATER = "2026-11-24T04:00:00.000Z"


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("RISKLINE_MODELS", "RISKLINE_MODEL_VERSION", "RISKLINE_TRANSACTION", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RISKLINE_DATA", str(tmp_path))
    return write_version(tmp_path / "models").version


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def test_the_new_version_differs_in_its_thresholds_only_and_says_where_it_comes_from(
    version: str, registry: Registry, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "models" / version).iterdir()}
    chosen = Thresholds(decline=0.7, review=0.2)

    made = write_with_thresholds(tmp_path / "models" / version, thresholds=chosen, created_at=LATER)

    old, new = registry.load(version), registry.load(made.version)
    assert new.thresholds == chosen
    assert made.sha256 == old.manifest.sha256
    same = ("estimator", "libraries", "features", "scoring", "metrics", "format")
    assert {name: getattr(made, name) for name in same} == {name: getattr(old.manifest, name) for name in same}
    note = {"version": version, "thresholds": {"decline": 0.6, "review": 0.5}}
    assert made.training == {**old.manifest.training, "made_of": note}
    rows = np.random.default_rng(0).random((50, 5)) * 200
    assert old.score(rows).tolist() == new.score(rows).tolist()
    assert before == {path: path.read_bytes() for path in (tmp_path / "models" / version).iterdir()}


def test_the_same_thresholds_make_no_version(version: str, tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(BundleError, match="has these thresholds already"):
        write_with_thresholds(
            tmp_path / "models" / version, thresholds=Thresholds(decline=0.6, review=0.5), created_at=LATER
        )

    assert registry.versions() == [version]


def test_a_damaged_version_makes_none(version: str, tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "models" / version / "trees.npz").write_bytes(b"none")

    with pytest.raises(BundleError, match=r"trees\.npz"):
        write_with_thresholds(tmp_path / "models" / version, thresholds=Thresholds(decline=0.7), created_at=LATER)

    assert registry.versions() == [version]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--decline", "0.7"], Thresholds(decline=0.7, review=0.5)),
        (["--decline", "0.7", "--review", "0.1"], Thresholds(decline=0.7, review=0.1)),
        (["--decline", "0.4", "--no-review"], Thresholds(decline=0.4)),
    ],
)
def test_the_command_prints_the_new_version_and_leaves_the_one_that_serves(
    version: str, registry: Registry, words: list[str], expected: Thresholds, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.activate(version)

    assert run(["models", "thresholds", version, *words]) == 0

    made = capsys.readouterr().out.strip()
    assert registry.load(made).thresholds == expected
    assert registry.active_version() == version


def test_the_command_activates_if_one_says_so(
    version: str, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.activate(version)

    assert run(["models", "thresholds", version, "--decline", "0.9", "--activate"]) == 0

    said: Any = capsys.readouterr()
    assert registry.active_version() == said.out.strip() != version
    assert "active: " in said.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--decline", "0.3"], "above the decline threshold"),
        (["--decline", "0.3", "--review", "0.4"], "above the decline threshold"),
        (["--decline", "0.7", "--review", "0.4", "--no-review"], "contradicts --review"),
        (["--decline", "1.7"], "less than or equal to 1"),
        ([], "--decline"),
    ],
)
def test_wrong_usage_is_2_and_makes_nothing(
    version: str, registry: Registry, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "thresholds", version, *words]) == 2

    assert problem in capsys.readouterr().err
    assert registry.versions() == [version]
