"""From a notebook's `joblib.dump` to decisions: the tutorial, typed in as a reader would."""

import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.e2e.test_docs import DOCS, blocks, environment, run_block, runnable_blocks
from tests.integration.running import PATIENCE_SECONDS, RunningUp

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

__all__ = ["environment"]

OWN_MODEL = DOCS / "tutorial-own-model.md"


def test_a_notebooks_model_decides_as_the_tutorial_says(environment: dict[str, str], tmp_path: Path) -> None:
    notebook, payments = blocks(OWN_MODEL, "python")
    (tmp_path / "notebook.py").write_text(notebook)
    (tmp_path / "payments.py").write_text(payments)
    trained = subprocess.run(
        [sys.executable, "notebook.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    data = tmp_path / ".riskline-payments"
    own = {
        **environment,
        "RISKLINE_TRANSACTION": "payments:Payment",
        "PYTHONPATH": str(tmp_path),
        "RISKLINE_DATA": str(data),
    }
    *before, decided, queued, next_version = runnable_blocks(OWN_MODEL)

    for block in before:
        run_block(block, directory=tmp_path, environment=own)
    with RunningUp(data, environment=own) as up:
        answer, waited, _ = (
            run_block(block, directory=tmp_path, environment=own, port=up.state["port"])
            for block in (decided, queued, next_version)
        )

    decision = orjson.loads(answer)
    assert decision["action"] == "DECLINE"
    assert {reason["feature"] for reason in decision["reasons"]} >= {"hour", "amount", "channel"}
    assert next(each["value"] for each in decision["reasons"] if each["feature"] == "channel") == "web"
    assert '"status":"scored"' in waited
    assert (tmp_path / "report.html").stat().st_size > 10_000
    # what the notebook's last line printed of its last row is what the file's last decision says
    probability = float(re.findall(r"^(\S+) ", trained.stdout)[0])
    last = orjson.loads((tmp_path / "decisions.ndjson").read_text().splitlines()[-1])
    assert last["fraud_probability"] == round(probability, 4)
    assert len(list((data / "models").glob("2*"))) == 2
