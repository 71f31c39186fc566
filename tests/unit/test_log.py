"""Each line of a process is of the model version that serves when it is said."""

import json
import logging

import pytest
import structlog

import shared.log
from shared.log import configure_logging, get_logger, tell_model_version
from shared.settings import load_settings


@pytest.fixture
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> object:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    monkeypatch.setattr(shared.log, "_model_version", None)
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_own_logging")
def test_every_line_carries_the_version_once_a_model_serves(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings(log_format="json"))
    get_logger("a").warning("before")

    tell_model_version("v1")
    get_logger("a").warning("ours")
    logging.getLogger("library").warning("a library's")
    tell_model_version("v2")
    get_logger("a").warning("after a swap")
    get_logger("a").warning("about another", model_version="v9")

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line.get("model_version")) for line in lines] == [
        ("before", None),
        ("ours", "v1"),
        ("a library's", "v1"),
        ("after a swap", "v2"),
        ("about another", "v9"),
    ]
