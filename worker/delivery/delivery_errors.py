"""The errors of a delivery without an answer, in words for an operator."""

import os
import socket
import ssl
from collections.abc import Iterator

import anyio
import h2.exceptions
import h11
import hpack
import httpcore

from riskline.shared.errors import RisklineError

RESET = "reset the connection"
CLOSED_SILENTLY = "closed the connection without an answer"
LOST = frozenset({RESET, CLOSED_SILENTLY})

HEADERS_TOO_LARGE = 431
INVALID = "sent no valid HTTP"
CLOSED = (
    httpcore.NetworkError,
    httpcore.RemoteProtocolError,
    httpcore.ConnectionNotAvailable,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
)
NO_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class DeliveryError(RisklineError):
    """There was no answer; the message says why."""


class RefusedAddressError(DeliveryError):
    """The host has an address that must not be connected to."""


class LostError(DeliveryError):
    """The connection was closed before an answer began."""


def delivery_error(error: Exception) -> DeliveryError | None:
    """The delivery error of a library's exception; None where it is a bug of Riskline."""
    reason = _reason(error)
    if reason is None:
        return None
    return (LostError if reason in LOST else DeliveryError)(reason)


def _reason(error: Exception) -> str | None:
    """The reason by the most telling cause of an exception; None where it is a bug of Riskline."""
    causes = list(_causes(error))
    for cause in causes:
        reason = _telling_reason(cause)
        if reason is not None:
            return reason
    for cause in causes:
        reason = _vague_reason(cause)
        if reason is not None:
            return reason
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _telling_reason(error: BaseException) -> str | None:  # noqa: PLR0911 - one for each kind
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate verify failed: {error.verify_message}"
        case ssl.SSLError(reason=reason):
            return f"TLS failed: {(reason or 'the connection was closed').lower().replace('_', ' ')}"
        case socket.gaierror():
            return "no such host name" if error.errno in NO_NAME else "its host name cannot be looked up at present"
        case ConnectionResetError() | BrokenPipeError():
            return RESET
        case h11.RemoteProtocolError(error_status_hint=hint):
            return "sent headers that are too long" if hint == HEADERS_TOO_LARGE else INVALID
        case httpcore.LocalProtocolError() | h2.exceptions.H2Error() | hpack.HPACKError() | ValueError():
            # httpcore raises ValueError for a status that is no number
            return INVALID
        case OSError(errno=int(number)):
            return os.strerror(number).lower()
    return None


def _vague_reason(error: BaseException) -> str | None:
    if isinstance(error, httpcore.ConnectError):
        return "closed the connection before TLS was set up"
    # uvloop raises RuntimeError for a reset connection
    if isinstance(error, CLOSED) or (isinstance(error, RuntimeError) and "closed" in str(error)):
        return CLOSED_SILENTLY
    return None
