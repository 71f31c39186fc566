"""Spans for those who want them: what the rooms ask of a tracer, and the one that the settings name."""

from collections.abc import Mapping
from importlib import import_module
from typing import Literal, Protocol

from riskline.shared.errors import SettingsError
from riskline.shared.settings import Settings
from riskline.shared.wording import install_command

Kind = Literal["server", "consumer", "client"]
Attributes = Mapping[str, str | int | bool]


class Span(Protocol):
    """Something that is timed, and of which trace it is."""

    @property
    def traceparent(self) -> str | None:
        """What those are sent who go on with the trace; None where the SDK was told to make none."""

    def end(self, *, attributes: Attributes, name: str | None = None, error: str | None = None) -> None:
        """Ends it, with what is known by now: perhaps a better name, and the kind of error that it ended with."""


class Tracing(Protocol):
    """Makes spans and sends them on, without ever making anybody wait."""

    def start(self, name: str, *, kind: Kind, parent: str | None, attributes: Attributes, linked: bool = False) -> Span:
        """A span that begins now, in the trace of its parent's `traceparent` or a new one.

        `linked` has the span link to its parent as well, as one that processes a message does.
        """

    def close(self) -> None:
        """Sends what was ended, for a second or two at the most."""


def create_tracing(settings: Settings, *, service: str) -> Tracing | None:
    """The tracer of a process, by its name in traces; None where they are off, and then what makes them is not loaded.

    Raises:
        SettingsError: what it takes is not installed, or a variable of the SDK has a wrong value.
    """
    if settings.traces == "off":
        return None
    try:
        # here, as what it needs is an extra, and costs 10 MB and 0.3 s of each process
        module = import_module("riskline.shared.telemetry.otel")
    except ImportError as error:
        raise SettingsError(
            f"RISKLINE_TRACES is otlp, and {error.name} is not installed: {install_command('otel')}"
        ) from None
    tracing: Tracing = module.create(service)
    return tracing
