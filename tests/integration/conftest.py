"""What tests with real processes share: an environment of their own and a model that needs no training."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from riskline.shared.domain.policy import Thresholds
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.bundle import Ensemble, write_bundle
from riskline.shared.model.registry import Registry
from riskline.shared.model.trees import LEAF, Scoring, Trees
from tests.integration.running import OwnRedis
from tests.integration.stores import Store, fake_store, memory_store, real_store, sharded_store


def write_stump(models_dir: Path) -> str:
    """Writes and activates a model of one split: amounts up to 1,000 are at 0.1, above at 0.9."""
    manifest = write_bundle(
        models_dir,
        Ensemble(
            trees=Trees(
                feature=np.array([0, LEAF, LEAF], dtype=np.int32),
                threshold=np.array([1000.0, 0.0, 0.0]),
                left=np.array([1, LEAF, LEAF], dtype=np.int32),
                right=np.array([2, LEAF, LEAF], dtype=np.int32),
                value=np.array([0.5, 0.1, 0.9]),
                roots=np.array([0], dtype=np.int32),
            ),
            scoring=Scoring(inputs="float64", aggregation="mean", link="identity", base=0.5),
            features=Transaction.feature_names(),
            thresholds=Thresholds(),
            estimator="stump",
            metrics={},
            reference={},
        ),
        libraries={},
        created_at="2026-11-24T03:15:00Z",
        training={},
    )
    Registry(models_dir).activate(manifest.version)
    return manifest.version


def clean_environment() -> dict[str, str]:
    """An environment without this machine's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RISKLINE_", "REDIS_URL"))}


@pytest.fixture(scope="session")
def demo_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment without this machine's settings, in which there is a model."""
    models = tmp_path_factory.mktemp("models")
    write_stump(models)
    # port 0: another test, or whatever else runs here, may have 8000
    # stop delay 0: no load balancer has to hear of it
    own = {"RISKLINE_MODELS": str(models), "RISKLINE_PORT": "0", "RISKLINE_STOP_DELAY": "0"}
    return {**clean_environment(), **own}


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path_factory.mktemp("r") / "d")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    """One Redis for all tests that leave it as it is."""
    server = OwnRedis(tmp_path_factory.mktemp("s") / "d")
    yield server
    server.stop()


@pytest.fixture(params=["memory", "fakeredis", "redis", "sharded"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store of each kind."""
    if request.param == "redis":
        store = real_store(request.getfixturevalue("shared_redis").url)
    elif request.param == "sharded":
        store = sharded_store(request.getfixturevalue("shared_redis").url)
    else:
        store = memory_store() if request.param == "memory" else fake_store()
    yield store
    store.close()
