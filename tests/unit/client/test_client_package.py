"""The client's own package is the same as what the service brings along."""

import tomllib
from pathlib import Path

import riskline_client

ROOT = Path(__file__).parents[3]


def project(path: str) -> dict[str, object]:
    return dict(tomllib.loads((ROOT / path).read_text())["project"])


def test_the_client_has_the_version_of_the_service() -> None:
    assert riskline_client.__version__ == project("pyproject.toml")["version"]


def test_the_client_asks_for_the_packages_that_the_extra_of_the_service_has() -> None:
    service, client = project("pyproject.toml"), project("client/pyproject.toml")
    extra = service["optional-dependencies"]["client"]
    signing = [each for each in service["dependencies"] if each.startswith("standardwebhooks")]

    assert sorted(client["dependencies"]) == sorted([*extra, *signing])
    assert client["requires-python"] == service["requires-python"]


def test_types_are_marked_as_such() -> None:
    assert (Path(riskline_client.__file__).parent / "py.typed").exists()
