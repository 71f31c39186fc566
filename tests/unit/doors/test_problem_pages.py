"""Each type of problem that the code can answer has a page, each page a type, and every error answer leads to one."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon
import pytest

from riskline import ingest
from riskline.ingest.middleware.request_id import EXPOSED
from riskline.ingest.openapi.document import build_openapi
from riskline.ingest.problems.pages import all_pages
from riskline.ingest.problems.problem import TYPE_PREFIX, HttpProblem
from riskline.ingest.problems.refusals import wire_answer
from riskline.ingest.problems.types import TYPES
from riskline.shared.domain.transaction import Transaction
from tests.support.api import Api

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "docs" / "reference" / "problems.md"

SECTION = re.compile(
    r"^## (?P<name>[a-z-]+)\n\n\*\*(?P<status>\d+), (?P<title>.+?)\.\*\* .+\n\n\*What to do:\* .+\n\n"
    r"```http\nHTTP/1\.1 (?P=status) .+\n(?P<headers>(?:.+\n)+)\n(?P<body>\{.+\})\n```$",
    re.MULTILINE,
)


def calls() -> Iterator[ast.Call]:
    for path in sorted(Path(ingest.__file__).parent.rglob("*.py")):
        yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def types_in_the_code() -> dict[str, tuple[int, str]]:
    """Status and title of each type, from the places that make problems."""
    made = [
        call.args[0]
        for call in calls()
        if isinstance(call.func, ast.Name) and call.func.id == "HttpProblem" and call.args
    ]
    names = {name.value for name in made if isinstance(name, ast.Constant)}
    return {name: (TYPES[name].status, TYPES[name].title) for name in names}


def types_of_falcon() -> dict[str, tuple[int, str]]:
    """Those of Falcon's own errors: what its router answers, and what the code raises by its classes."""
    client = Api().client
    answers = [client.simulate_get("/nothing"), client.simulate_put("/health")]
    found = {answer.json["type"].removeprefix(TYPE_PREFIX): answer.json for answer in answers}
    raised = set()
    home = Path(ingest.__file__).parent
    # what goes wrong in the console is told on a page, not as a problem
    for path in set(home.rglob("*.py")) - set((home / "console").rglob("*.py")):
        raised |= set(re.findall(r"raise falcon\.(HTTP[A-Z]\w+)", path.read_text()))
    assert {getattr(falcon, name)().status_code for name in raised} <= {body["status"] for body in found.values()}
    return {name: (body["status"], body["title"]) for name, body in found.items()}


def sections() -> dict[str, re.Match[str]]:
    return {found["name"]: found for found in SECTION.finditer(COMMITTED.read_text(encoding="utf-8"))}


def test_each_type_in_the_code_has_a_section_with_its_status_and_title_and_no_section_is_of_none() -> None:
    in_the_code = {**types_in_the_code(), **types_of_falcon()}

    assert len(in_the_code) > 25
    assert {name: (int(found["status"]), found["title"]) for name, found in sections().items()} == in_the_code
    assert TYPES.keys() == in_the_code.keys()


def test_the_committed_pages_are_those_of_the_code() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == all_pages(), "run make openapi"


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_sections_example_is_an_answer_of_its_type(name: str) -> None:
    found = sections()[name]
    body = json.loads(found["body"])

    shown = build_openapi(Transaction, version="1")["components"]["schemas"]["Problem"]
    assert set(shown["required"]) <= body.keys() <= shown["properties"].keys()
    assert (body["type"], body["title"]) == (TYPE_PREFIX + name, found["title"])
    assert body["status"] == int(found["status"])
    assert ("Retry-After: " in found["headers"]) is (body["status"] in (429, 503))


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "/nothing", {}),
        ("PUT", "/health", {}),
        ("POST", "/transactions", {"json": {}}),
        ("GET", "/transactions/nobody", {}),
        ("GET", "/health/ready/", {}),
        ("GET", "/decisions", {"headers": {"Accept": "text/html"}}),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/fraud"])
def test_every_error_answer_leads_to_the_page_of_its_type(
    method: str, path: str, words: dict[str, Any], root_path: str
) -> None:
    client = Api().client

    refused = client.simulate_request(method, path, root_path=root_path, **words)

    name = refused.json["type"].removeprefix(TYPE_PREFIX)
    assert refused.headers["link"] == f'<{root_path}/docs/problems/{name}>; rel="help"'
    shown = client.simulate_get(f"/docs/problems/{name}")
    assert shown.text.startswith(f"## {name}\n\n**{refused.status_code}, ")
    assert shown.headers["content-type"] == "text/plain; charset=utf-8"


def test_so_does_one_that_is_written_before_there_is_a_request() -> None:
    answer = wire_answer(
        HttpProblem("too-many-connections"), instance=b"", root_path="/fraud", request_id="a", defaults=[]
    )

    assert b'\r\nlink: </fraud/docs/problems/too-many-connections>; rel="help"\r\n' in answer


def test_pages_of_another_origin_may_read_where_it_leads() -> None:
    assert "Link" in EXPOSED


def test_all_pages_are_at_one_address_and_there_is_none_of_another_name() -> None:
    client = Api().client

    assert client.simulate_get("/docs/problems").text == all_pages()
    assert client.simulate_get("/docs/problems/no-such-type").status_code == 404
