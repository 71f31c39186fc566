"""W3C Trace Context: the trace of a request, a transaction or a callback, and its fields in log lines."""

import re
from collections.abc import Mapping
from typing import Any

TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""Level 1, section 3.2: version, trace, the caller's span, flags; ids of zeros are none."""

SAMPLED = 1


def traceparent(given: str | None) -> str | None:
    """The header's value where it is a valid `traceparent`, else None."""
    return given if given and TRACEPARENT.fullmatch(given) else None


def is_sampled(given: object) -> bool:
    """True for a `traceparent` whose caller records the trace."""
    found = TRACEPARENT.fullmatch(given) if isinstance(given, str) else None
    return found is not None and bool(int(found[3], 16) & SAMPLED)


def log_fields(kept: Mapping[str, Any]) -> dict[str, str]:
    """The ids in a record or an event, under the names that logs have for them.

    `trace_id` and `span_id` as in OpenTelemetry's "Trace Context in non-OTLP Log Formats"; the span is the one that
    sent the transaction on.
    """
    fields: dict[str, str] = {}
    if "request_id" in kept:
        fields["request_id"] = kept["request_id"]
    found = TRACEPARENT.fullmatch(str(kept.get("traceparent")))
    if found is not None:
        fields["trace_id"], fields["span_id"] = found[1], found[2]
    return fields
