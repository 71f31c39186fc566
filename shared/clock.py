"""The wall clock, read only by the composition roots' children that need it; the core gets its times as arguments."""

import time
from datetime import UTC, datetime

_second: tuple[int, str] = (-1, "")
"""The last second asked for, and its text: formatting it costs twenty times what appending the milliseconds does."""


def utc_now() -> str:
    """The present time as RFC 3339 in UTC with milliseconds, `2026-11-24T03:15:07.123Z`."""
    global _second  # noqa: PLW0603  # a cache of one
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    known, text = _second
    if known != seconds:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _second = (seconds, text)
    return f"{text}.{milliseconds:03d}Z"


def now_us() -> int:
    """The present time in microseconds since 1970."""
    return time.time_ns() // 1000


def utc_text(seconds: float) -> str:
    """A time in seconds since 1970, in the form of `utc_now`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
