"""Each line of a process is of the model version that serves when it is said."""

import json
import logging
import threading
import warnings

import pytest
import structlog

import riskline.shared.log
from riskline.shared.errors import RisklineError
from riskline.shared.log import configure_logging, get_logger, set_model_version
from riskline.shared.settings import load_settings


@pytest.fixture
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> object:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    monkeypatch.setattr(riskline.shared.log, "_model_version", None)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_own_logging")
def test_every_line_carries_the_version_once_a_model_serves(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings(log_format="json"))
    get_logger("a").warning("before")

    set_model_version("v1")
    get_logger("a").warning("ours")
    logging.getLogger("library").warning("a library's")
    set_model_version("v2")
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


class OwnError(RisklineError):
    """One of ours, whose message is fit for a log."""


@pytest.mark.usefixtures("_own_logging")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_told_by_its_kind_and_place_and_not_by_what_it_says(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(load_settings(log_format=log_format))
    value = "amount: " + "47" * 2
    try:
        try:
            raise KeyError(value)  # noqa: TRY301  # what is tested
        except KeyError as error:
            raise OwnError("do this") from error
    except OwnError:
        get_logger("a").exception("ours")
        logging.getLogger("library").exception("a library's")

    said = capsys.readouterr().err
    assert said.count("OwnError: do this") == 2
    assert said.count("in test_an_exception_is_told") == 4
    assert "KeyError" in said
    assert "4747" not in said


@pytest.mark.usefixtures("_own_logging")
def test_a_warning_and_the_end_of_a_thread_are_lines_like_any_other_without_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(load_settings(log_format="json"))

    with warnings.catch_warnings(record=False):
        warnings.simplefilter("always")
        riskline.shared.log._warned(UserWarning("with value 4711"), UserWarning, "team.py", 12)
        warnings.showwarning(UserWarning("with value 4711"), UserWarning, "team.py", 13)
    thread = threading.Thread(target=lambda: int("4711x"), name="beside")
    thread.start()
    thread.join()

    err = capsys.readouterr().err
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line.get("at") for line in lines[:2]] == ["team.py:12", "team.py:13"]
    assert (lines[2]["event"], lines[2]["thread"]) == ("a thread ended", "beside")
    assert "4711" not in err.replace('int(\\"4711x\\")', "")
