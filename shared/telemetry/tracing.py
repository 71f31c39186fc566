"""The interface of a tracer, and the tracer that the settings name."""

from collections.abc import Mapping
from importlib import import_module
from typing import Literal, Protocol

from riskline.shared.errors import SettingsError
from riskline.shared.settings import Settings
from riskline.shared.wording import install_command

Kind = Literal["server", "consumer", "client"]
Attributes = Mapping[str, str | int | bool]


class Span(Protocol):
    """A timed operation of a trace."""

    @property
    def traceparent(self) -> str | None:
        """The `traceparent` to send on; None where the SDK is disabled."""

    def end(self, *, attributes: Attributes, name: str | None = None, error: str | None = None) -> None:
        """Ends the span, with its attributes, perhaps a better name, and its kind of error."""


class Tracing(Protocol):
    """Makes spans and exports them in the background."""

    def start(self, name: str, *, kind: Kind, parent: str | None, attributes: Attributes, linked: bool = False) -> Span:
        """A span that begins now, in the trace of its parent's `traceparent` or a new one.

        With `linked` the span also links to its parent, as the span of a processed message does.
        """

    def close(self) -> None:
        """Exports the ended spans, within a second or two."""


def create_tracing(settings: Settings, *, service: str) -> Tracing | None:
    """The tracer of a process, by its service name; None where traces are off, and then no SDK is loaded.

    Raises:
        SettingsError: the SDK is not installed, or one of its variables has a wrong value.
    """
    if settings.traces == "off":
        return None
    try:
        # imported here: the SDK is an extra, and costs 10 MB and 0.3 s of each process
        module = import_module("riskline.shared.telemetry.otel")
    except ImportError as error:
        raise SettingsError(
            f"RISKLINE_TRACES is otlp, and {error.name} is not installed: {install_command('otel')}"
        ) from None
    tracing: Tracing = module.create(service)
    return tracing
