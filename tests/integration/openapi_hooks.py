"""What schemathesis does not know of this API; a module of hooks for its command (`SCHEMATHESIS_HOOKS`)."""

import json
from typing import Any

import schemathesis

EXAMPLE = "https://shop.example/hooks/riskline"


@schemathesis.serializer("application/x-ndjson")
def lines(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()


@schemathesis.hook
def map_case(_context: Any, case: Any) -> Any:
    """Which hosts may be called back is no schema's to say."""
    if not case.meta.generation.mode.is_positive:
        return case
    rows = case.body if isinstance(case.body, list) else [case.body]
    for row in rows:
        if isinstance(row, dict) and isinstance(row.get("callback_url"), str):
            row["callback_url"] = EXAMPLE
    return case
