"""Damaged history is read or refused: no byte beyond it is read, nothing is undefined, nothing goes on for ever.

`make test` tries some thousands; HISTORY_FUZZ_CASES=1000000 tries more, HISTORY_FUZZ_SEED others.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from riskline.shared.model.build import SOURCES, compiler
from tests.integration.running import PATIENCE_SECONDS

CASES = int(os.environ.get("HISTORY_FUZZ_CASES", "2000"))
SEED = int(os.environ.get("HISTORY_FUZZ_SEED", "1"))
SANITIZED = ("-O1", "-g", "-shared", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sanitized") / "_kernel.so"
    command = [*compiler(), *SANITIZED, "-o", str(made), *map(str, SOURCES), "-lm"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine's compiler has no sanitizers: damaged history was not tried")
    return made


def test_damaged_history_is_read_or_refused_and_nothing_beyond_it_is_touched(library: Path) -> None:
    runtime = subprocess.run(
        [*compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    # each object of Python's has an allocation of its own then, and its end is watched
    watched = {"LD_PRELOAD": runtime, "PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0"}

    found = subprocess.run(
        [sys.executable, "-m", "tests.support.history_damage", str(library), str(CASES), str(SEED)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | watched,
        timeout=PATIENCE_SECONDS + CASES / 20,
    )

    assert found.returncode == 0, found.stderr[-4000:]
    read, refused = map(int, found.stdout.split())
    # both, or nothing was tried
    assert min(read, refused) > CASES / 10
