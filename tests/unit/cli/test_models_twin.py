"""`riskline models` with versions of a class with history: their twins, and a history that is cold."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from riskline.cli.main import run
from riskline.cli.models import cold_history
from riskline.cli.models.training import activate_if_wanted
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.policy import Thresholds
from riskline.shared.errors import InstallationError
from riskline.shared.model.registry import Registry
from riskline.shared.settings import load_settings
from riskline.shared.store.history.interface import Mark
from tests.support.histories import Purchase
from tests.support.models import write_version, write_version_with_history

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000

History = Callable[[dict[str, Mark] | Exception], None]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    for name in ("RISKLINE_MODELS", "RISKLINE_MODEL_VERSION", "REDIS_URL", "RISKLINE_HISTORY_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RISKLINE_DATA", str(tmp_path))
    monkeypatch.setenv("RISKLINE_TRANSACTION", "tests.support.histories:Purchase")
    return Registry(tmp_path / "models")


def made(tmp_path: Path, *, day: int = 24, twin: bool = True) -> str:
    return write_version_with_history(
        tmp_path / "models",
        Purchase,
        by_history=("purchases_1h", 4),
        by_twin=("items", 4) if twin else None,
        created_at=f"2026-11-{day}T03:15:00.000Z",
    ).version


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> History:
    """Puts marks, or a failure, in the place of a history's."""

    def put(marks: dict[str, Mark] | Exception) -> None:
        async def read(_opened: object) -> dict[str, Mark]:
            await asyncio.sleep(0)
            if isinstance(marks, Exception):
                raise marks
            return marks

        monkeypatch.setattr(cold_history, "_marks", read)
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
        monkeypatch.setenv("RISKLINE_HISTORY_SECRET", "a secret of these tests")

    return put


def marks_of(*, live_since_us: int) -> dict[str, Mark]:
    plan = history_of(Purchase)
    assert plan is not None
    since = time.time_ns() // 1000 - live_since_us
    return {each.fingerprint: Mark(each.name, live_from_us=since) for each in plan.entities}


@pytest.mark.usefixtures("history")
def test_the_first_version_serves_at_once_and_says_that_it_is_cold(
    registry: Registry, tmp_path: Path, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    history({})
    version = made(tmp_path)

    assert run(["models", "activate", version, "--no-wait"]) == 0

    said = capsys.readouterr().err
    assert registry.active_version() == version
    assert "the history is cold: of card_id it has nothing of 30d" in said
    assert "riskline history backfill FILE" in said
    assert "\n" not in said.splitlines()[0]


def test_another_version_is_not_activated_on_a_cold_history_unless_one_says_so(
    registry: Registry, tmp_path: Path, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    history(marks_of(live_since_us=2 * DAY_US + 3 * HOUR_US))
    first, second = made(tmp_path), made(tmp_path, day=25)
    registry.activate(first)

    assert run(["models", "activate", second, "--no-wait"]) == 1

    said = capsys.readouterr().err
    assert registry.active_version() == first
    assert "of card_id it has 2d 3h of 30d" in said
    assert "; of device_id it has 2d 3h of 7d" in said
    assert f"or activate {second} as it is with --cold" in said

    assert run(["models", "activate", second, "--no-wait", "--cold"]) == 0
    assert registry.active_version() == second
    assert "the history is cold" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", [True, None])
def test_training_activates_the_first_version_and_no_other_one_on_a_cold_history(
    registry: Registry,
    tmp_path: Path,
    history: History,
    capsys: pytest.CaptureFixture[str],
    *,
    wanted: bool | None,
) -> None:
    history({})
    settings = load_settings(data=tmp_path)
    first, second = made(tmp_path), made(tmp_path, day=25)

    assert activate_if_wanted(settings, first, wanted=wanted)
    assert not activate_if_wanted(settings, second, wanted=wanted)

    assert registry.active_version() == first
    assert (f"or activate {second} as it is with --cold" in capsys.readouterr().err) is bool(wanted)


def test_where_nothing_runs_yet_the_first_version_is_told_how_its_history_comes(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "activate", made(tmp_path), "--no-wait"]) == 0

    assert registry.active_version() is not None
    assert "the history is not there yet: give it the past of a file" in capsys.readouterr().err


def test_no_secret_is_made_where_the_api_may_not_run(
    registry: Registry,
    tmp_path: Path,
    history: History,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    history({})
    monkeypatch.delenv("RISKLINE_HISTORY_SECRET")

    assert run(["models", "activate", made(tmp_path), "--no-wait"]) == 0

    assert registry.active_version() is not None
    assert not (tmp_path / "history_secret").exists()
    assert "whether the history is warm is not known" in capsys.readouterr().err


def test_a_warm_history_is_not_spoken_of(
    registry: Registry, tmp_path: Path, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    history(marks_of(live_since_us=40 * DAY_US))
    first, second = made(tmp_path), made(tmp_path, day=25)
    registry.activate(first)

    assert run(["models", "activate", second, "--no-wait"]) == 0

    assert registry.active_version() == second
    assert "history" not in capsys.readouterr().err


def test_where_the_history_cannot_be_asked_a_line_says_so(
    registry: Registry, tmp_path: Path, history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    history(InstallationError("Redis is away"))
    first, second = made(tmp_path), made(tmp_path, day=25)
    registry.activate(first)

    assert run(["models", "activate", second, "--no-wait"]) == 0

    assert registry.active_version() == second
    assert "whether the history is warm is not known (Redis is away" in capsys.readouterr().err


def test_a_rollback_asks_no_history(registry: Registry, tmp_path: Path, history: History) -> None:
    history(AssertionError())  # type: ignore[arg-type]
    first, second = made(tmp_path), made(tmp_path, day=25)
    registry.activate(first)
    registry.activate(second)

    assert run(["models", "rollback", "--no-wait"]) == 0

    assert registry.active_version() == first


def test_a_class_without_history_is_asked_for_none(
    registry: Registry, tmp_path: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(AssertionError())  # type: ignore[arg-type]
    monkeypatch.delenv("RISKLINE_TRANSACTION")
    version = write_version(tmp_path / "models").version

    assert run(["models", "activate", version, "--no-wait"]) == 0


def test_the_thresholds_of_the_twin_are_changed_alone(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = made(tmp_path)

    assert run(["models", "thresholds", version, "--twin", "--decline", "0.8", "--review", "0.2"]) == 0

    changed = registry.load(capsys.readouterr().out.strip())
    assert changed.twin is not None
    assert changed.twin.thresholds == Thresholds(decline=0.8, review=0.2)
    assert changed.thresholds == registry.load(version).thresholds


def test_the_twins_review_threshold_stays_where_none_is_named(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "thresholds", made(tmp_path), "--twin", "--decline", "0.55"]) == 0

    changed = registry.load(capsys.readouterr().out.strip())
    assert changed.twin is not None
    assert changed.twin.thresholds == Thresholds(decline=0.55)


@pytest.mark.parametrize("serves", [True, False])
def test_other_thresholds_of_what_serves_are_activated_on_a_cold_history_too(
    registry: Registry, tmp_path: Path, history: History, capsys: pytest.CaptureFixture[str], *, serves: bool
) -> None:
    history({})
    version, other = made(tmp_path), made(tmp_path, day=25)
    registry.activate(version if serves else other)

    code = run(["models", "thresholds", version, "--decline", "0.9", "--activate"])

    said = capsys.readouterr()
    assert code == (0 if serves else 1)
    assert registry.active_version() == (said.out.strip() if serves else other)
    assert (f"or activate {said.out.strip()} as it is with --cold" in said.err) is not serves


@pytest.mark.usefixtures("registry")
def test_thresholds_of_a_twin_that_is_not_there_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "thresholds", made(tmp_path, twin=False), "--twin", "--decline", "0.8"]) == 1

    assert "has no twin that decides without history" in capsys.readouterr().err


@pytest.mark.usefixtures("registry")
def test_the_list_says_which_have_a_twin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path)
    made(tmp_path, day=25, twin=False)
    write_version(tmp_path / "models", created_at="2026-11-26T03:15:00.000Z")

    assert run(["models", "list"]) == 0
    table = capsys.readouterr().out
    assert run(["models", "list", "--json"]) == 0
    listed: list[dict[str, Any]] = orjson.loads(capsys.readouterr().out)

    assert ["10 rows, history " in line for line in table.splitlines()[1:]] == [True, True, False]
    assert ["without a twin" in line for line in table.splitlines()[1:]] == [False, True, False]
    assert [each["twin"] is None for each in listed] == [False, True, True]
    assert [each["history"] is None for each in listed] == [False, False, True]
    assert listed[0]["twin"]["average_precision"] == 0.5


@pytest.mark.usefixtures("registry")
def test_show_and_verify_speak_of_the_twin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    version = made(tmp_path)

    assert run(["models", "show", version]) == 0
    shown = orjson.loads(capsys.readouterr().out)
    assert run(["models", "verify", version]) == 0

    assert shown["twin"]["thresholds"] == {"decline": 0.7, "review": None}
    assert shown["history"]["columns"]["purchases_1h"] == "count in 1h by card_id"
    assert "and so is its twin" in capsys.readouterr().err
