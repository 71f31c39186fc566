"""What every test may use."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def large_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for an environment of hundreds of megabytes, which is removed also where a test failed."""
    directory = tmp_path_factory.mktemp("large")
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Takes back what a worker of a test does at a signal: a later test's signal would have it end all tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPROF)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
