import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

import riskline
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import SettingsError

ROOT = Path(__file__).parents[3]

CLASS = """
from pydantic import Field
from {package} import TransactionModel
from {features} import feature

class Payment(TransactionModel):
    amount: float = Field(gt=0, examples=[10.0])

    @feature
    def twice(self) -> float:
        return 2 * self.amount
"""
TODAY = CLASS.format(package="riskline", features="riskline")
FORMER = CLASS.format(package="shared.transaction", features="shared.features")


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A folder with the packages that most teams have somewhere."""
    for name in ("shared", "worker", "ingest", "cli", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"NAME = {name!r}\n")
    return tmp_path


def openapi(team: Path, transaction: str) -> dict[str, object]:
    """What `riskline openapi` says in the team's folder."""
    environment = {**os.environ, "PYTHONPATH": str(team), "RISKLINE_TRANSACTION": transaction}
    command = [sys.executable, "-m", "riskline.cli", "openapi"]
    ran = subprocess.run(command, cwd=team, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return dict(orjson.loads(ran.stdout)["components"]["schemas"])


def test_a_class_lives_beside_packages_called_shared_worker_and_cli(team: Path) -> None:
    (team / "shared" / "payments.py").write_text(f"from shared import NAME\n{TODAY}")

    assert "Payment" in openapi(team, "shared.payments:Payment")


@pytest.mark.parametrize("module", ["payments", "shared.payments"])
def test_a_class_of_the_release_before_loads_for_one_release_more(team: Path, module: str) -> None:
    (team / f"{module.replace('.', '/')}.py").write_text(FORMER)

    assert "Payment" in openapi(team, f"{module}:Payment")


def test_the_built_in_class_is_found_by_its_name_of_the_release_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each == "shared" or each.startswith("shared.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if Path(each).resolve() != ROOT])

    with pytest.warns(FutureWarning, match="from riskline import"):
        assert load_transaction_class("shared.transaction:Transaction") is Transaction
    for name in ("shared.transaction", "shared"):
        monkeypatch.delitem(sys.modules, name)


def test_a_module_that_is_nowhere_is_named(team: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (team / "broken_payments.py").write_text("import shared.nothing_of_that_name")
    monkeypatch.syspath_prepend(team)

    with pytest.raises(SettingsError, match=r"No module named 'shared\.nothing_of_that_name'"):
        load_transaction_class("broken_payments:Payment")


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    reference = (ROOT / "docs" / "reference" / "python.md").read_text()

    for name in riskline.__all__:
        assert getattr(riskline, name).__doc__, name
        assert f"`{name}" in reference, name


def test_importing_riskline_loads_no_pydantic_yet() -> None:
    says = "import sys, riskline; print('pydantic' in sys.modules, hasattr(riskline, 'nothing'))"

    assert subprocess.check_output([sys.executable, "-c", says], text=True) == "False False\n"
