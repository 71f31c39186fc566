"""`riskline doctor` and a class with history: what is there of the past, and what decides without it."""

from pathlib import Path

import pytest

from riskline.cli.doctor import history as checks
from riskline.cli.doctor.doctor import diagnose
from riskline.cli.doctor.finding import Verdict
from riskline.cli.models.cold_history import Coldness
from riskline.shared.model.registry import Registry
from tests.support.histories import Purchase
from tests.support.models import write_version, write_version_with_history

COLD = Coldness("the history is cold: of card_id it has 2d of 30d", is_certain=True)
UNKNOWN = Coldness("whether the history is warm is not known (Redis is away)", is_certain=False)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RISKLINE_MODELS", "RISKLINE_MODEL_VERSION", "RISKLINE_HISTORY", "REDIS_URL", "RISKLINE_TRANSACTION"):
        monkeypatch.delenv(name, raising=False)


def findings(data: Path, **settings: str) -> list[tuple[Verdict, str]]:
    found = diagnose(data=data, port=0, **settings)
    lines = [(each.verdict, each.detail) for each in found if each.check == "history"]
    return [(verdict, detail) for verdict, detail in lines if "secret" not in detail]


def serve(data: Path, *, twin: bool) -> None:
    made = write_version_with_history(
        data / "models", Purchase, by_history=("purchases_1h", 4), by_twin=("items", 4) if twin else None
    )
    Registry(data / "models").activate(made.version)


@pytest.mark.parametrize(
    ("twin", "mode", "cold", "expected"),
    [
        (True, "preferred", None, [(Verdict.OK, "warm")]),
        (False, "required", None, [(Verdict.OK, "warm")]),
        (False, "preferred", None, [(Verdict.WARN, "the model has no twin")]),
        (True, "preferred", COLD, [(Verdict.WARN, "of card_id it has 2d of 30d: give it the past of a file")]),
        (True, "preferred", UNKNOWN, [(Verdict.WARN, "is not known (Redis is away)")]),
        (False, "preferred", COLD, [(Verdict.WARN, "no twin"), (Verdict.WARN, "of card_id it has 2d of 30d")]),
    ],
)
def test_what_is_missing_is_a_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    twin: bool,
    mode: str,
    cold: Coldness | None,
    expected: list[tuple[Verdict, str]],
) -> None:
    monkeypatch.setattr(checks, "coldness", lambda _data: cold)
    serve(tmp_path, twin=twin)

    found = findings(tmp_path, transaction="tests.support.histories:Purchase", history=mode)

    assert [verdict for verdict, _ in found] == [verdict for verdict, _ in expected]
    assert all(said in detail for (_, detail), (_, said) in zip(found, expected, strict=True))


def test_a_class_without_history_has_no_such_line(tmp_path: Path) -> None:
    Registry(tmp_path / "models").activate(write_version(tmp_path / "models").version)

    assert findings(tmp_path) == []
