"""Structured log lines, for people on a terminal and as JSON elsewhere."""

import logging
import os
import sys
import threading
import traceback
import warnings
from typing import Any, TextIO

import structlog

from riskline.shared.errors import RisklineError
from riskline.shared.settings import Settings

_model_version: str | None = None


def configure_logging(settings: Settings) -> None:
    """Sends all log lines, the libraries' too, to standard error in one format."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=True, exception_formatter=_write_where)
    )
    shared_processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _with_process,
        _with_model_version,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_where) if as_json else structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared_processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    # warnings of libraries, and errors that end a thread, are logged as well
    warnings.showwarning = _warned
    threading.excepthook = _thread_ended
    logging.getLogger("uvicorn.error").addFilter(_worth_a_line)
    for chatty in ("uvicorn", "rq.worker", "rq.scheduler"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def set_model_version(version: str) -> None:
    """Puts the serving model version into each later line of this process."""
    global _model_version  # noqa: PLW0603  # one model serves in a process, and every line is of its time
    _model_version = version


def get_logger(name: str) -> Any:
    """A logger whose lines carry their values as fields."""
    return structlog.get_logger(name)


def _warned(  # noqa: PLR0917  # as Python calls it
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Logs a Python warning with its place; its text may contain values, and is logged at DEBUG only."""
    del file, line
    log = get_logger(__name__)
    log.warning("Python warning", warning=category.__name__, at=f"{filename}:{lineno}")
    log.debug("text of a Python warning", says=str(message))


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    name = None if ended.thread is None else ended.thread.name
    error: Any = (ended.exc_type, ended.exc_value, ended.exc_traceback)
    get_logger(__name__).error("a thread ended", thread=name, exc_info=error)


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Keeps only the server's errors and the deaths of its processes."""
    return record.levelno >= logging.WARNING or "died" in record.getMessage()


def _where(exc_info: Any) -> str:
    """The type and place of an exception and its causes; the messages of Riskline's own exceptions only.

    Other messages, above all those of a team's class, may contain values of transactions.
    """
    parts: list[str] = []
    error, seen = exc_info[1], set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        said = f": {error}" if isinstance(error, RisklineError) else ""
        parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__name__ + said)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nled to:\n\n".join(reversed(parts))


def _write_where(file: TextIO, info: Any) -> None:
    file.write(_where(info) + "\n")


def _with_process(_logger: Any, _name: str, event: Any) -> Any:
    """Adds the process: several write to one terminal."""
    event["pid"] = os.getpid()
    return event


def _with_model_version(_logger: Any, _name: str, event: Any) -> Any:
    """Adds the model version, which changes when a process swaps models."""
    if _model_version is not None:
        event.setdefault("model_version", _model_version)
    return event
