"""The command line says which processes serve which version, and waits for a swap to be everywhere."""

from collections.abc import Iterator
from typing import Any

import pytest

from riskline.cli.doctor.finding import Verdict
from riskline.cli.doctor.models import versions_served
from riskline.cli.models.serving import ReadStates, cell, follow, pinned_note, remarks, with_processes
from riskline.shared.errors import InstallationError
from riskline.shared.settings import load_settings
from riskline.shared.store.status.processes import ProcessState
from tests.unit.store.test_processes import state

BAD = "model bundle v2: trees.npz was altered"


def looks(*rounds: list[ProcessState]) -> ReadStates:
    """What is seen one look after the other; the last one lasts."""
    coming: Iterator[list[ProcessState]] = iter(rounds)
    seen: list[list[ProcessState]] = []

    def look() -> list[ProcessState]:
        seen.append(next(coming, seen[-1] if seen else []))
        return seen[-1]

    return look


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("riskline.cli.models.serving", "riskline.cli.doctor.models"):
        monkeypatch.setattr(f"{module}.LOOK_AGAIN_SECONDS", 0.0)


def both(*versions: str | None, **changes: Any) -> list[ProcessState]:
    kinds = ("api", "worker")
    return [state(kind, kind=kind, version=version, **changes) for kind, version in zip(kinds, versions, strict=False)]


def test_a_swap_is_waited_for_until_it_is_everywhere() -> None:
    look = looks(both("v1", "v1"), both("v2", "v1", wanted="v2"), both("v2", "v2", wanted="v2"))

    assert follow("v2", look, before=[]) == "active: v2; all 2 processes serve it (api 1, workers 1)"


def test_where_no_process_runs_it_is_just_active() -> None:
    assert follow("v2", looks([]), before=[]) == "active: v2; no process serves yet"


def test_one_that_refuses_is_named_with_its_reason_at_once() -> None:
    refused = state("w", kind="worker", version="v1", wanted="v2", problem=BAD)

    with pytest.raises(InstallationError, match=r"1 of 2 processes do not serve v2: worker h \(pid 7\).*altered"):
        follow("v2", looks([state("a", version="v2", wanted="v2"), refused]), before=[])


def test_what_was_refused_before_is_tried_again() -> None:
    refused = state("w", kind="worker", version="v1", wanted="v2", problem=BAD)
    good = state("w", kind="worker", version="v2", wanted="v2")

    assert follow("v2", looks([refused], [refused], [good]), before=[refused]).startswith("active: v2; the one process")


def test_one_that_never_comes_is_named_in_the_end() -> None:
    with pytest.raises(InstallationError, match=r"1 of 2 processes do not serve v2: worker h .*RISKLINE_MODELS"):
        follow("v2", looks(both("v2", "v1")), before=[], wait_seconds=0.01)


def test_processes_that_a_setting_binds_are_not_waited_for() -> None:
    bound = state("w", kind="worker", version="v1", pinned=True)

    told = follow("v2", looks([state("a", version="v2"), bound]), before=[])

    assert told == (
        "active: v2; the one process serves it (api 1, workers 0); 1 more keep the version that their "
        "RISKLINE_MODEL_VERSION names"
    )
    assert remarks([bound]) == ["1 of 1 processes serve v1 whatever is active: RISKLINE_MODEL_VERSION names it there"]


def test_the_list_has_versions_that_only_a_process_has_and_says_where_it_does_not_know() -> None:
    shown: list[dict[str, Any]] = [{"version": "v1", "active": True}]

    known = with_processes(shown, [*both("v1", "v9"), state("c", version=None, problem="none")])
    unknown = with_processes(shown, None)

    assert [(each["version"], cell(each["serves_in"])) for each in known] == [
        ("v1", "api 1"),
        (None, "api 1"),
        ("v9", "workers 1"),
    ]
    assert [each.get("problem") for each in known] == [None, "no model serves", "not in this directory"]
    assert cell(unknown[0]["serves_in"]) == "?"
    assert cell(with_processes(shown, [])[0]["serves_in"]) == "-"


def test_the_setting_that_names_a_version_is_said_to_win(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pinned_note(load_settings(), active="v1") is None

    monkeypatch.setenv("RISKLINE_MODEL_VERSION", "v0")

    assert "v0 serves where it is, whatever is active (active: v1)" in str(pinned_note(load_settings(), active="v1"))


@pytest.mark.parametrize(
    ("states", "verdict", "said"),
    [
        ([], Verdict.OK, "no process runs"),
        (both("v1", "v1"), Verdict.OK, "v1 serves in api 1, workers 1"),
        (both("v1", "v2"), Verdict.WARN, "the processes serve different versions: v1 in api 1, workers 0, v2 in"),
        (both("v2", "v2"), Verdict.WARN, "v1 is active, and all serve v2"),
        ([state("w", kind="worker", version="v0", wanted="v1", problem=BAD)], Verdict.WARN, BAD),
    ],
    ids=["none", "one version", "two versions", "another one", "refused"],
)
def test_doctor_has_one_line_for_all_processes(states: list[ProcessState], verdict: Verdict, said: str) -> None:
    found = versions_served(looks(states), active="v1", swap_seconds=0.0)

    assert (found.check, found.verdict) == ("versions", verdict)
    assert said in found.detail


def test_doctor_gives_a_swap_its_time() -> None:
    found = versions_served(looks(both("v0", "v1"), both("v1", "v1")), active="v1", swap_seconds=60.0)

    assert found.verdict is Verdict.OK
