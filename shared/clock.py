"""The wall clock, read only by the composition roots' children that need it; the core gets its times as arguments."""

from datetime import UTC, datetime


def utc_now() -> str:
    """The present time as RFC 3339 in UTC with milliseconds, `2026-11-24T03:15:07.123Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
