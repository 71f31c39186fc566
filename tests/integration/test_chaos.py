"""The promise behind every 202, under a minute of faults; `make chaos` is the long version."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.faults import KINDS, plan

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]

FAULT_SECONDS = 60

SEED = 4242
"""The same plan each time, so that a red run says something of the change; `make chaos` draws another each time."""


def test_a_plan_depends_on_its_seed_alone_and_has_each_kind_of_fault() -> None:
    faults = plan(7, seconds=300)

    assert faults == plan(7, seconds=300)
    assert faults != plan(8, seconds=300)
    assert len(faults) >= 50
    assert {fault.kind for fault in faults} == {kind.name for kind in KINDS}
    assert all(0 < fault.at_seconds <= fault.until_seconds <= 300 for fault in faults)


@pytest.mark.timeout(1800)
def test_each_acknowledged_transaction_is_decided_once_whatever_is_killed_or_cut_off() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.chaos.run",
        "--seconds",
        str(FAULT_SECONDS),
        "--seed",
        str(SEED),
        "--no-peer",
    ]

    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    assert run.returncode == 0, run.stdout
