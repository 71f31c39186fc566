"""Every error answer: `application/problem+json` (RFC 9457), from one table."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import falcon
import falcon.asgi
import orjson
from pydantic import ValidationError

from riskline.shared.domain.columns import raised_in, where
from riskline.shared.domain.wrong_fields import MOST_LISTED, first_errors, is_not_json, wrong_fields
from riskline.shared.errors import (
    BundleError,
    ConflictError,
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
"""What stands in a URI's path as it is (RFC 3986, 3.3)."""

TYPE_PREFIX = "urn:riskline:problem:"
PAGES_PATH = "/docs/problems"
"""Where the page of each type is, under its name."""

NOTHING: Mapping[str, str] = {}

CHALLENGE = 'Bearer realm="riskline"'
RETRY_AFTER_SECONDS = 1
"""What clients are told while Redis is away or no model serves: both are noticed within a second of their end."""


CLASS_RAISED = (
    "The service's own code for these transactions raised an error, which says nothing of the transaction. The log has "
    "the line of code under the request id of this answer."
)


class Problem(falcon.HTTPError):
    """An error answer with a stable type, and the wrong fields where the body had some."""

    def __init__(
        self,
        *,
        status: int,
        name: str,
        title: str,
        detail: str,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, title=title, description=detail, headers=dict(headers) if headers else None)
        self.name = name
        self.errors = errors
        self.members = dict(members) if members else {}


def key_needed(*, given: bool, **members: Any) -> Problem:
    """401: no key, or one that is not valid; why it is not is nobody's business (challenges as in RFC 6750)."""
    error = ', error="invalid_token"' if given else ""
    return Problem(
        status=401,
        name="key-needed",
        title="A valid API key is needed",
        detail="Send the header Authorization: Bearer KEY, with a key that is known here and has neither expired nor "
        "been revoked.",
        headers={"WWW-Authenticate": CHALLENGE + error},
        members=members,
    )


def forbidden(scope: str) -> Problem:
    """403: the key is valid, and not for this."""
    return Problem(
        status=403,
        name="forbidden",
        title="The API key may not do this",
        detail=f"This takes a key with the scope {scope}.",
        headers={"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'},
    )


def rate_limited(rate: str, retry_after_seconds: int, **members: Any) -> Problem:
    """429: the key has sent more than its rate (`violated-policies` as the draft of the RateLimit fields has it)."""
    return Problem(
        status=429,
        name="rate-limited",
        title="The API key sends too fast",
        detail=f"Its rate is {rate}, in which each row of a batch counts. "
        + ("No more was accepted than is said; " if members else "Nothing was accepted; ")
        + "send it again later.",
        headers={"Retry-After": str(retry_after_seconds)},
        members={"violated-policies": ["key"], **members},
    )


def body_too_large(max_body_bytes: int) -> Problem:
    """413: the body is over the limit."""
    return Problem(
        status=413,
        name="body-too-large",
        title="The body is too large",
        detail=f"A body may have up to {max_body_bytes} bytes.",
    )


def not_json_content(content_type: str | None, wanted: str = "application/json") -> Problem:
    """415: the body is declared as something else than JSON."""
    given = "none" if content_type is None else "another one"
    return Problem(
        status=415,
        name="unsupported-media-type",
        title="The body must be JSON",
        detail=f"Send the header Content-Type: {wanted}; the request had {given}.",
    )


def not_found(transaction_id: str) -> Problem:
    """404: nobody submitted this transaction, or its result has expired."""
    del transaction_id
    return Problem(
        status=404,
        name="unknown-transaction",
        title="Unknown transaction",
        detail="No transaction with this id was submitted, or its result has expired.",
    )


def erased() -> Problem:
    """410: there was one, and its values were erased."""
    return Problem(
        status=410,
        name="transaction-erased",
        title="The transaction was erased",
        detail="A transaction with this id was decided, and erased since; nothing of it is kept.",
    )


def not_decided_yet() -> Problem:
    """409: a transaction cannot be erased before it is decided."""
    return Problem(
        status=409,
        name="not-decided-yet",
        title="The transaction is not decided yet",
        detail="It waits for its decision and can be erased after that. Repeat the request then.",
    )


def cursor_expired() -> Problem:
    """410: the feed no longer has the entry of the cursor, and perhaps not all that came after it either."""
    return Problem(
        status=410,
        name="cursor-expired",
        title="The feed no longer has this cursor",
        detail="Decisions after it may have left the feed unread. Start again with after=0, the oldest decision that "
        "is kept, or with after=latest, what comes from now on.",
    )


def bad_parameter(name: str, rule: str) -> Problem:
    """422: a query parameter has a wrong value."""
    return Problem(
        status=422,
        name="invalid-parameter",
        title="A query parameter is not valid",
        detail=f"The query parameter {name} must be {rule}.",
    )


def invalid_transaction(error: ValidationError, about: Mapping[str, str] = NOTHING) -> Problem:
    """400 where the body is not JSON; 422 with each wrong field; 500 where the team's own class has a mistake.

    The log says what that raised and in which line, never with what message: that may have values; `about` is the ids
    of the request.
    """
    if raised := raised_in(error):
        CLASS_ERRORS.inc()
        for each in raised:
            log.error("the transaction class raised", **about, error=type(each).__name__, at=where(each))
        return _class_raised()
    if is_not_json(error):
        reason = first_errors(error)[0]["msg"].removeprefix("Invalid JSON: ")
        return Problem(
            status=400,
            name="not-json",
            title="The body is not JSON",
            detail=f"The body cannot be read as JSON: {reason}.",
        )
    errors = wrong_fields(error)
    count = f"More than {MOST_LISTED}" if len(errors) > MOST_LISTED else str(len(errors))
    return Problem(
        status=422,
        name="invalid-transaction",
        title="The transaction is not valid",
        detail=f"{count} fields are not as they must be; see errors."
        if len(errors) > 1
        else f"{errors[0]['pointer'] or 'the body'}: {errors[0]['detail']}.",
        errors=errors,
    )


def _class_raised() -> Problem:
    return Problem(status=500, name="class-raised", title="The transaction class failed", detail=CLASS_RAISED)


def help_link(name: str, *, root_path: str = "") -> str:
    """The value of an answer's header `Link` that leads to the page of the type of this name (RFC 8288)."""
    return f'<{root_path}{PAGES_PATH}/{name}>; rel="help"'


def _reason(error: falcon.HTTPError) -> str:
    return str(falcon.code_to_http_status(error.status_code)).partition(" ")[2]


def _name(error: falcon.HTTPError) -> str:
    """The last part of the error's type; of one of Falcon's own, its status in words."""
    return error.name if isinstance(error, Problem) else _reason(error).lower().replace(" ", "-")


def described(error: falcon.HTTPError) -> dict[str, Any]:
    """An error as the members of a problem, without the request that it answers."""
    status, reason, name = error.status_code, _reason(error), _name(error)
    problem: dict[str, Any] = {
        "type": TYPE_PREFIX + name,
        "title": error.title if isinstance(error, Problem) else reason,
        "status": status,
        "detail": error.description or _DETAILS.get(status, reason),
    }
    if isinstance(error, Problem):
        if error.errors is not None:
            problem["errors"] = error.errors
        problem |= error.members
    return problem


def serialize(req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError) -> None:
    """Answers with an error as a problem."""
    resp.data = orjson.dumps({**described(error), "instance": quote(req.path, safe=PATH_CHARACTERS)})
    resp.content_type = MEDIA_PROBLEM
    resp.append_header("Link", help_link(_name(error), root_path=req.root_path))


_DETAILS = {
    404: "There is nothing at this path; see /docs for what there is.",
    405: "This path does not take this method; the header Allow lists those it takes.",
}


READING = ("GET", "HEAD")

REFUSED = "Nothing was accepted. Repeat the request: the same transaction_id is never taken twice."
NOT_KNOWN = (
    "Redis did not answer in time, so it is not known whether this was taken. Repeat the request: the same "
    "transaction_id is never taken twice."
)
NOT_READ = "What Redis has cannot be read now; nothing that was accepted is lost. Ask again later."
NO_MORE = "No more was accepted than is said. Repeat the request: the same transaction_id is never taken twice."
SOME_NOT_KNOWN = (
    "Redis did not answer in time, so it is not known whether as many rows as `unknown` says were taken. Repeat the "
    "request: the same transaction_id is never taken twice."
)


def store_unavailable(detail: str = REFUSED, **members: Any) -> Problem:
    """503: Redis is away or takes no writes; the detail says what became of the request."""
    return Problem(
        status=503,
        name="store-unavailable",
        title="Redis is away or takes no writes",
        detail=detail,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        members=members,
    )


def queue_full(detail: str, retry_after_seconds: int, **members: Any) -> Problem:
    """503: more transactions wait for a decision than may."""
    return Problem(
        status=503,
        name="queue-full",
        title="Too many transactions wait for a decision",
        detail=detail,
        headers={"Retry-After": str(retry_after_seconds)},
        members=members,
    )


def conflict(detail: str) -> Problem:
    """409: the id was submitted with another body."""
    return Problem(
        status=409, name="conflict", title="The transaction_id is taken by another transaction", detail=detail
    )


def too_many_rows(max_rows: int, **members: Any) -> Problem:
    """413: a batch has more rows than one may have; those before were taken as they came."""
    return Problem(
        status=413,
        name="too-many-rows",
        title="The batch has too many rows",
        detail=f"A batch may have up to {max_rows} rows; those beyond were not read. Send them as another batch.",
        members=members,
    )


def undescribed(problem: Problem) -> Problem:
    """The same kind of problem without its details: those of a batch with too much that is wrong."""
    detail = "More is wrong with this batch than is described; send this row by itself to learn what."
    return Problem(status=problem.status_code, name=problem.name, title=str(problem.title), detail=detail)


def empty_batch() -> Problem:
    """422: a batch without a row."""
    return Problem(
        status=422, name="empty-batch", title="The batch has no rows", detail="Send at least one transaction."
    )


def no_row_accepted(**members: Any) -> Problem:
    """422: a batch of which no row is any good."""
    return Problem(
        status=422,
        name="no-row-accepted",
        title="No row of the batch is accepted",
        detail="Each of its rows has a problem; see rows.",
        members=members,
    )


def internal_error() -> Problem:
    """500: a fault of the service."""
    return Problem(
        status=500,
        name="internal-error",
        title="The request failed",
        detail="This is a fault of the service; its log has the reason under the request id of this answer.",
    )


async def _on_validation_error(req: falcon.asgi.Request, _resp: Any, error: ValidationError, _params: Any) -> None:
    raise invalid_transaction(error, _ids(req))


async def _on_store_unavailable(
    req: falcon.asgi.Request, _resp: Any, error: StoreUnavailableError, _params: Any
) -> None:
    if req.method in READING or isinstance(error, UnreadableStateError):
        raise store_unavailable(NOT_READ)
    raise store_unavailable(NOT_KNOWN if isinstance(error, OutcomeUnknownError) else REFUSED)


async def _on_queue_full(_req: Any, _resp: Any, error: QueueFullError, _params: Any) -> None:
    raise queue_full(str(error), error.retry_after_seconds)


async def _on_no_model(_req: Any, _resp: Any, _error: BundleError, _params: Any) -> None:
    raise Problem(
        status=503,
        name="no-model",
        title="No model serves",
        detail="No usable model is active; the log and riskline doctor say why, and GET /health/ready with a key.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


async def _on_conflict(_req: Any, _resp: Any, error: ConflictError, _params: Any) -> None:
    raise conflict(str(error))


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
    raise internal_error()


def add_problem_handlers(app: Any) -> None:
    """Makes a Falcon app answer every error as a problem."""
    app.set_error_serializer(serialize)
    app.add_error_handler(Exception, _on_unexpected)
    app.add_error_handler(ValidationError, _on_validation_error)
    app.add_error_handler(StoreUnavailableError, _on_store_unavailable)
    app.add_error_handler(QueueFullError, _on_queue_full)
    app.add_error_handler(BundleError, _on_no_model)
    app.add_error_handler(ConflictError, _on_conflict)
