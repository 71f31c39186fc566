"""What a container's health check sees of a worker."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from riskline.shared.errors import StoreUnavailableError
from riskline.worker.alive import STALE_SECONDS, check, main, sign_of_life
from riskline.worker.scoring import sweeper
from riskline.worker.scoring.sweeper import Rounds, SideBySide
from tests.integration.running import PATIENCE_SECONDS, eventually


def test_a_worker_that_signed_lately_is_alive_and_one_that_stands_still_is_not(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    sign_of_life(file, lambda: True)()

    assert check(file) is None

    os.utime(file, (time.time() - STALE_SECONDS - 1,) * 2)
    assert "has shown no life for 31 s" in (check(file) or "")


def test_a_worker_of_which_a_part_has_ended_signs_no_more(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    sign = sign_of_life(file, lambda: False)
    os.utime(file, (1, 1))

    sign()

    assert file.stat().st_mtime == 1


def test_without_a_file_the_check_says_which_setting_names_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(tmp_path / "alive")]) == 1
    assert f"RISKLINE_ALIVE_FILE={tmp_path / 'alive'}" in capsys.readouterr().err
    assert main([]) == 2


def test_a_worker_that_cannot_make_the_file_says_so_at_its_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        sign_of_life(tmp_path / "missing" / "alive", lambda: True)


def test_a_round_that_redis_fails_is_a_sign_of_life_too() -> None:
    signed = threading.Event()

    class Failed(Rounds):
        def round(self) -> None:
            raise StoreUnavailableError("Redis is away")

    rounds = Failed("sweeper")
    rounds.start(signed.set)

    assert signed.wait(PATIENCE_SECONDS)
    rounds.stop()


def test_rounds_side_by_side_show_life_until_one_of_them_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "INTERVAL_SECONDS", 0.001)
    hangs, signed = threading.Event(), threading.Semaphore(0)
    hangs.set()

    class Part(Rounds):
        def __init__(self, goes_on: threading.Event) -> None:
            super().__init__("part")
            self.rounds, self._goes_on = 0, goes_on

        def round(self) -> None:
            self.rounds += 1
            self._goes_on.wait()

    always = threading.Event()
    always.set()
    parts = [Part(always), Part(hangs)]
    both = SideBySide(parts)
    both.start(signed.release)

    assert all(signed.acquire(timeout=PATIENCE_SECONDS) for _ in range(3))
    hangs.clear()
    hung_at = parts[0].rounds
    eventually(lambda: parts[0].rounds > hung_at + 10)
    while signed.acquire(blocking=False):
        """Those of before."""
    eventually(lambda: parts[0].rounds > hung_at + 30)
    assert not signed.acquire(blocking=False)

    hangs.set()
    assert signed.acquire(timeout=PATIENCE_SECONDS)
    both.stop()


def test_the_check_imports_nothing_of_the_service_since_it_runs_every_few_seconds(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.touch()
    code = "import sys, riskline.worker.alive; riskline.worker.alive.main(sys.argv[1:]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)

    assert not {"redis", "pydantic", "numpy", "structlog"} & set(done.stdout.split())
