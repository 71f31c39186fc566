"""A process keeps the model that it serves until a better one is there."""

import errno
import os
from pathlib import Path
from typing import Annotated, Any

import orjson
import pytest
from structlog.testing import capture_logs

from riskline import Count
from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.inputs import Inputs, inputs_of
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import TREES
from riskline.shared.model.registry import ACTIVE, Registry
from riskline.shared.model.serving import RETRY_SECONDS, Serving
from riskline.shared.store.interfaces import Claim
from riskline.shared.telemetry.metrics import MODEL_INFO
from riskline.worker.scoring.drain import outcomes
from tests.support.factories import AmountModel, transaction_json
from tests.support.histories import Purchase
from tests.support.models import write_version, write_version_with_history

FEATURES = Transaction.feature_names()
INPUTS = Inputs(FEATURES)


@pytest.fixture
def versions(tmp_path: Path) -> list[str]:
    return [write_version(tmp_path, created_at=f"2026-11-2{day}T00:00:00.000Z").version for day in (1, 2, 3)]


@pytest.fixture
def registry(tmp_path: Path, versions: list[str]) -> Registry:
    return Registry(tmp_path)


@pytest.fixture
def serving(registry: Registry, versions: list[str]) -> Serving:
    registry.activate(versions[0])
    serving = Serving(registry, INPUTS)
    serving.refresh()
    return serving


def test_nothing_serves_until_a_model_is_active(registry: Registry, versions: list[str]) -> None:
    serving = Serving(registry, INPUTS)
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

    monkeypatch.setattr("riskline.shared.model.serving.log", Log())
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


def test_a_version_that_is_wanted_no_more_is_no_problem_any_more(
    tmp_path: Path, versions: list[str], serving: Serving
) -> None:
    (tmp_path / ACTIVE).write_text(versions[1])
    (tmp_path / versions[1] / TREES).write_bytes(b"damaged")
    serving.refresh()
    assert (serving.wanted, bool(serving.problem)) == (versions[1], True)

    (tmp_path / ACTIVE).write_text(versions[0])
    serving.refresh()

    assert (serving.wanted, serving.problem) == (versions[0], "")


def test_a_refused_version_is_read_again_now_and_then_and_serves_once_it_is_whole(
    tmp_path: Path, registry: Registry, versions: list[str]
) -> None:
    now = [0.0]
    registry.activate(versions[0])
    serving = Serving(registry, INPUTS, clock=lambda: now[0])
    serving.refresh()
    whole = (tmp_path / versions[1] / TREES).read_bytes()
    (tmp_path / versions[1] / TREES).write_bytes(b"damaged")
    (tmp_path / ACTIVE).write_text(versions[1])
    serving.refresh()

    (tmp_path / versions[1] / TREES).write_bytes(whole)
    serving.refresh()
    assert serving.require().version == versions[0]
    now[0] += RETRY_SECONDS
    serving.refresh()

    assert (serving.require().version, serving.problem) == (versions[1], "")


def test_a_batch_under_way_is_decided_by_one_version_whatever_becomes_active_meanwhile(
    registry: Registry, versions: list[str], serving: Serving
) -> None:
    class Swapping(AmountModel):
        def score(self, rows: Rows) -> Rows:
            registry.activate(versions[1])
            serving.refresh()
            return super().score(rows)

    serving.model = Swapping(version=versions[0])
    queued = {"status": "queued", "submitted_at": "2026-11-24T03:15:07.123Z"}
    rows = [(name, {**queued, "transaction": transaction_json(transaction_id=name)}) for name in "abc"]

    done = outcomes(Claim(rows, 0), model=serving.require(), transaction_class=Transaction)

    assert serving.require().version == versions[1]
    assert {orjson.loads(each.decision)["model_version"] for each in done} == {versions[0]}


def test_a_directory_that_cannot_be_written_to_is_said_in_one_line(
    registry: Registry, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)

    with pytest.raises(BundleError, match=r"Read-only file system.*RISKLINE_MODEL_VERSION"):
        registry.activate(versions[0])


def test_a_lack_of_descriptors_is_no_refusal_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version that serves goes on; one line says what to raise, and one that it is over."""
    (tmp_path / ACTIVE).write_text("x\n")
    registry = Registry(tmp_path)
    serving = Serving(registry, Inputs(("amount",)))
    serving.model = AmountModel(version="x")
    opens = os.open

    def exhausted(*arguments: Any, **named: Any) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with capture_logs() as lines:
        monkeypatch.setattr("riskline.shared.model.untrusted.os.open", exhausted)
        serving.refresh()
        serving.refresh()
        monkeypatch.setattr("riskline.shared.model.untrusted.os.open", opens)
        serving.refresh()

    events = [line["event"] for line in lines]
    assert "model refused" not in events
    assert events == ["the active model cannot be looked at; tried again", "the active model can be looked at"]
    assert "ulimit -n" in lines[0]["problem"]
    assert serving.model is not None


@pytest.mark.parametrize("required", [True, False])
def test_where_history_is_required_the_twin_decides_nothing(tmp_path: Path, *, required: bool) -> None:
    made = write_version_with_history(tmp_path, Purchase, by_history=("purchases_1h", 4), by_twin=("items", 4))
    Registry(tmp_path).activate(made.version)
    serving = Serving(Registry(tmp_path), inputs_of(Purchase), history_required=required)

    serving.refresh()

    assert (serving.require().twin is None) is required


def test_a_class_that_changed_its_windows_is_told_so_and_the_model_that_serves_stays(tmp_path: Path) -> None:
    class Changed(Purchase):
        purchases_1h: Annotated[int, Count("card_id", "2h")]

    first = write_version_with_history(tmp_path, Changed, by_history=("purchases_1h", 4), by_twin=("items", 4))
    other = write_version_with_history(tmp_path, Purchase, by_history=("purchases_1h", 4), by_twin=("items", 4))
    registry = Registry(tmp_path)
    registry.activate(first.version)
    serving = Serving(registry, inputs_of(Changed))
    serving.refresh()

    registry.activate(other.version)
    serving.refresh()

    assert serving.require().version == first.version
    assert "purchases_1h was count in 1h by card_id and is count in 2h by card_id" in serving.problem
