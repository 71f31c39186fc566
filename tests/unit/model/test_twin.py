"""A version of a class with history: its twin is written, read and checked with it, and fits this history alone."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import pytest
from pydantic import AwareDatetime

from riskline import Count, Entity, EventTime, Exact, Mean, TransactionModel, feature
from riskline.shared.domain.inputs import Inputs, inputs_of
from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import MANIFEST, REFERENCE, TREES, TWIN, load_model, write_with_thresholds
from riskline.shared.model.mismatch import mismatch
from riskline.shared.model.registry import Registry
from tests.support.histories import Purchase
from tests.support.hostile import signed
from tests.support.models import write_version, write_version_with_history

LATER = "2026-11-24T04:00:00.000Z"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = write_version_with_history(tmp_path, Purchase, by_history=("purchases_1h", 4), by_twin=("cost", 100))
    return tmp_path / made.version


def test_a_twin_scores_its_own_columns_by_its_own_thresholds(bundle: Path) -> None:
    model = Registry(bundle.parent).load(bundle.name, inputs_of(Purchase))

    assert sorted(path.name for path in bundle.iterdir()) == sorted([TREES, TWIN, MANIFEST, REFERENCE])
    assert model.twin is not None
    assert (model.feature_names, model.twin.feature_names) == inputs_of(Purchase)[:2]
    assert (model.thresholds, model.twin.thresholds) == (Thresholds(decline=0.6, review=0.5), Thresholds(decline=0.7))
    assert model.twin.version == model.version == bundle.name
    cost = model.twin.feature_names.index("cost")
    rows = np.zeros((2, len(model.twin.feature_names)))
    rows[1, cost] = 101
    assert model.twin.score(rows).tolist() == [0.1, 0.9]


def test_a_version_without_history_is_written_as_before(tmp_path: Path) -> None:
    """Byte for byte: an older release reads it, too."""
    made = write_version(tmp_path)

    said = orjson.loads((tmp_path / made.version / MANIFEST).read_bytes())
    assert said["format"] == 1
    assert list(said)[-2:] == ["training", "metrics"]


def test_a_version_with_history_is_one_that_older_releases_refuse_by_its_format(bundle: Path) -> None:
    assert orjson.loads((bundle / MANIFEST).read_bytes())["format"] == 2


def test_a_model_with_history_may_be_without_a_twin(tmp_path: Path) -> None:
    made = write_version_with_history(tmp_path, Purchase, by_history=("purchases_1h", 4), by_twin=None)

    model = Registry(tmp_path).load(made.version, inputs_of(Purchase))

    assert model.twin is None
    assert made.format == 2


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_damaged_twin_is_named(bundle: Path, damage: str) -> None:
    if damage == "missing":
        (bundle / TWIN).unlink()
    else:
        (bundle / TWIN).write_bytes((bundle / TREES).read_bytes())

    with pytest.raises(BundleError, match=rf"{bundle.name}: twin\.npz (is missing|was altered)"):
        load_model(bundle)


def test_a_twin_in_a_file_that_the_manifest_vouches_for_is_checked_as_the_model_is(bundle: Path) -> None:
    (bundle / TWIN).write_bytes((bundle / TREES).read_bytes())
    said = orjson.loads((bundle / MANIFEST).read_bytes())["twin"]

    with pytest.raises(BundleError, match=r"twin\.npz a node asks for a feature that is not among the 1"):
        load_model(signed(bundle, twin={**said, "features": ["cost"]}))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 1}, "has format 1, and says what format 2 has"),
        ({"history": None}, "has format 2, and says what format 1 has"),
        ({"history": None, "format": 1}, "says of a twin, and not of the history that it lacks"),
        ({"history": {"fingerprint": "\n", "columns": {}}}, "does not say what it must in: history.fingerprint"),
        ({"twin": {"features": []}}, "does not say what it must in: twin."),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(bundle: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(BundleError, match=why):
        load_model(signed(bundle, **changes))


def test_a_reference_of_the_twin_is_checked(bundle: Path) -> None:
    (bundle / REFERENCE).write_bytes(orjson.dumps({"features": {}, "twin": {"features": {"cost": [2, 1]}}}))

    with pytest.raises(BundleError, match=r"reference\.json has not the 101 percentiles of cost"):
        load_model(signed(bundle))


class Payment(TransactionModel):
    """Two columns of history."""

    at: Annotated[AwareDatetime, EventTime]
    card_id: Annotated[str, Entity("30d")]
    cost: Annotated[float, Exact(2)]
    often: Annotated[int, Count("card_id", "1h")]
    usual: Annotated[float, Mean("cost", "card_id", "30d")]

    @feature
    def ratio(self) -> float:
        """Of the cost to what is usual."""
        return self.cost / max(self.usual, 1.0)


class OtherWindows(Payment):
    """The same names, with other windows."""

    often: Annotated[int, Count("card_id", "2h")]


class OtherKeep(Payment):
    """The same columns of cards that are kept for longer."""

    card_id: Annotated[str, Entity("31d")]


class OtherTwin(Payment):
    """The same columns, of which another one is made without history."""

    @feature
    def ratio(self) -> float:
        """Without history."""
        return self.cost / 100


class AsSent(TransactionModel):
    """The same names, all of them sent."""

    cost: float
    often: int
    usual: float

    @feature
    def ratio(self) -> float:
        """Of the cost to what is usual."""
        return self.cost / max(self.usual, 1.0)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (
            OtherWindows,
            r"other history than the transaction class has: often was count in 1h by card_id and is count in 2h",
        ),
        (OtherKeep, r"its event time, how long it keeps entities, or which values it ignores has changed"),
        (OtherTwin, r"the twin of .* was made for the features cost, the transaction class has cost, ratio without"),
        (AsSent, r"was made of often, usual as history, which the transaction class takes as sent"),
        (Transaction, r"was made for the features cost, often, usual, ratio, the transaction class has"),
    ],
)
def test_a_version_made_with_another_history_is_refused_and_the_active_one_stays(
    tmp_path: Path, other: type[TransactionModel], why: str
) -> None:
    made = write_version_with_history(tmp_path, Payment, by_history=("often", 4), by_twin=("cost", 100))
    registry = Registry(tmp_path)
    registry.load(made.version, inputs_of(Payment))

    with pytest.raises(BundleError, match=why) as refused:
        registry.activate(made.version, inputs_of(other))

    assert "; " in str(refused.value)
    assert "\n" not in str(refused.value)
    assert registry.active_version() is None


def test_a_version_made_of_columns_as_sent_is_refused_by_a_class_that_computes_them(tmp_path: Path) -> None:
    made = write_version_with_history(tmp_path, AsSent, by_history=("often", 4), by_twin=None)

    said = mismatch(made, inputs_of(Payment))

    assert said is not None
    assert "was made of often, usual as sent, not as history; train a version of this class" in said


def test_inputs_of_a_class_without_history_are_its_features_alone() -> None:
    assert inputs_of(Transaction) == Inputs(Transaction.feature_names())


@pytest.mark.parametrize("of_twin", [False, True])
def test_other_thresholds_of_either_leave_the_other_as_it_is(bundle: Path, *, of_twin: bool) -> None:
    before, chosen = load_model(bundle), Thresholds(decline=0.9)

    made = write_with_thresholds(bundle, thresholds=chosen, created_at=LATER, of_twin=of_twin)

    after = load_model(bundle.parent / made.version)
    assert before.twin is not None
    assert after.twin is not None
    changed, same = (after.twin, after) if of_twin else (after, after.twin)
    assert changed.thresholds == chosen
    assert same.thresholds == (before if of_twin else before.twin).thresholds
    assert made.history == before.manifest.history
    assert (bundle / TWIN).read_bytes() == (bundle.parent / made.version / TWIN).read_bytes()
    assert made.training["made_of"]["version"] == bundle.name
    with pytest.raises(BundleError, match="has these thresholds already"):
        write_with_thresholds(bundle.parent / made.version, thresholds=chosen, created_at=LATER, of_twin=of_twin)


def test_a_version_without_a_twin_has_no_thresholds_of_one(tmp_path: Path) -> None:
    made = write_version(tmp_path)

    with pytest.raises(BundleError, match="has no twin that decides without history"):
        write_with_thresholds(tmp_path / made.version, thresholds=Thresholds(), created_at=LATER, of_twin=True)
