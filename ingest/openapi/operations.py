"""The operations of the OpenAPI document: each with body, answers, problems and examples."""

from pydantic_core import to_json

from riskline.ingest.auth.scopes import ACCESS
from riskline.ingest.openapi.components import CALLBACK, SECURITY_SCHEME, Examples, Json
from riskline.ingest.openapi.schemas import Problem, TransactionEvent
from riskline.ingest.problems.problem import MEDIA_PROBLEM
from riskline.ingest.problems.types import REFUSALS, TYPES
from riskline.ingest.submission.callback_field import SubmittedTransaction
from riskline.shared.domain.transaction import TransactionModel

MEDIA_JSON = "application/json"
MEDIA_LINES = "application/x-ndjson"
MEDIA_METRICS = "text/plain"

RATE_FIELDS = ("RateLimit", "RateLimit-Policy")
PROBLEM_HEADERS = {401: ("WWW-Authenticate",), 403: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
"""The headers of an error answer, by its status."""

SIGNATURE_HEADERS = {
    "webhook-id": "The same for all attempts of one event: to tell what has come before.",
    "webhook-timestamp": "When this attempt was made, in seconds since 1970.",
    "webhook-signature": "`v1,` and the signature in base64; several, separated by spaces, while a secret is replaced.",
}


class Operations:
    """Describes bodies and answers for one transaction class."""

    def __init__(
        self,
        transaction_class: type[TransactionModel],
        references: dict[type, Json],
    ) -> None:
        self.transaction_class = transaction_class
        self.references = references
        self.samples = Examples(transaction_class)

    def request_body(self, *, submits: bool) -> Json:
        """One transaction, and what a submission may have beside it."""
        media: Json = {"schema": self.references[SubmittedTransaction if submits else self.transaction_class]}
        example = self.samples.transaction
        if example is not None:
            media["examples"] = {"transaction": {"value": example}}
            if submits:
                media["examples"]["called_back"] = {"value": {**example, "callback_url": CALLBACK["url"]}}
        return {"required": True, "content": {MEDIA_JSON: media}}

    def batch_body(self) -> Json:
        """Many transactions, as an array or in lines."""
        example = self.samples.transaction
        array: Json = {"schema": {"type": "array", "items": self.references[SubmittedTransaction]}}
        lines: Json = {"schema": {"type": "string", "description": "A transaction a line."}}
        if example is not None:
            called_back = {**example, "callback_url": CALLBACK["url"]}
            array["examples"] = {"transactions": {"value": [example]}, "called_back": {"value": [called_back]}}
            lines["examples"] = {"transactions": {"value": to_json(example).decode() + "\n"}}
        return {"required": True, "content": {MEDIA_JSON: array, MEDIA_LINES: lines}}

    def entity_body(self) -> Json:
        """The value of an entity."""
        value: Json = {"type": ["string", "integer"], "minLength": 1, "description": "As its transactions have it."}
        schema = {
            "type": "object",
            "properties": {"value": value},
            "required": ["value"],
            "additionalProperties": False,
        }
        media = {"schema": schema, "examples": {"card": {"value": {"value": "C-7731"}}}}
        return {"required": True, "content": {MEDIA_JSON: media}}

    def identifier(self) -> Json:
        """The parameter that names a transaction."""
        return {
            "name": "transaction_id",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "examples": {"submitted": {"value": self.samples.accepted["transaction_id"]}},
        }

    def answer(self, description: str, body: type, examples: dict[str, Json], *headers: str) -> Json:
        """An answer with a body of JSON."""
        media = {"schema": self.references[body], "examples": _examples(examples)}
        return response(description, {MEDIA_JSON: media}, *headers)

    def callback(self) -> Json:
        """The request that tells the client of the decision."""
        parameters = [
            {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in SIGNATURE_HEADERS.items()
        ]
        media = {"schema": self.references[TransactionEvent], "examples": _examples({"scored": self.samples.event})}
        return {
            "summary": "The decision, signed",
            "description": "A Standard Webhooks 1.0 request, delivered at least once.",
            "parameters": parameters,
            "requestBody": {"required": True, "content": {MEDIA_JSON: media}},
            "responses": {
                "2XX": {"description": "It was received."},
                "410": {"description": "The receiver wants no more of it; it is not tried again."},
                "default": {"description": "It is tried again, not before `Retry-After` where that is given."},
            },
        }

    def problems(self, path: str, *names: str) -> dict[str, Json]:
        """The error answers of an operation, by status, each with an example of every problem that it can be."""
        answers = {}
        for status in sorted({TYPES[name].status for name in names}):
            examples = {name: self.samples.problem(name, path) for name in names if TYPES[name].status == status}
            description = " Or: ".join(f"{problem['title']}." for problem in examples.values())
            media = {"schema": self.references[Problem], "examples": _examples(examples)}
            answers[str(status)] = response(
                description, {MEDIA_PROBLEM: media}, "Link", *PROBLEM_HEADERS.get(status, ())
            )
        return answers

    def guarded(self, path: str, item: Json) -> Json:
        """The operations of a path, with the scopes that they ask for and how they refuse."""
        for method, operation in item.items():
            scopes = ACCESS[method.upper(), path].scopes
            operation["security"] = [{SECURITY_SCHEME: [scope.value]} for scope in scopes]
            if scopes:
                answers = operation["responses"] | self.problems(path, "key-needed", "forbidden", "rate-limited")
                operation["responses"] = dict(sorted(answers.items()))
                for answer in operation["responses"].values():
                    answer["headers"] |= _headers(*RATE_FIELDS)
        return item

    def refusable(self, path: str, item: Json) -> Json:
        """The operations of a path, each with what any request may have for an answer."""
        examples = {name: self.samples.problem(name, path) for name in REFUSALS}
        media = {"schema": self.references[Problem], "examples": _examples(examples)}
        refused = response(
            "Refused for its form, or because all connections are taken.", {MEDIA_PROBLEM: media}, "Link"
        )
        return {
            method: {**operation, "responses": {**operation["responses"], "default": refused}}
            for method, operation in item.items()
        }


def _examples(values: dict[str, Json]) -> Json:
    return {name: {"value": value} for name, value in values.items()}


def response(description: str, content: Json, *headers: str) -> Json:
    """An answer with these headers beside those that each has."""
    return {"description": description, "headers": _headers("X-Request-ID", *headers), "content": content}


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
