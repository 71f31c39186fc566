"""The components of the OpenAPI document: schemas, headers, parameters, examples."""

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema, from_json

from riskline.ingest.edge.bodies import MAX_WAIT_SECONDS
from riskline.ingest.openapi.schemas import (
    Accepted,
    BatchResult,
    DecisionPage,
    Health,
    Liveness,
    Problem,
    Readiness,
    TransactionEvent,
    TransactionState,
)
from riskline.ingest.problems.problem import TYPE_PREFIX
from riskline.ingest.problems.types import TYPES
from riskline.ingest.submission.callback_field import SCHEMA, SubmittedTransaction
from riskline.shared.domain.class_check import of_examples
from riskline.shared.domain.columns import NUMBERS
from riskline.shared.domain.decision import Decision, Reason, with_direction
from riskline.shared.domain.lifecycle import CallbackStatus, Status
from riskline.shared.domain.policy import Action
from riskline.shared.domain.transaction import BESIDE, TransactionModel
from riskline.shared.store.feed import MAX_PAGE

Json = dict[str, Any]

SCHEMA_PATH = "#/components/schemas/{model}"
ANSWERS = (
    *(Accepted, BatchResult, Decision, DecisionPage, Health, Liveness, Problem, Readiness),
    *(TransactionEvent, TransactionState),
)

SUBMITTED_AT = "2026-11-24T03:15:07.098Z"
SCORED_AT = "2026-11-24T03:15:07.123Z"
MODEL_VERSION = "20261124T031500-3f9a2c1b"

HEADERS: dict[str, Json] = {
    "X-Request-ID": {
        "description": "The request's own `X-Request-ID` where it sent a sane one, else a new id.",
        "schema": {"type": "string"},
    },
    "Link": {
        "description": "Where the page of this type of problem is, with the relation `help` (RFC 8288).",
        "schema": {"type": "string"},
    },
    "Location": {
        "description": "Where the transaction's state is.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {"description": "Seconds after which to come again.", "schema": {"type": "integer", "minimum": 0}},
    "RateLimit": {
        "description": "What is left of the rate of this API key, and the seconds until all of it is there again "
        "(draft-ietf-httpapi-ratelimit-headers); where there is a rate.",
        "schema": {"type": "string"},
        "example": '"key";r=99;t=1',
    },
    "RateLimit-Policy": {
        "description": "The rate: how many requests or rows of a batch in how many seconds.",
        "schema": {"type": "string"},
        "example": '"key";q=100;w=1',
    },
    "WWW-Authenticate": {
        "description": "What to send, and what is wrong with what was sent (RFC 6750).",
        "schema": {"type": "string"},
    },
    "Preference-Applied": {
        "description": "The wait that was granted (RFC 7240), where one was asked for.",
        "schema": {"type": "string"},
    },
}

SECURITY_SCHEME = "apiKey"
SECURITY_SCHEMES: dict[str, Json] = {
    SECURITY_SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer rk_…`, a key that `riskline keys new` made. Each operation names the "
        "scope that the key must have; `admin` has all. An API on loopback that was given no keys asks for none.",
    }
}

EXPLAIN: Json = {
    "name": "explain",
    "in": "query",
    "description": "Give reasons whatever the action; without it an APPROVE has none.",
    "schema": {"type": "boolean", "default": False},
}
DRY_RUN: Json = {
    "name": "dry_run",
    "in": "query",
    "description": "Decide as if it had come now, and keep nothing of it: it is neither recorded nor counted, and no "
    "history knows it.",
    "schema": {"type": "boolean", "default": False},
}
ENTITY: Json = {
    "name": "entity",
    "in": "path",
    "required": True,
    "description": "A field of the transaction class that is an entity.",
    "schema": {"type": "string"},
    "examples": {"card": {"value": "card_id"}},
}
PREFER: Json = {
    "name": "Prefer",
    "in": "header",
    "description": f"`wait=N` (RFC 7240) waits N seconds, at most {MAX_WAIT_SECONDS:.0f}, for the decision.",
    "schema": {"type": "string"},
    "examples": {"wait": {"value": "wait=10"}},
}
WAIT: Json = {
    "name": "wait",
    "in": "query",
    "description": "Seconds to wait for the decision before answering with what is known.",
    "schema": {"type": "number", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "default": 0},
}

AFTER: Json = {
    "name": "after",
    "in": "query",
    "description": "The `next` of an earlier page; `0` for the oldest decision kept, `latest` for what comes from now.",
    "schema": {"type": "string", "pattern": "^(0|latest|[0-9]{1,19}-[0-9]{1,19})$", "default": "0"},
}
LIMIT: Json = {
    "name": "limit",
    "in": "query",
    "description": "How many decisions the page may have.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": MAX_PAGE},
}
FEED_WAIT: Json = {**WAIT, "description": "Seconds to wait for a decision where none comes after the cursor."}


CALLBACK: Json = {
    "url": "https://shop.example/hooks/riskline",
    "status": CallbackStatus.DELIVERED.value,
    "event": "transaction.scored",
    "webhook_id": "msg_6f2c5e0d9a7b4c3f8e1d2a3b4c5d6e7f",
    "attempts": [
        {"at": "2026-11-24T03:15:07.131Z", "status": 503, "latency_ms": 41.2, "answer": "later", "error": None},
        {"at": "2026-11-24T03:15:12.702Z", "status": 204, "latency_ms": 38.9, "answer": "", "error": None},
    ],
    "next_attempt_at": None,
}


class _WireSchema(GenerateJsonSchema):
    """The JSON Schema of answers: no title that repeats a name, no null for a field that is left out instead."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A field's name says as much as a title made of it."""
        del schema
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """An answer's field that defaults to None is there with a value, or is not there."""
        inner = schema["schema"]
        if self.mode == "serialization" and inner["type"] == "nullable" and schema.get("default", ...) is None:
            return self.generate_inner(inner["schema"])
        return super().default_schema(schema)


def schemas_of(transaction_class: type[TransactionModel]) -> tuple[dict[type, Json], Json]:
    """A reference to each class's schema, and the schemas; pydantic renames classes that share a name."""
    references, document = TypeAdapter.json_schemas(
        [
            (transaction_class, "validation", TypeAdapter(transaction_class)),
            *[(answer, "serialization", TypeAdapter(answer)) for answer in ANSWERS],
        ],
        ref_template=SCHEMA_PATH,
        schema_generator=_WireSchema,
    )
    by_class = {key: reference for (key, _mode), reference in references.items()}
    schemas = document["$defs"]
    name = by_class[transaction_class]["$ref"].removeprefix(SCHEMA_PATH.format(model=""))
    transaction = schemas[name]
    submitted = f"{name}Submission"
    schemas[submitted] = {
        **transaction,
        "title": submitted,
        "properties": {**transaction["properties"], BESIDE: SCHEMA},
    }
    return {**by_class, SubmittedTransaction: {"$ref": SCHEMA_PATH.format(model=submitted)}}, schemas


class Examples:
    """Example bodies for one transaction class."""

    def __init__(self, transaction_class: type[TransactionModel]) -> None:
        self._id = {"transaction_id": "TXN-99827364"}
        # those that the examples have
        self._features = transaction_class.twin_feature_names()
        fields = transaction_class.model_fields.items()
        self._number = next((name for name, field in fields if field.annotation in NUMBERS), self._features[0])
        self.transaction = _first_examples(transaction_class)
        feature = self._features[0]
        shown = None if self.transaction is None else transaction_class.from_row(self.transaction).shown_values()[0]
        value = shown if isinstance(shown, str) else float(1 if shown is None else shown)
        said = value if isinstance(value, str) else f"{value:,.2f}"
        moved = 0.3127
        self.decision = Decision(
            transaction_id=self._id["transaction_id"],
            fraud_probability=0.9214,
            action=Action.DECLINE,
            model_version=MODEL_VERSION,
            scored_at=SCORED_AT,
            reasons=(Reason(feature, value, moved, with_direction(f"{feature} {said} is far above usual", moved)),),
        ).to_dict()
        bad_row = {"index": 1, **self.problem("invalid-transaction", "")}
        del bad_row["instance"]
        self.batch: Json = {"accepted": 1, "known": 0, "refused": 1, "rows": [bad_row]}
        self.page: Json = {"decisions": [self.decision], "next": "1795490107123-0"}
        self.accepted: Json = {**self._id, "status": Status.QUEUED.value, "submitted_at": SUBMITTED_AT}
        self.queued: Json = {**self.accepted, "decision": None, "callback": None}
        self.scored: Json = {**self.queued, "status": Status.SCORED.value, "decision": self.decision}
        self.event: Json = {"type": "transaction.scored", "timestamp": SCORED_AT, "data": dict(self.scored)}
        del self.event["data"]["callback"]
        self.called_back: Json = {**self.scored, "callback": CALLBACK}
        self.failed: Json = {**self.queued, "status": Status.FAILED.value, "error": "The worker died on it 3 times."}

    def problem(self, name: str, instance: str) -> Json:
        """The problem of this name, at this path."""
        known = TYPES[name]
        problem: Json = {"type": TYPE_PREFIX + name, "title": known.title, "status": known.status}
        problem["detail"] = known.example
        path = instance.replace("{transaction_id}", self._id["transaction_id"])
        problem["instance"] = path.replace("{entity}", ENTITY["examples"]["card"]["value"])
        if name == "invalid-transaction":
            problem["errors"] = [
                {"pointer": f"/{self._number}", "detail": "Input should be a valid number"},
                {"pointer": "/no_such_field", "detail": "Unknown field"},
            ]
        return problem


def _first_examples(transaction_class: type[TransactionModel]) -> Json | None:
    """A transaction of the fields' first examples; None where they do not make a valid one."""
    built = of_examples(transaction_class)
    shown: Json | None = None if built is None else from_json(built.to_json())
    return shown
