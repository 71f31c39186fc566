"""The page that defines history is true: its classes are ones, and it names each marker and each bound."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from riskline import TransactionModel
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.history import markers
from riskline.shared.domain.history.derive import history_of
from riskline.shared.domain.history.markers import (
    MOST_DISTINCT,
    MOST_ENTITY_CHARACTERS,
    MOST_PLACES,
    ColumnMarker,
    Entity,
    EventTime,
    Exact,
)
from riskline.shared.domain.history.plan import CELLS

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
REFERENCE, HOW_TO = DOCS / "reference" / "history.md", DOCS / "how-to" / "bring-your-own-transaction.md"


@pytest.mark.parametrize("page", [REFERENCE, HOW_TO])
def test_the_class_on_the_page_is_one_with_history(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("of_the_page")
    monkeypatch.setitem(sys.modules, "of_the_page", module)
    block = next(each for each in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) if "Entity" in each)
    exec(block, module.__dict__)  # noqa: S102  # our own page

    found: type[TransactionModel] = load_transaction_class("of_the_page:CardPayment")

    assert history_of(found) is not None
    assert "amount_to_mean" in found.feature_names()


def test_the_class_of_the_readme_is_one_with_history(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("of_the_readme")
    monkeypatch.setitem(sys.modules, "of_the_readme", module)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec("from riskline import *", module.__dict__)  # noqa: S102  # the block is an excerpt
    exec("from typing import Annotated\nfrom pydantic import AwareDatetime, Field", module.__dict__)  # noqa: S102  # likewise
    exec(next(each for each in blocks if "Entity" in each), module.__dict__)  # noqa: S102  # our own page

    history = history_of(load_transaction_class("of_the_readme:CardPayment"))

    assert history is not None
    assert [column.name for column in history.columns] == ["payments_1h", "mean_30d", "times_here"]


def test_the_page_names_each_marker_and_each_bound() -> None:
    said = REFERENCE.read_text()
    kinds = [each for each in vars(markers).values() if isinstance(each, type) and issubclass(each, ColumnMarker)]

    for each in [EventTime, Entity, Exact, *(kind for kind in kinds if hasattr(kind, "kind"))]:
        assert f"`{each.__name__}" in said or f" `{each.__name__}" in said, each
    for bound in (MOST_DISTINCT, MOST_ENTITY_CHARACTERS, MOST_PLACES, CELLS):
        assert f"{bound:,}" in said
