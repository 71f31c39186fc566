"""A short run of the fuzzer of raw bytes."""

import pytest

from tests.bench.rawfuzz import run
from tests.integration.apis import RunningApi
from tests.integration.running import OwnRedis

pytestmark = pytest.mark.integration

GROWTH_MB = 15
"""What a process gains while it meets its first requests of each kind."""


def test_broken_requests_are_answered_with_problems_and_harm_nothing(
    shared_redis: OwnRedis, demo_environment: dict[str, str]
) -> None:
    with RunningApi(shared_redis.url, environment={**demo_environment, "RISKLINE_LOG_LEVEL": "WARNING"}) as api:
        figures = run(api, requests=3_000, seed=20_261_124)

    assert figures["wrong"] == []
    assert figures["alive"]
    assert figures["rss_mb_end"] - figures["rss_mb_early"] < GROWTH_MB
    assert "Traceback" not in api.said
    assert '"level": "error"' not in api.said
