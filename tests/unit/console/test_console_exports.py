"""An export of decisions: bounded, at the others' leisure, and for no longer than its reader may see them."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import falcon
import pytest

from riskline.ingest.console.decisions.exports import MAX_EXPORTS, DecisionsExport
from riskline.ingest.console.decisions.filters import Filter
from riskline.ingest.problems.refusals import GONE
from riskline.shared.domain.transaction import Transaction
from riskline.shared.store.feed import Cursor
from riskline.shared.store.search import FoundDecision

DECISION = {"transaction_id": "t", "scored_at": "2026-11-24T03:15:07.123Z", "fraud_probability": 0.5}


class Parts:
    """A feed of many parts."""

    async def all(self, _wanted: Filter) -> AsyncIterator[tuple[list[FoundDecision], Cursor | None]]:
        for number in range(100, 0, -1):
            yield [FoundDecision(Cursor(number, 0), DECISION)], Cursor(number, 0)

    async def span_ms(self, _wanted: Filter) -> tuple[int, int]:
        return 100, 1


class Notes:
    """Where looks are noted."""

    async def note_look(self, *_: Any, **__: Any) -> None:
        """Keeps nothing."""


class Signed:
    """Sessions that end when the test says so."""

    good = True

    def is_good(self, _session: Any) -> bool:
        return self.good


def export(sessions: Any) -> DecisionsExport:
    search: Any = Parts()
    changes: Any = Notes()
    return DecisionsExport(search, changes, sessions, Transaction)


async def asked(file: DecisionsExport, token: str, state: dict[str, bool] | None = None) -> Any:
    """The lines that somebody gets who asks for the file."""
    # another object each time, as without keys
    context = SimpleNamespace(session=SimpleNamespace(token=token))
    scope = {"state": {} if state is None else state}
    req: Any = SimpleNamespace(params={}, context=context, scope=scope, get_param=lambda _: None)
    resp: Any = SimpleNamespace(set_headers=lambda _: None)
    await file.on_get(req, resp)
    return resp.stream


async def test_an_export_ends_with_the_session_of_its_reader() -> None:
    sessions = Signed()
    lines = await asked(export(sessions), "ann")
    seen = [await anext(lines), await anext(lines)]
    sessions.good = False

    with pytest.raises(falcon.HTTPForbidden):
        await anext(lines)

    assert b"".join(seen).count(b"\r\n") == 2


async def test_a_session_has_one_export_at_a_time_and_a_process_few() -> None:
    file = export(Signed())
    running = [await asked(file, f"reader {number}") for number in range(MAX_EXPORTS)]
    for lines in running:
        await anext(lines)

    for token in ("reader 0", "another"):
        with pytest.raises(falcon.HTTPTooManyRequests):
            await asked(file, token)

    for lines in running:
        await lines.aclose()
    assert await anext(await asked(file, "reader 0"))


async def test_an_export_ends_when_its_reader_is_gone() -> None:
    state: dict[str, bool] = {}
    lines = await asked(export(Signed()), "ann", state)
    await anext(lines)
    state[GONE] = True

    assert [part async for part in lines] == []


async def test_an_export_that_has_ended_makes_room_for_the_next() -> None:
    file = export(Signed())
    for _ in range(MAX_EXPORTS + 1):
        lines = await asked(file, "ann")

        assert b"".join([part async for part in lines]).count(b"\r\n") == 101
