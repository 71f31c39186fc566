"""A process keeps the model that it serves until a better one is there."""

from pathlib import Path

import pytest

from shared.errors import BundleError
from shared.metrics import MODEL_INFO
from shared.model.bundle import TREES
from shared.model.registry import ACTIVE, Registry
from shared.model.serving import Serving
from shared.transaction import Transaction
from tests.unit.models import write_version

FEATURES = Transaction.feature_names()


@pytest.fixture
def versions(tmp_path: Path) -> list[str]:
    return [write_version(tmp_path, created_at=f"2026-11-2{day}T00:00:00.000Z").version for day in (1, 2, 3)]


@pytest.fixture
def registry(tmp_path: Path, versions: list[str]) -> Registry:
    return Registry(tmp_path)


@pytest.fixture
def serving(registry: Registry, versions: list[str]) -> Serving:
    registry.activate(versions[0])
    serving = Serving(registry, FEATURES)
    serving.refresh()
    return serving


def test_nothing_serves_until_a_model_is_active(registry: Registry, versions: list[str]) -> None:
    serving = Serving(registry, FEATURES)
    with pytest.raises(BundleError, match="no model was loaded yet"):
        serving.require()

    serving.refresh()
    with pytest.raises(BundleError, match="riskline models activate"):
        serving.require()

    registry.activate(versions[0])
    serving.refresh()
    assert serving.require().version == versions[0]
    assert serving.problem == ""


def test_an_activated_model_takes_the_place_of_the_one_before(
    registry: Registry, versions: list[str], serving: Serving
) -> None:
    registry.activate(versions[1])
    serving.refresh()

    assert serving.require().version == versions[1]
    assert MODEL_INFO.labels(versions[0])._value.get() == 0
    assert MODEL_INFO.labels(versions[1])._value.get() == 1


def test_a_model_that_serves_already_is_not_loaded_again(serving: Serving) -> None:
    before = serving.require()

    serving.refresh()

    assert serving.require() is before


def test_the_old_model_stays_when_a_new_one_is_refused_and_goes_when_a_good_one_is_active(
    tmp_path: Path, registry: Registry, versions: list[str], serving: Serving
) -> None:
    (tmp_path / ACTIVE).write_text(versions[1])
    (tmp_path / versions[1] / TREES).write_bytes(b"damaged")
    serving.refresh()
    assert serving.require().version == versions[0]
    assert f"{TREES} was altered" in serving.problem

    registry.activate(versions[2])
    serving.refresh()
    assert serving.require().version == versions[2]
    assert serving.problem == ""


def test_the_old_model_stays_when_the_pointer_goes_away_or_cannot_be_read(
    tmp_path: Path, versions: list[str], serving: Serving
) -> None:
    (tmp_path / ACTIVE).unlink()
    serving.refresh()
    assert serving.require().version == versions[0]

    (tmp_path / ACTIVE).write_bytes(b"\xff\xfe\xff")
    serving.refresh()
    assert serving.require().version == versions[0]
    assert "activate a version anew" in serving.problem


def test_a_refusal_is_logged_once_for_each_version(
    tmp_path: Path, versions: list[str], serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []

    class Log:
        def error(self, event: str, *, problem: str) -> None:
            logged.append(problem)

    monkeypatch.setattr("shared.model.serving.log", Log())
    for version in versions[1:]:
        (tmp_path / version / TREES).write_bytes(b"damaged")
        (tmp_path / ACTIVE).write_text(version)
        serving.refresh()
        serving.refresh()

    assert [next(version for version in versions if version in line) for line in logged] == versions[1:]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc", "a/b", "a/", ".hidden"])
def test_a_name_that_is_no_version_is_refused_by_its_name(registry: Registry, name: str) -> None:
    for use in (registry.activate, registry.load, registry.manifest):
        with pytest.raises(BundleError, match="is not the name of a model version"):
            use(name)
