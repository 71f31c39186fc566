"""Files of transactions for tests, in every format."""

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from tests.support.factories import transaction_json

LABEL = "is_fraud"


def rows_of(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Labelled rows, one an hour; every fourth is fraud."""
    return [
        {
            **transaction_json(transaction_id=f"T{i}", amount=i + 0.25),
            "timestamp": datetime(2025, 4, 1 + i // 24, i % 24).isoformat(),  # noqa: DTZ001  # as in files: no zone
            LABEL: int(i % 4 == 0),
            **changes,
        }
        for i in range(count)
    ]


def save(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.name.endswith(".ndjson"):
        path.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    elif path.name.endswith(".parquet"):
        pl.DataFrame(rows).write_parquet(path)
    else:
        text = pl.DataFrame(rows).write_csv().encode()
        path.write_bytes(gzip.compress(text) if path.name.endswith(".gz") else text)
    return path
