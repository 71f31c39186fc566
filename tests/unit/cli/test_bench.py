"""The pieces of the benchmark that give the figures: a wrong one would go unnoticed in a report."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import riskline.cli.main
import riskline.cli.operate.bench
from riskline.shared.errors import InstallationError
from tests.bench import report, service
from tests.bench.goals import Goal, goals
from tests.bench.load import parse
from tests.bench.processes import BenchError, running, wait_until
from tests.bench.results import Results, number, ratios, spread
from tests.bench.scenarios import sync
from tests.bench.scenarios.listed import SCENARIOS
from tests.bench.workspace import Workspace

WRK = """Running 5s test @ http://127.0.0.1:9001
  1 threads and 32 connections
RESULT {"per_second": 20000.5, "p50_ms": 1.5, "p99_ms": 4.25, "max_ms": 9.0, "requests": 100000, "errors": 2}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Workspace:
    (tmp_path / "app.py").touch()
    return Workspace(
        directory=tmp_path, guide=tmp_path, data=tmp_path, rounds=1, seconds=1, quick=True, say=lambda _: None
    )


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results.json")


def measured(results: Results, name: str, **figures: list[float]) -> None:
    """Keeps figures of a scenario's first variant, one for each round."""
    section = results.begin(name, rounds=3, seconds=5, quick=False, commit="abc")
    for i in range(3):
        section.add(sync.RISKLINE, "32 connections", {each: rounds[i] for each, rounds in figures.items()})
    results.keep(section)


def test_the_figures_of_a_load_are_the_line_that_the_script_prints() -> None:
    assert parse(WRK)["per_second"] == 20000.5
    assert parse(WRK)["errors"] == 2


def test_a_load_without_a_result_says_what_wrk_complained_of() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        parse("", "unable to connect to 127.0.0.1:9001")


def test_a_load_of_refused_requests_only_is_not_a_rate() -> None:
    with pytest.raises(BenchError, match="none of 100,000 requests"):
        parse(WRK.replace("20000.5", "0.0"))


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratios([10, 40], [5, 10]) == [2, 4]
    assert ratios([], [5, 10]) == []
    assert ratios([10], [0]) == []


def test_a_spread_is_the_median_with_least_and_largest() -> None:
    assert spread([3.0, 1.0, 20_000.4]) == "3 (1 to 20,000)"
    assert spread([5.0]) == "5"
    assert (number(0.5), number(0), number(99.4), number(123.4)) == ("0.5", "0", "99.4", "123")


def test_a_partial_run_replaces_its_own_section_only(results: Results) -> None:
    measured(results, "sync", per_second=[1, 2, 3])
    measured(results, "async", per_second=[4, 5, 6])

    measured(Results(results.path), "sync", per_second=[7, 8, 9])

    again = Results(results.path)
    assert again.get("sync", sync.RISKLINE, "32 connections", "per_second") == [7, 8, 9]
    assert again.get("async", sync.RISKLINE, "32 connections", "per_second") == [4, 5, 6]
    assert again.get("drain", sync.RISKLINE, "32 connections", "per_second") == []


@pytest.mark.parametrize(
    ("bounds", "rounds", "verdict"),
    [
        ({"least": 2}, [1, 2, 9], "yes"),
        ({"least": 2}, [1, 1.9, 9], "**no**"),
        ({"most": 2}, [1, 2, 9], "yes"),
        ({"most": 0}, [0, 1, 1], "**no**"),
        ({}, [1], ""),
    ],
)
def test_a_goal_is_kept_where_the_median_keeps_its_bound(
    bounds: dict[str, float], rounds: list[float], verdict: str
) -> None:
    assert Goal("what", "ms", lambda _: rounds, **bounds).verdict(rounds) == verdict


def test_every_goal_asks_for_a_figure_that_a_scenario_gives(bench: Workspace) -> None:
    asked: list[tuple[str, str, str, str]] = []

    def get(*at: str) -> list[float]:
        asked.append(at)  # type: ignore[arg-type]  # four words
        return [1.0]

    for goal in goals():
        goal.rounds(SimpleNamespace(get=get))  # type: ignore[arg-type]  # all that a goal uses

    assert len(asked) > 50
    for name, label, _, figure in asked:
        assert label in {case.label for case in SCENARIOS[name].cases(bench)}
        assert figure in SCENARIOS[name].columns


def test_the_page_says_what_was_reached_what_was_not_measured_and_what_failed(results: Results) -> None:
    measured(results, "sync", per_second=[300, 100, 200])
    results.sections["sync"].add(sync.GUIDE, "32 connections", {"per_second": 1.0})
    results.sections["sync"].fail(sync.FALCON, "it did not start")

    page = "\n".join(report.page(results, charts={"sync-rate"}))

    assert "| sync, 32 connections | at least 120 x the guide's app | 300 x the guide's app | yes |" in page
    assert "| 200 (100 to 300) |" in page
    assert "| at least 1.8 x 1 worker | not measured |" in page
    assert f"**{sync.FALCON} could not be measured:** it did not start" in page
    assert "![One decision a request](sync-rate.png)" in page


def test_the_page_says_so_where_the_guide_was_not_there(results: Results) -> None:
    measured(results, "sync", per_second=[1, 2, 3])

    assert "The guide's own app was not there" in "\n".join(report.page(results, charts=set()))


def clocked(monkeypatch: pytest.MonkeyPatch, left: list[int]) -> Callable[[], int]:
    """What is left, a second later each time."""
    seconds: Iterator[int] = iter(range(1_000))
    monkeypatch.setattr(
        service, "time", SimpleNamespace(perf_counter=lambda: float(next(seconds)), sleep=lambda _: None)
    )
    return iter(left).__next__


def test_a_drain_is_counted_from_the_last_moment_at_which_all_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    remaining = clocked(monkeypatch, [100, 100, 100, 60, 20, 0])

    assert service.drain_rate(remaining, 100) == 100 / 3


def test_a_drain_of_several_workers_is_counted_from_when_all_are_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    remaining = clocked(monkeypatch, [100, 95, 90, 60, 20, 0])

    assert service.drain_rate(remaining, 100, from_share=0.9) == 90 / 3


def test_a_slow_drain_is_measured_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    remaining = clocked(monkeypatch, [100, 90, 80, 70])

    assert service.drain_rate(remaining, 100, limit_seconds=2.5) == 10


def test_a_drain_on_which_nothing_works_is_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    remaining = clocked(monkeypatch, [100] * 100)

    with pytest.raises(BenchError, match="nothing works on them"):
        service.drain_rate(remaining, 100)


def test_a_load_says_how_many_decisions_were_not_recorded_at_its_end(
    monkeypatch: pytest.MonkeyPatch, bench: Workspace
) -> None:
    figures = {"per_second": 100.0, "requests": 110.0, "errors": 10.0}
    monkeypatch.setattr(sync, "wrk", lambda *_, **__: dict(figures))
    # of 100 of the warm-up and 100 each, and of a few that were answered after wrk had ended
    recorded = iter([150, 303])

    found = list(sync.loads(bench, 1, all_connections=(1, 32), recorded=lambda: next(recorded)))

    assert [each["unrecorded"] for _, each in found] == [50, 0]


def test_a_process_that_ends_before_it_is_ready_is_named_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "raise SystemExit('no such app')"]

    with running(command, log=log, directory=tmp_path) as process, pytest.raises(BenchError, match="no such app"):
        wait_until(lambda: False, process, log=log)


def test_a_process_ends_with_the_block(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]

    with running(command, log=tmp_path / "log", directory=tmp_path) as process:
        assert process.poll() is None

    assert process.returncode is not None


def test_the_command_hands_its_options_to_the_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.chdir", lambda _: None)
    monkeypatch.setattr("os.execv", lambda _, words: started.append(words[1:]))

    done = CliRunner().invoke(riskline.cli.main.app, ["bench", "--only", "sync,drain", "--quick", "--rows", "rows.csv"])

    assert done.exit_code == 0
    rows = str(tmp_path / "rows.csv")
    assert started == [["-m", "tests.bench", "--quick", "--only", "sync,drain", "--rows", rows]]


def test_the_command_says_that_it_needs_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(riskline.cli.operate.bench, "ROOT", tmp_path)

    with pytest.raises(InstallationError, match="clone the repository"):
        CliRunner().invoke(riskline.cli.main.app, ["bench"], catch_exceptions=False)
