"""The OpenAPI 3.1 document: the table of operations; built once at start, so that it costs no request anything."""

from ingest.openapi_parts import EXPLAIN, HEADERS, MODEL_VERSION, PREFER, PROBLEMS, WAIT, Json, Samples, schemas_of
from ingest.problems import MEDIA_PROBLEM
from ingest.schemas import Accepted, Health, Liveness, Problem, Readiness, TransactionState
from shared.decision import Decision
from shared.transaction import TransactionModel

DESCRIPTION = """Scores card transactions with a team's own fraud model.

A JSON number with an integral value is an integer, whatever its spelling (`24.0` is `24`); a string is never a number,
a boolean is never an integer, and unknown fields are refused. Errors are problems (RFC 9457) that name every wrong
field at once. Each answer carries `X-Request-ID`."""

TAGS = {
    "scoring": "The decision at once; works with Redis down.",
    "queue": "Submit now, fetch the decision later; what was accepted is decided once and never lost.",
    "operations": "For load balancers, orchestrators, monitoring and generators of clients.",
}

BODY_PROBLEMS = ("not-json", "body-too-large", "unsupported-media-type", "invalid-transaction", "invalid-parameter")

MEDIA_JSON = "application/json"
MEDIA_METRICS = "text/plain"


def build_openapi(transaction_class: type[TransactionModel], *, version: str) -> Json:
    """The document of the API that takes transactions of this class."""
    references, schemas = schemas_of(transaction_class)
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
        "paths": _Paths(transaction_class, references).table(),
        "components": {"schemas": schemas, "headers": HEADERS},
    }


class _Paths:
    """The operations, for one transaction class."""

    def __init__(self, transaction_class: type[TransactionModel], references: dict[type, Json]) -> None:
        self._transaction_class = transaction_class
        self._references = references
        self._samples = Samples(transaction_class)

    def table(self) -> dict[str, Json]:
        """The path items."""
        return {
            "/score-transaction": {"post": self._score()},
            "/transactions": {"post": self._submit()},
            "/transactions/{transaction_id}": {"get": self._state()},
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
            "description": "Scored in this process, recorded afterwards: it answers with Redis down, too.",
            "parameters": [EXPLAIN],
            "requestBody": self._request_body(),
            "responses": {
                "200": self._answer("The decision.", Decision, {"decision": self._samples.decision}),
                **self._problems("/score-transaction", *BODY_PROBLEMS, "no-model"),
            },
        }

    def _submit(self) -> Json:
        samples = self._samples
        return {
            "operationId": "submitTransaction",
            "tags": ["queue"],
            "summary": "Queue a transaction",
            "description": "Answered once the transaction is safely in Redis. Repeating a submission is safe: the same "
            "id with the same body gives the first one's state, with another body 409.",
            "parameters": [EXPLAIN, PREFER],
            "requestBody": self._request_body(),
            "responses": {
                "200": self._answer(
                    "It is decided: in the time that `Prefer` gave, or since an earlier submission.",
                    TransactionState,
                    {"scored": samples.scored},
                    "Location",
                    "Preference-Applied",
                ),
                "202": self._answer(
                    "It is queued.",
                    Accepted,
                    {"queued": samples.accepted},
                    "Location",
                    "Retry-After",
                    "Preference-Applied",
                ),
                **self._problems("/transactions", *BODY_PROBLEMS, "conflict", "store-unavailable", "queue-full"),
            },
        }

    def _state(self) -> Json:
        path = "/transactions/{transaction_id}"
        samples = self._samples
        states = {"scored": samples.scored, "queued": samples.queued, "failed": samples.failed}
        identifier = {
            "name": "transaction_id",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "examples": {"submitted": {"value": samples.accepted["transaction_id"]}},
        }
        return {
            "operationId": "getTransaction",
            "tags": ["queue"],
            "summary": "What became of a transaction",
            "description": "At once, or with `wait` as soon as it is decided; `Retry-After` says when to ask again.",
            "parameters": [identifier, WAIT],
            "responses": {
                "200": self._answer("Its state.", TransactionState, states, "Retry-After"),
                **self._problems(path, "unknown-transaction", "invalid-parameter", "store-unavailable"),
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
                "200": self._answer("A model serves.", Health, {"healthy": healthy}),
                "503": self._answer("No model serves.", Health, {"unhealthy": unhealthy}),
            },
        }

    def _live(self) -> Json:
        return {
            "operationId": "getLiveness",
            "tags": ["operations"],
            "summary": "Is the process up",
            "responses": {"200": self._answer("It answers.", Liveness, {"live": {"status": "live"}})},
        }

    def _ready(self) -> Json:
        ready: Json = {
            "status": "ready",
            "missing": [],
            "checks": {"model": "ok", "redis": "ok"},
            "model_version": MODEL_VERSION,
            "recordings": {"pending": 0, "dropped": 0},
        }
        redis_away = {"model": "ok", "redis": "Redis cannot be reached"}
        unready = {**ready, "status": "unready", "missing": ["redis"], "checks": redis_away}
        return {
            "operationId": "getReadiness",
            "tags": ["operations"],
            "summary": "Can transactions be scored and queued",
            "responses": {
                "200": self._answer("Every check is ok.", Readiness, {"ready": ready}),
                "503": self._answer("What is missing is named.", Readiness, {"unready": unready}),
            },
        }

    def _metrics(self) -> Json:
        content = {MEDIA_METRICS: {"schema": {"type": "string"}}}
        return {
            "operationId": "getMetrics",
            "tags": ["operations"],
            "summary": "Metrics as Prometheus text",
            "responses": {"200": _response("The metrics of all the API's processes.", content)},
        }

    def _document(self) -> Json:
        content = {MEDIA_JSON: {"schema": {"type": "object"}}}
        return {
            "operationId": "getOpenApi",
            "tags": ["operations"],
            "summary": "This document",
            "responses": {"200": _response("OpenAPI 3.1.", content)},
        }

    def _request_body(self) -> Json:
        media: Json = {"schema": self._references[self._transaction_class]}
        if self._samples.transaction is not None:
            media["examples"] = {"transaction": {"value": self._samples.transaction}}
        return {"required": True, "content": {MEDIA_JSON: media}}

    def _answer(self, description: str, body: type, examples: dict[str, Json], *headers: str) -> Json:
        media = {"schema": self._references[body], "examples": _examples(examples)}
        return _response(description, {MEDIA_JSON: media}, *headers)

    def _problems(self, path: str, *names: str) -> dict[str, Json]:
        """The error answers of an operation, by status, each with an example of every problem that it can be."""
        answers = {}
        for status in sorted({PROBLEMS[name][0] for name in names}):
            examples = {name: self._samples.problem(name, path) for name in names if PROBLEMS[name][0] == status}
            description = " Or: ".join(f"{problem['title']}." for problem in examples.values())
            media = {"schema": self._references[Problem], "examples": _examples(examples)}
            headers = ("Retry-After",) if status == 503 else ()  # noqa: PLR2004
            answers[str(status)] = _response(description, {MEDIA_PROBLEM: media}, *headers)
        return answers


def _examples(values: dict[str, Json]) -> Json:
    return {name: {"value": value} for name, value in values.items()}


def _response(description: str, content: Json, *headers: str) -> Json:
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *headers)}
    return {"description": description, "headers": named, "content": content}
