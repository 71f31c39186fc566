"""The OpenAPI 3.1 document: its table of operations. It is built once at start, not by a request."""

from riskline.ingest.openapi.components import (
    AFTER,
    DRY_RUN,
    ENTITY,
    EXPLAIN,
    FEED_WAIT,
    HEADERS,
    LIMIT,
    MODEL_VERSION,
    PREFER,
    SECURITY_SCHEMES,
    WAIT,
    Json,
    schemas_of,
)
from riskline.ingest.openapi.operations import MEDIA_JSON, MEDIA_METRICS, Operations, response
from riskline.ingest.openapi.schemas import (
    Accepted,
    BatchResult,
    DecisionPage,
    Health,
    Liveness,
    Readiness,
    TransactionState,
)
from riskline.shared.domain.decision import Decision
from riskline.shared.domain.transaction import TransactionModel

DESCRIPTION = """Scores card transactions with a team's own fraud model.

A JSON number with an integral value is an integer, whatever its spelling (`24.0` is `24`); a string is never a number,
a boolean is never an integer, and unknown fields are refused. Errors are problems (RFC 9457) that name every wrong
field at once. Each answer carries `X-Request-ID`."""

TAGS = {
    "scoring": "The decision at once; works with Redis down.",
    "queue": "Submit now, fetch the decision later; what was accepted is decided once and never lost.",
    "feed": "All decisions, whichever door they came through, in one stream.",
    "operations": "For load balancers, orchestrators, monitoring and generators of clients.",
}

BATCH_PROBLEMS = (
    *("not-json", "too-many-rows", "unsupported-media-type"),
    *("empty-batch", "no-row-accepted", "invalid-parameter"),
)
BODY_PROBLEMS = ("not-json", "body-too-large", "unsupported-media-type", "invalid-transaction", "invalid-parameter")

UNAVAILABLE = ("store-unavailable", "queue-full", "history-unavailable")


def build_openapi(transaction_class: type[TransactionModel], *, version: str) -> Json:
    """The document of the API that takes transactions of this class."""
    references, schemas = schemas_of(transaction_class)
    paths = _Paths(transaction_class, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Riskline",
            "version": version,
            "summary": "Decides card transactions: at once, or queued.",
            "description": DESCRIPTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": {path: paths.refusable(path, paths.guarded(path, item)) for path, item in paths.table().items()},
        "components": {"schemas": schemas, "headers": HEADERS, "securitySchemes": SECURITY_SCHEMES},
    }


class _Paths(Operations):
    """The operations, for one transaction class."""

    def table(self) -> dict[str, Json]:
        """The path items."""
        return {
            "/score-transaction": {"post": self._score()},
            "/transactions": {"post": self._submit()},
            "/transactions/batch": {"post": self._submit_batch()},
            "/transactions/{transaction_id}": {"get": self._state(), "delete": self._erase()},
            "/history/{entity}": {"delete": self._erase_entity()},
            "/decisions": {"get": self._decisions()},
            "/health": {"get": self._health()},
            "/health/live": {"get": self._live()},
            "/health/ready": {"get": self._ready()},
            "/metrics": {"get": self._metrics()},
            "/openapi.json": {"get": self._document()},
        }

    def _score(self) -> Json:
        return {
            "operationId": "scoreTransaction",
            "tags": ["scoring"],
            "summary": "Decide a transaction now",
            "description": "Scored in this process, recorded afterwards: it answers with Redis down, too. An "
            "installation that records strictly answers once it is recorded; only there are 409 and, while Redis is "
            "away, 503.",
            "parameters": [EXPLAIN, DRY_RUN],
            "requestBody": self.request_body(submits=False),
            "responses": {
                "200": self.answer("The decision.", Decision, {"decision": self.samples.decision}),
                **self.problems("/score-transaction", *BODY_PROBLEMS, "conflict", "no-model", *UNAVAILABLE),
            },
        }

    def _submit(self) -> Json:
        samples = self.samples
        return {
            "operationId": "submitTransaction",
            "tags": ["queue"],
            "summary": "Queue a transaction",
            "description": "Answered once the transaction is safely in Redis. Repeating a submission is safe: the same "
            "id with the same body gives the first one's state, with another body 409. With a `callback_url` the "
            "decision is also sent there, signed.",
            "parameters": [EXPLAIN, PREFER],
            "requestBody": self.request_body(submits=True),
            "callbacks": {"decided": {"{$request.body#/callback_url}": {"post": self.callback()}}},
            "responses": {
                "200": self.answer(
                    "It is decided: in the time that `Prefer` gave, or since an earlier submission.",
                    TransactionState,
                    {"scored": samples.scored},
                    "Location",
                    "Preference-Applied",
                ),
                "202": self.answer(
                    "It is queued.",
                    Accepted,
                    {"queued": samples.accepted},
                    "Location",
                    "Retry-After",
                    "Preference-Applied",
                ),
                **self.problems("/transactions", *BODY_PROBLEMS, "conflict", *UNAVAILABLE),
            },
        }

    def _submit_batch(self) -> Json:
        return {
            "operationId": "submitBatch",
            "tags": ["queue"],
            "summary": "Queue many transactions",
            "description": "Answered once the good rows are safely in Redis; the others are listed with what is wrong "
            "with them. The body is read as it arrives. To send it again is safe: a row that is known is not taken "
            "twice. Each row may have a `callback_url` of its own, called as that of a single submission is.",
            "parameters": [EXPLAIN],
            "requestBody": self.batch_body(),
            "responses": {
                "202": self.answer("Some rows are queued.", BatchResult, {"batch": self.samples.batch}),
                **self.problems("/transactions/batch", *BATCH_PROBLEMS, *UNAVAILABLE),
            },
        }

    def _state(self) -> Json:
        path = "/transactions/{transaction_id}"
        samples = self.samples
        states = {
            "scored": samples.scored,
            "called_back": samples.called_back,
            "queued": samples.queued,
            "failed": samples.failed,
        }
        return {
            "operationId": "getTransaction",
            "tags": ["queue"],
            "summary": "What became of a transaction",
            "description": "At once, or with `wait` as soon as it is decided; `Retry-After` says when to ask again.",
            "parameters": [self.identifier(), WAIT],
            "responses": {
                "200": self.answer("Its state.", TransactionState, states, "Retry-After"),
                **self.problems(
                    path, "unknown-transaction", "transaction-erased", "invalid-parameter", "store-unavailable"
                ),
            },
        }

    def _erase(self) -> Json:
        path = "/transactions/{transaction_id}"
        return {
            "operationId": "eraseTransaction",
            "tags": ["queue"],
            "summary": "Erase a transaction",
            "description": "Removes its values and its decision, also from the feed, and its callback. That it was "
            "erased is kept for as long as a result, so that the id is not decided anew in that time.",
            "parameters": [self.identifier()],
            "responses": {
                "204": response("Nothing of it is kept.", {}),
                **self.problems(path, "unknown-transaction", "not-decided-yet", "store-unavailable"),
            },
        }

    def _erase_entity(self) -> Json:
        return {
            "operationId": "eraseEntity",
            "tags": ["operations"],
            "summary": "Erase the history of an entity",
            "description": "Forgets what is kept of one card, merchant or other entity of the transaction class, alone "
            "and together with others. Transactions that come afterwards begin its history anew.",
            "parameters": [ENTITY],
            "requestBody": self.entity_body(),
            "responses": {
                "204": response("Nothing of it is kept.", {}),
                **self.problems(
                    "/history/{entity}",
                    *("not-json", "unknown-entity", "body-too-large", "unsupported-media-type", "invalid-entity-value"),
                    "history-unavailable",
                ),
            },
        }

    def _decisions(self) -> Json:
        return {
            "operationId": "listDecisions",
            "tags": ["feed"],
            "summary": "The decisions of all doors in order",
            "description": "At once, or with `wait` as soon as there is one; each page says where the next one begins.",
            "parameters": [AFTER, LIMIT, FEED_WAIT],
            "responses": {
                "200": self.answer("A page.", DecisionPage, {"page": self.samples.page}, "Retry-After"),
                **self.problems("/decisions", "cursor-expired", "invalid-parameter", "store-unavailable"),
            },
        }

    def _health(self) -> Json:
        healthy = {"status": "healthy", "model_loaded": True, "model_version": MODEL_VERSION}
        unhealthy = {
            "status": "unhealthy",
            "model_loaded": False,
            "model_version": None,
            "detail": "no model was loaded yet",
        }
        return {
            "operationId": "getHealth",
            "tags": ["operations"],
            "summary": "Can transactions be scored",
            "responses": {
                "200": self.answer("A model serves.", Health, {"healthy": healthy}),
                "503": self.answer("No model serves.", Health, {"unhealthy": unhealthy}),
            },
        }

    def _live(self) -> Json:
        return {
            "operationId": "getLiveness",
            "tags": ["operations"],
            "summary": "Is the process up",
            "responses": {"200": self.answer("It answers.", Liveness, {"live": {"status": "live"}})},
        }

    def _ready(self) -> Json:
        ready: Json = {
            "status": "ready",
            "missing": [],
            "degraded": [],
            "checks": {"model": "ok", "redis": "ok"},
            "model_version": MODEL_VERSION,
            "model_problem": None,
            "processes": {"versions": [{"version": MODEL_VERSION, "api": 2, "workers": 3}], "refusals": []},
            "recordings": {"pending": 0, "dropped": 0},
            "queue": {"undecided": 12, "oldest_seconds": 0.021, "failed": 0, "workers": 2},
        }
        ready["queue"] |= {"callbacks": 3, "callbacks_overdue_seconds": 0.0, "callbacks_dead": 0}
        ready["queue"] |= {"receivers_paused": 0, "callbacks_held": 0}
        redis_away = {"model": "ok", "redis": "Redis cannot be reached"}
        unready = {**ready, "status": "unready", "missing": ["redis"], "checks": redis_away}
        unready |= {"processes": None, "queue": None}
        return {
            "operationId": "getReadiness",
            "tags": ["operations"],
            "summary": "Can transactions be scored and queued",
            "responses": {
                "200": self.answer("Every check is ok.", Readiness, {"ready": ready}),
                "503": self.answer("What is missing is named.", Readiness, {"unready": unready}),
            },
        }

    def _metrics(self) -> Json:
        content = {MEDIA_METRICS: {"schema": {"type": "string"}}}
        return {
            "operationId": "getMetrics",
            "tags": ["operations"],
            "summary": "Metrics as Prometheus text",
            "responses": {"200": response("The metrics of all the API's processes.", content)},
        }

    def _document(self) -> Json:
        content = {MEDIA_JSON: {"schema": {"type": "object"}}}
        return {
            "operationId": "getOpenApi",
            "tags": ["operations"],
            "summary": "This document",
            "responses": {"200": response("OpenAPI 3.1.", content)},
        }
