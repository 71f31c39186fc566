"""What the images are made of, and what a change of code costs."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.containers.docker import BUILD_SECONDS, docker, run

ROOT = Path(__file__).parents[2]
TAG = "e2e"
BASE = os.environ.get("PYTHON_IMAGE", "python:3.11-slim-bookworm")
FLAGS = os.environ.get("IMAGE_FLAGS", "--network host")
"""Where the build reaches the package index only as this machine does."""

IN_CONTEXT = (
    *(".dockerignore", "LICENSE", "README.md", "hatch_build.py", "pyproject.toml"),
    *("cli", "client", "ingest", "requirements", "shared", "src", "worker"),
)

LOOK = """
import importlib.metadata, importlib.util, json, os, shutil
print(json.dumps({
    "packages": len({each.name for each in importlib.metadata.distributions()}),
    "uid": os.getuid(),
    "gid": os.getgid(),
    "unwanted": [name for name in ("sklearn", "joblib", "pip", "polars") if importlib.util.find_spec(name)]
    + [name for name in ("cc", "gcc", "zig") if shutil.which(name)],
}))
"""


@dataclass(frozen=True)
class Image:
    """An image as it was built."""

    name: str
    megabytes: float
    over_base: float
    packages: int
    uid: int
    gid: int
    unwanted: list[str]
    labels: dict[str, str]
    config: dict[str, Any]


def build() -> None:
    """Builds all three as `make images` does."""
    words = {"RISKLINE_TAG": TAG, "IMAGE_FLAGS": FLAGS, "PYTHON_IMAGE": BASE}
    run("make", "-C", str(ROOT), "images", *(f"{name}={value}" for name, value in words.items()), seconds=BUILD_SECONDS)


def look_at(name: str) -> Image:
    """What is in an image; asked of a container whose root file system is read-only."""
    image = f"{name}:{TAG}"
    inspected = json.loads(docker("image", "inspect", image))[0]
    base = int(docker("image", "inspect", "--format", "{{.Size}}", BASE))
    inside = json.loads(docker("run", "--rm", "--read-only", "--network", "none", image, "python3", "-c", LOOK))
    return Image(
        name=name,
        megabytes=inspected["Size"] / 1e6,
        over_base=(inspected["Size"] - base) / 1e6,
        labels=inspected["Config"]["Labels"],
        config=inspected["Config"],
        **inside,
    )


def layers(image: str) -> list[str]:
    """The layers of an image, lowest first."""
    return list(json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image)))


def layers_after_a_change_of_code(directory: Path) -> list[str]:
    """The API's layers when a line of code is another."""
    for name in (*IN_CONTEXT, "Dockerfile.api"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name, symlinks=True)
        else:
            shutil.copy2(ROOT / name, directory / name)
    with (directory / "shared" / "clock.py").open("a") as changed:
        changed.write("\n# changed\n")
    image = f"riskline-api:{TAG}-changed"
    words = ["--file", str(directory / "Dockerfile.api"), "--target", "api", "--tag", image, "--quiet", str(directory)]
    docker("build", *FLAGS.split(), "--build-arg", f"PYTHON_IMAGE={BASE}", *words, seconds=BUILD_SECONDS)
    try:
        return layers(image)
    finally:
        docker("rmi", image)
