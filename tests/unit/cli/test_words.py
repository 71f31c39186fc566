"""Numbers in sentences: one of something is not several."""

import re
import tomllib
from pathlib import Path

import pytest

from riskline.shared.wording import counted, no_transactions

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("count", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12_345, "12,345 rows")])
def test_one_is_not_several(count: int, said: str) -> None:
    assert counted(count, "row") == said


def test_the_verb_follows_where_it_is_named() -> None:
    assert counted(1, "transaction waits", "transactions wait") == "1 transaction waits"
    assert counted(2, "transaction waits", "transactions wait") == "2 transactions wait"
    assert no_transactions(1) == "1 row that is no transaction"
    assert no_transactions(2_000) == "2,000 rows that are no transactions"


def test_no_message_counts_transactions_or_decisions_without_it() -> None:
    uncounted = re.compile(r"\{[^{}\"]*\} (?:transactions|decisions|callbacks|packages)\b(?! (?:made|and)\b)")
    files = [path for room in ("cli", "worker", "tools") for path in (ROOT / room).rglob("*.py")]
    allowed = ("packages installed", "packages fetched", "making {rows:,}", "Of {rows:,}", "Of {base:,}", "like these")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        for line in path.read_text().splitlines()
        if uncounted.search(line) and not any(each in line for each in allowed)
    ]
    assert not found


def test_no_text_installs_riskline_from_an_index_that_has_none_of_that_name() -> None:
    places = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    places += [path for room in ("cli", "ingest", "shared", "worker", "client") for path in (ROOT / room).rglob("*.py")]
    assert not [path for path in places if re.search(r"pip install '?riskline|riskline\[", path.read_text())]


def test_the_extras_that_messages_name_are_those_of_the_project() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        extra
        for path in [*ROOT.glob("docs/**/*.md"), *(ROOT / "cli").rglob("*.py"), *(ROOT / "shared").rglob("*.py")]
        for found in re.findall(r"pip install '\.\[([\w,]+)\]'|install_command\([\"']([\w,]+)[\"']\)", path.read_text())
        for extra in ",".join(found).strip(",").split(",")
    }
    assert named
    assert named <= set(extras)
