"""The columns of history of the example class as a team keeps them in Feast: `REPO FOLDER_OF_VALUES`.

Feature views by entity in the online store of Redis, and what depends on the request as an on-demand feature view. It
is only read: what adds each payment to the counts, a stream job as a rule, is not measured.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64
from feast.value_type import ValueType

KEYS = {
    "card": ("card_id",),
    "merchant": ("merchant_id",),
    "device": ("device_id",),
    "card_merchant": ("card_id", "merchant_id"),
    "card_device": ("card_id", "device_id"),
}
COLUMNS = {
    "card": (
        "payments_1h",
        "payments_24h",
        "payments_30d",
        "spent_24h",
        "mean_30d",
        "largest_30d",
        "last_amount",
        "minutes_since_last",
        "merchants_24h",
    ),
    "merchant": ("merchant_payments_1h", "merchant_mean_30d"),
    "device": ("cards_on_device_7d",),
    "card_merchant": ("times_here_30d",),
    "card_device": ("is_known_device",),
}
DERIVED = ("hour", "amount_to_mean", "amount_to_merchant_mean")

REFERENCES = [f"{view}:{name}" for view, names in COLUMNS.items() for name in names] + [
    f"derived:{name}" for name in DERIVED
]


def store(repo: Path) -> FeatureStore:
    """The feature store over the benchmark's Redis."""
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(repo / "registry.db"),
        online_store={"type": "redis", "connection_string": os.environ["BENCH_REDIS"]},
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
    )
    return FeatureStore(config=config)


def apply(repo: Path, values: Path) -> None:
    """Defines all views, and loads the last values of each entity into the online store."""
    entities = {key: Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for key in sorted(_all_keys())}
    views = {name: _view(name, entities, values) for name in KEYS}
    request = RequestSource(
        name="payment", schema=[Field(name="amount", dtype=Float64), Field(name="hour_of_day", dtype=Int64)]
    )

    @on_demand_feature_view(
        sources=[views["card"], views["merchant"], request],
        schema=[Field(name=name, dtype=Float64) for name in DERIVED],
        mode="python",
        singleton=True,
    )
    def derived(inputs: dict[str, Any]) -> dict[str, Any]:
        mean, merchant_mean = inputs["mean_30d"] or 0.0, inputs["merchant_mean_30d"] or 0.0
        return {
            "hour": float(inputs["hour_of_day"]),
            "amount_to_mean": inputs["amount"] / mean if mean > 0 else 1.0,
            "amount_to_merchant_mean": inputs["amount"] / merchant_mean if merchant_mean > 0 else 1.0,
        }

    made = store(repo)
    made.apply([*entities.values(), *views.values(), derived])
    for name in KEYS:
        frame = pd.read_parquet(values / f"{name}.parquet")
        frame["event_timestamp"] = datetime.now(UTC)
        made.write_to_online_store(name, frame)


def _all_keys() -> set[str]:
    return {key for keys in KEYS.values() for key in keys}


def _view(name: str, entities: dict[str, Entity], values: Path) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[entities[key] for key in KEYS[name]],
        schema=[Field(name=column, dtype=Float64) for column in COLUMNS[name]],
        source=FileSource(
            name=f"{name}_source", path=str(values / f"{name}.parquet"), timestamp_field="event_timestamp"
        ),
        ttl=timedelta(days=30),
        online=True,
    )


if __name__ == "__main__":
    apply(Path(sys.argv[1]), Path(sys.argv[2]))
