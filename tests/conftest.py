"""What every test may use."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def large_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for an environment of hundreds of megabytes, which is removed also where a test failed."""
    directory = tmp_path_factory.mktemp("large")
    yield directory
    shutil.rmtree(directory)
