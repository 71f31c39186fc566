"""A connection takes no more memory than what installations are sized by, whatever its client has sent."""

import gc
import tracemalloc
from collections.abc import Iterator

import orjson
import pytest

from riskline.shared.settings import load_settings
from tests.support import api as apis
from tests.support.api import Api
from tests.support.api_memory import CONNECTION_BYTES, body_bytes
from tests.support.factories import transaction_json
from tests.support.wire import request, serving

CONNECTIONS = 200

GOOD = request("/score-transaction", orjson.dumps(transaction_json()))
LARGEST = request("/score-transaction", b" " * load_settings().max_body_bytes)[:-1]


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("sent", [b"", LARGEST], ids=["kept open", "in a body"])
@pytest.mark.parametrize("piece_bytes", [1000, 100_000])
async def test_a_connection_takes_its_body_and_little_else(
    sent: bytes, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apis, "MAX_BODY_BYTES", load_settings().max_body_bytes)
    api = Api(record_capacity=0)
    async with serving(api.app) as server:
        # what the first ones bring with them stays
        warm = [server.connect(fast=True).send(GOOD) for _ in range(10)]
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        wires = [server.connect(fast=True) for _ in range(CONNECTIONS)]
        for wire in wires:
            await wire.send(GOOD).answers()
            wire.transport.written.clear()
            for start in range(0, len(sent), piece_bytes):
                wire.send(sent[start : start + piece_bytes])
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before

    assert len(warm) + len(wires) == CONNECTIONS + 10
    assert taken / CONNECTIONS < CONNECTION_BYTES + body_bytes(len(sent))
