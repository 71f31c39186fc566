"""The Kubernetes manifests as they are written, with the patches in them: every container, wherever it stands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"


def documents(directory: Path = KUBERNETES) -> list[dict[str, Any]]:
    """What is in the YAML files, and in the patches inside them."""
    return [each for path in sorted(directory.rglob("*.yaml")) for each in _read(path.read_text())]


def _read(text: str) -> Iterator[Any]:
    for document in yaml.safe_load_all(text):
        yield document
        for patch in document.get("patches", ()):
            # one in the form of a resource, or a list of operations
            content = yaml.safe_load(patch["patch"])
            yield content if isinstance(content, dict) else {"operations": content}


def of_kind(kind: str, directory: Path = KUBERNETES) -> list[dict[str, Any]]:
    return [each for each in documents(directory) if each.get("kind") == kind and "$patch" not in each]


def named(kind: str, name: str, directory: Path = KUBERNETES / "base") -> dict[str, Any]:
    [found] = [each for each in of_kind(kind, directory) if each["metadata"]["name"] == name]
    return found


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for each in children:
        yield from _walk(each)


def every(*keys: str) -> list[dict[str, Any]]:
    """Each mapping that has all of these keys."""
    return [each for document in documents() for each in _walk(document) if all(key in each for key in keys)]


def containers() -> list[dict[str, Any]]:
    return every("name", "image", "resources")


def pods() -> list[dict[str, Any]]:
    """The pod specs that stand for themselves, without those that a patch completes."""
    return every("containers")


def literals(directory: Path) -> dict[str, str]:
    """What a kustomization puts into the settings."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    pairs = [each for generator in kustomization["configMapGenerator"] for each in generator["literals"]]
    return dict(pair.split("=", 1) for pair in pairs)
