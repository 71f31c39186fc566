"""One transaction: what became of it and when, its score, what moved it, and its callback."""

from collections.abc import Mapping
from typing import Any

import falcon.asgi
import orjson

from ingest.console.changes import Changes
from ingest.console.guard import ConsolePage
from ingest.console.rendering import Renderer
from shared.callback import shown_by_itself
from shared.errors import BundleError
from shared.model.registry import Registry
from shared.model.serving import Serving
from shared.policy import Thresholds
from shared.store.interfaces import TransactionIntake
from shared.store.records import Record


class TransactionPage(ConsolePage):
    """GET and POST /console/transactions/{transaction_id}; POST shows the values, too, which is kept as a change."""

    looking_only = True

    def __init__(
        self, renderer: Renderer, changes: Changes, *, intake: TransactionIntake, serving: Serving, registry: Registry
    ) -> None:
        self._renderer = renderer
        self._changes = changes
        self._intake = intake
        self._serving = serving
        self._registry = registry

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str) -> None:
        """All but its values."""
        await self._show(req, resp, transaction_id, with_values=False)

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str) -> None:
        """All of it, once it is kept who asked for that."""
        await self._changes.note(req, "values looked at", transaction=transaction_id)
        await self._show(req, resp, transaction_id, with_values=True)

    async def _show(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str, *, with_values: bool
    ) -> None:
        (record,) = await self._intake.get([transaction_id])
        if record is None:
            raise falcon.HTTPNotFound(
                title="Unknown transaction",
                description="No transaction with this id was submitted, or its result has expired.",
            )
        kept = await self._intake.callback(transaction_id)
        callback = None if kept is None else shown_by_itself(kept)
        decision = record.get("decision")
        self._renderer.page(
            req,
            resp,
            "transaction.html",
            session=req.context.session,
            transaction_id=transaction_id,
            record=record,
            decision=decision,
            thresholds=None if decision is None else self._thresholds(decision["model_version"]),
            reasons=None if decision is None else _bars(decision),
            steps=_steps(record, callback),
            callback=callback,
            with_values=with_values,
            raw=_raw(record) if with_values else None,
        )

    def _thresholds(self, version: str) -> Thresholds | None:
        """Those of a version, where it is here; the decision was taken by them."""
        model = self._serving.model
        if model is not None and model.version == version:
            return model.thresholds
        try:
            return self._registry.manifest(version).thresholds
        except BundleError:
            return None


def _bars(decision: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The reasons, each with the length of its bar in percent of the longest."""
    reasons = decision.get("reasons")
    if not reasons:
        return None
    longest = max(abs(reason["contribution"]) for reason in reasons)
    return [{**reason, "percent": round(50 * abs(reason["contribution"]) / longest, 1)} for reason in reasons]


def _steps(record: Record, callback: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """What happened when: a time, what, and more about it."""
    decision = record.get("decision") or {}
    steps = []
    if decision.get("scored_at") != record["submitted_at"]:
        steps.append((record["submitted_at"], "submitted", ""))
    if decision:
        steps.append((decision["scored_at"], "decided", decision["action"]))
    for attempt in () if callback is None else callback["attempts"]:
        answer = attempt["error"] if attempt.get("status") is None else f"status {attempt['status']}"
        steps.append((attempt["at"], "callback tried", f"{answer} after {attempt['latency_ms']:.0f} ms"))
    if "erased_at" in record:
        steps.append((record["erased_at"], "erased", ""))
    return sorted(steps)


def _raw(record: Record) -> str:
    return orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()
