"""Every error answer: `application/problem+json` (RFC 9457), of a type of the table."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import falcon
import falcon.asgi
import orjson
from pydantic import ValidationError

from riskline.ingest.problems.types import GENERIC, TYPES
from riskline.shared.domain.columns import raised_in, where
from riskline.shared.domain.wrong_fields import MOST_LISTED, first_errors, is_not_json, wrong_fields
from riskline.shared.errors import (
    BundleError,
    ConflictError,
    HistoryRequiredError,
    HistoryUnavailableError,
    OutcomeUnknownError,
    QueueFullError,
    StoreUnavailableError,
    UnreadableStateError,
)
from riskline.shared.log import get_logger
from riskline.shared.telemetry.metrics import CLASS_ERRORS
from riskline.shared.telemetry.trace_context import log_fields

log = get_logger(__name__)

MEDIA_PROBLEM = "application/problem+json"
PATH_CHARACTERS = "/:@!$&'()*+,;=-._~"
"""The characters that need no escape in a URI's path (RFC 3986, 3.3)."""

TYPE_PREFIX = "urn:riskline:problem:"
PAGES_PATH = "/docs/problems"
"""The path of the types' pages."""

NOTHING: Mapping[str, str] = {}

CHALLENGE = 'Bearer realm="riskline"'
UNAVAILABLE = 503
RETRY_AFTER_SECONDS = 1
"""The Retry-After of a 503 in s: Redis or a model that is back is noticed within 1 s, and a place is free by then."""


class HttpProblem(falcon.HTTPError):
    """An error answer with a stable type, and the wrong fields where the body had some."""

    def __init__(
        self,
        name: str,
        detail: str | None = None,
        *,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] = NOTHING,
        members: Mapping[str, Any] = NOTHING,
    ) -> None:
        known = TYPES[name]
        later = {"Retry-After": str(RETRY_AFTER_SECONDS)} if known.status == UNAVAILABLE else {}
        super().__init__(
            known.status,
            title=known.title,
            description=known.text if detail is None else detail,
            headers={**later, **headers},
        )
        self.name = name
        self.errors = errors
        self.members = dict(members)


def key_needed(*, given: bool, **members: Any) -> HttpProblem:
    """401: no key, or one that is not valid. The answer does not say why (challenges as in RFC 6750)."""
    error = ', error="invalid_token"' if given else ""
    return HttpProblem("key-needed", headers={"WWW-Authenticate": CHALLENGE + error}, members=members)


def forbidden(scope: str) -> HttpProblem:
    """403: the key is valid, and not for this."""
    return HttpProblem(
        "forbidden",
        f"This takes a key with the scope {scope}.",
        headers={"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'},
    )


def rate_limited(rate: str, retry_after_seconds: int, **members: Any) -> HttpProblem:
    """429: the key has sent more than its rate (`violated-policies` as the draft of the RateLimit fields has it)."""
    return HttpProblem(
        "rate-limited",
        f"Its rate is {rate}, in which each row of a batch counts. "
        + ("No more was accepted than is said; " if members else "Nothing was accepted; ")
        + "send it again later.",
        headers={"Retry-After": str(retry_after_seconds)},
        members={"violated-policies": ["key"], **members},
    )


def body_too_large(max_body_bytes: int) -> HttpProblem:
    """413: the body is over the limit."""
    return HttpProblem("body-too-large", f"A body may have up to {max_body_bytes} bytes.")


def not_json_content(content_type: str | None, wanted: str = "application/json") -> HttpProblem:
    """415: the body is declared as something else than JSON."""
    given = "none" if content_type is None else "another one"
    return HttpProblem("unsupported-media-type", f"Send the header Content-Type: {wanted}; the request had {given}.")


def bad_parameter(name: str, rule: str) -> HttpProblem:
    """422: a query parameter has a wrong value."""
    return HttpProblem("invalid-parameter", f"The query parameter {name} must be {rule}.")


def invalid_transaction(error: ValidationError, about: Mapping[str, str] = NOTHING) -> HttpProblem:
    """400 where the body is not JSON; 422 with each wrong field; 500 where the team's own class has a mistake.

    The log has the type and the line of the class's exception, never its message, which may contain values. `about` is
    the ids of the request.
    """
    if raised := raised_in(error):
        CLASS_ERRORS.inc()
        for each in raised:
            log.error("the transaction class raised", **about, error=type(each).__name__, at=where(each))
        return HttpProblem("class-raised")
    if is_not_json(error):
        reason = first_errors(error)[0]["msg"].removeprefix("Invalid JSON: ")
        return HttpProblem("not-json", f"The body cannot be read as JSON: {reason}.")
    errors = wrong_fields(error)
    count = f"More than {MOST_LISTED}" if len(errors) > MOST_LISTED else str(len(errors))
    return HttpProblem(
        "invalid-transaction",
        f"{count} fields are not as they must be; see errors."
        if len(errors) > 1
        else f"{errors[0]['pointer'] or 'the body'}: {errors[0]['detail']}.",
        errors=errors,
    )


def help_link(name: str, *, root_path: str = "") -> str:
    """The value of an answer's header `Link` that leads to the page of the type of this name (RFC 8288)."""
    return f'<{root_path}{PAGES_PATH}/{name}>; rel="help"'


def _reason(error: falcon.HTTPError) -> str:
    return str(falcon.code_to_http_status(error.status_code)).partition(" ")[2]


def _name(error: falcon.HTTPError) -> str:
    """The last part of the error's type; of one of Falcon's own, its status in words."""
    return error.name if isinstance(error, HttpProblem) else _reason(error).lower().replace(" ", "-")


def described(error: falcon.HTTPError) -> dict[str, Any]:
    """An error as the members of a problem, without the request that it answers."""
    reason, name = _reason(error), _name(error)
    problem: dict[str, Any] = {
        "type": TYPE_PREFIX + name,
        "title": error.title if isinstance(error, HttpProblem) else reason,
        "status": error.status_code,
        "detail": error.description or (GENERIC[name].text if name in GENERIC else reason),
    }
    if isinstance(error, HttpProblem):
        if error.errors is not None:
            problem["errors"] = error.errors
        problem |= error.members
    return problem


def serialize(req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError) -> None:
    """Answers with an error as a problem."""
    resp.data = orjson.dumps({**described(error), "instance": quote(req.path, safe=PATH_CHARACTERS)})
    resp.content_type = MEDIA_PROBLEM
    resp.append_header("Link", help_link(_name(error), root_path=req.root_path))


READING = ("GET", "HEAD")

REFUSED = TYPES["store-unavailable"].text
NOT_KNOWN = (
    "Redis did not answer in time, so it is not known whether this was taken. Repeat the request: the same "
    "transaction_id is never taken twice."
)
NOT_READ = "What Redis has cannot be read now; nothing that was accepted is lost. Ask again later."
NOT_ERASED = "The history did not answer in time; part may be forgotten. Repeat the request, which is safe."
NO_MORE = "No more was accepted than is said. Repeat the request: the same transaction_id is never taken twice."
SOME_NOT_KNOWN = (
    "Redis did not answer in time, so it is not known whether as many rows as `unknown` says were taken. Repeat the "
    "request: the same transaction_id is never taken twice."
)


def queue_full(detail: str, retry_after_seconds: int, **members: Any) -> HttpProblem:
    """503: more transactions wait for a decision than may."""
    return HttpProblem("queue-full", detail, headers={"Retry-After": str(retry_after_seconds)}, members=members)


def too_many_rows(max_rows: int, **members: Any) -> HttpProblem:
    """413: a batch has more rows than one may have; those before were taken as they came."""
    return HttpProblem(
        "too-many-rows",
        f"A batch may have up to {max_rows} rows; those beyond were not read. Send them as another batch.",
        members=members,
    )


def undescribed(problem: HttpProblem) -> HttpProblem:
    """The same type of problem without its details, for a batch with too many bad rows."""
    detail = "More is wrong with this batch than is described; send this row by itself to learn what."
    return HttpProblem(problem.name, detail)


async def _on_validation_error(req: falcon.asgi.Request, _resp: Any, error: ValidationError, _params: Any) -> None:
    raise invalid_transaction(error, _ids(req))


async def _on_store_unavailable(
    req: falcon.asgi.Request, _resp: Any, error: StoreUnavailableError, _params: Any
) -> None:
    if isinstance(error, HistoryUnavailableError):
        raise HttpProblem("history-unavailable", NOT_ERASED)
    if req.method in READING or isinstance(error, UnreadableStateError):
        raise HttpProblem("store-unavailable", NOT_READ)
    raise HttpProblem("store-unavailable", NOT_KNOWN if isinstance(error, OutcomeUnknownError) else REFUSED)


async def _on_queue_full(_req: Any, _resp: Any, error: QueueFullError, _params: Any) -> None:
    raise queue_full(str(error), error.retry_after_seconds)


async def _on_no_model(_req: Any, _resp: Any, _error: BundleError, _params: Any) -> None:
    raise HttpProblem("no-model")


async def _on_conflict(_req: Any, _resp: Any, error: ConflictError, _params: Any) -> None:
    raise HttpProblem("conflict", str(error))


async def _on_history_required(_req: Any, _resp: Any, error: HistoryRequiredError, _params: Any) -> None:
    raise HttpProblem("history-unavailable", str(error))


def _ids(req: falcon.asgi.Request) -> dict[str, str]:
    return log_fields({"request_id": req.context.request_id, "traceparent": req.context.traceparent})


async def _on_unexpected(req: falcon.asgi.Request, _resp: Any, error: Exception, _params: Any) -> None:
    log.error(
        "request failed",
        **_ids(req),
        key=req.context.get("key_name"),
        path=req.path,
        method=req.method,
        error=type(error).__name__,
        exc_info=error,
    )
    raise HttpProblem("internal-error")


def add_problem_handlers(app: Any) -> None:
    """Makes a Falcon app answer every error as a problem."""
    app.set_error_serializer(serialize)
    app.add_error_handler(Exception, _on_unexpected)
    app.add_error_handler(ValidationError, _on_validation_error)
    app.add_error_handler(StoreUnavailableError, _on_store_unavailable)
    app.add_error_handler(QueueFullError, _on_queue_full)
    app.add_error_handler(BundleError, _on_no_model)
    app.add_error_handler(ConflictError, _on_conflict)
    app.add_error_handler(HistoryRequiredError, _on_history_required)
