"""The page of a transaction: its timeline, score, reasons and callback."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import falcon.asgi
import orjson

from riskline.ingest.console.change_log import ChangeLog
from riskline.ingest.console.decisions.columns import shown_fields
from riskline.ingest.console.decisions.neighbours import neighbours
from riskline.ingest.console.failed.kinds import is_retrying
from riskline.ingest.console.frame.guard import ConsolePage, parameters
from riskline.ingest.console.frame.sessions import Session
from riskline.ingest.console.frame.shown_values import shows_values
from riskline.ingest.console.transaction.callback_view import without_secrets, without_urls
from riskline.ingest.console.transaction.explanation import explanation
from riskline.ingest.console.transaction.filtered_search import FilteredSearch
from riskline.ingest.console.transaction.score_sum import score_sum
from riskline.ingest.console.transaction.timeline import timeline_of, values_of
from riskline.ingest.services import Services
from riskline.shared.domain.decision import AWAY, is_decision
from riskline.shared.domain.lifecycle import CallbackStatus, Status
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import Manifest, TwinManifest
from riskline.shared.model.serving import ServedModel
from riskline.shared.store.records import Record
from riskline.shared.webhooks.event import of_others, operator_view


class TransactionPage(ConsolePage):
    """GET and POST /console/transactions/{transaction_id}; POST shows the values, too, which is kept."""

    looking_only = True

    def __init__(self, services: Services, search: FilteredSearch, changes: ChangeLog) -> None:
        self._services = services
        self._search = search
        self._changes = changes
        self._fields = shown_fields(services.transaction_class)

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str) -> None:
        """All but its values, which a session that asked for them on every page sees, too."""
        await self._show(req, resp, transaction_id, with_values=shows_values(req))

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str) -> None:
        """All of it."""
        await self._show(req, resp, transaction_id, with_values=True)

    async def _show(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, transaction_id: str, *, with_values: bool
    ) -> None:
        (record,) = await self._services.store.intake.get([transaction_id])
        if record is None:
            raise falcon.HTTPNotFound(
                title="Unknown transaction",
                description="No transaction with this id was submitted, or its result has expired.",
            )
        if with_values:
            await self._changes.note_look(req, "values looked at", transaction=transaction_id)
        session: Session = req.context.session
        callback = await self._callback(transaction_id, with_values=with_values)
        if not (session.may_change or record.get("callback_by", "") == session.sender):
            record, callback = without_urls(record), None if callback is None else of_others(callback)
        decision = record.get("decision")
        if not is_decision(decision):
            # anyone with write access to Redis may have made it
            record, decision = {**record, "decision": None}, None
        explained = self._explained(decision)
        failed_at, given_up_at = await asyncio.to_thread(self._ended_at, transaction_id, record, callback)
        self._services.renderer.page(
            req,
            resp,
            "transaction.html",
            session=session,
            transaction_id=transaction_id,
            record=record,
            decision=decision,
            **explained,
            why="" if decision is None else explanation(decision, explained["thresholds"], with_values=with_values),
            steps=timeline_of(record, callback, failed_at=failed_at, given_up_at=given_up_at),
            callback=callback,
            resend=_resend(callback),
            done=parameters(req),
            beside=await neighbours(self._search, parameters(req), self._fields),
            with_values=with_values,
            always_with_values=shows_values(req),
            **self._values(record if with_values else None),
        )

    async def _callback(self, transaction_id: str, *, with_values: bool) -> dict[str, Any] | None:
        kept = await self._services.store.intake.callback(transaction_id)
        if kept is None:
            return None
        callback = operator_view(kept)
        return callback if with_values else without_secrets(callback)

    def _ended_at(
        self, transaction_id: str, record: Record, callback: Mapping[str, Any] | None
    ) -> tuple[float | None, float | None]:
        """The times at which it failed and its callback was given up, in s; None where it did not, or none is known."""
        failed_at = given_up_ms = None
        if record["status"] == Status.FAILED:
            failed_at = self._services.store.operations.failures.listing.score(transaction_id)
        if callback is not None and callback["status"] == CallbackStatus.DEAD:
            given_up_ms = self._services.store.operations.callbacks.dead_listing.score(transaction_id)
        return failed_at, None if given_up_ms is None else given_up_ms / 1000

    def _values(self, record: Record | None) -> dict[str, Any]:
        """The values, those computed from history, those that can be tried, and all that is kept."""
        if record is None:
            return {"values": {}, "computed": {}, "to_try": {}, "raw": ""}
        transaction, history = record["transaction"], record.get("history")
        values = values_of(transaction if isinstance(transaction, dict) else {})
        computed = values_of(history if isinstance(history, dict) else {})
        id_field = self._services.transaction_class.ID_FIELD
        to_try = {name: value for name, value in {**computed, **values}.items() if name != id_field}
        raw = orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()
        return {"values": values, "computed": computed, "to_try": to_try, "raw": raw}

    def _explained(self, decision: Mapping[str, Any] | None) -> dict[str, Any]:
        """The thresholds that the decision was taken by, its reasons, and what they add up to."""
        if decision is None:
            return {"thresholds": None, "reasons": None, "sum": None}
        by = _decider(self._model(decision["model_version"]), decision)
        reasons = decision.get("reasons")
        total = None
        if by is not None and reasons:
            contributions = [reason["contribution"] for reason in reasons]
            total = score_sum(by.scoring, contributions, decision["fraud_probability"])
        return {"thresholds": None if by is None else by.thresholds, "reasons": _bars(reasons), "sum": total}

    def _model(self, version: str) -> ServedModel | Manifest | None:
        """The facts about a version, where the registry has it."""
        model = self._services.serving.model
        if model is not None and model.version == version:
            return model
        try:
            return self._services.registry.manifest(version)
        except BundleError:
            return None


def _decider(
    model: ServedModel | Manifest | None, decision: Mapping[str, Any]
) -> ServedModel | Manifest | TwinManifest | None:
    """The model itself, or its twin where that took the decision."""
    return None if model is None else model.twin if decision.get("history") == AWAY else model


def _bars(reasons: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """The reasons, each with the length of its bar in percent of the longest."""
    if not reasons:
        return None
    longest = max(abs(reason["contribution"]) for reason in reasons)
    return [{**reason, "percent": round(50 * abs(reason["contribution"]) / longest, 1)} for reason in reasons]


def _resend(callback: Mapping[str, Any] | None) -> str | None:
    """The kind of a callback that can be sent again."""
    if callback is None:
        return None
    if callback["status"] == CallbackStatus.DEAD:
        return "callbacks"
    return "retries" if is_retrying(callback) else None
