"""The request of each call, and the result of its answer, without input or output.

Every call may be repeated, also where nobody knows whether the one before arrived. A submission is known by its
`transaction_id`: the same id and body is the same transaction, which is decided once. Of decisions that are given at
once the first is recorded, and no other. Reading changes nothing, and erasing what is erased is answered alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from riskline_client.answers import Decision, Health, Page, Readiness, State
from riskline_client.encoding import Transaction, encoded
from riskline_client.problems import Answer, document_of, raise_problem
from riskline_client.refusals import BatchResult

T = TypeVar("T")

JSON = "application/json"
NDJSON = "application/x-ndjson"

LONGEST_WAIT_SECONDS = 30.0
"""The longest wait that the service allows."""


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One call: its request, what its answer is parsed with, and the time for it.

    `timeout` is in seconds, for all attempts and the waits between them; `wait`, for which the service is asked to wait
    before it answers, comes on top. A persistent call is tried for as long as there is time.
    """

    method: str
    path: str
    parse: Callable[[Answer], T]
    timeout: float
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    wait: float = 0.0
    persistent: bool = False
    request_id: str | None = None


def score(transaction: Transaction, *, explain: bool, timeout: float, request_id: str | None) -> Call[Decision]:
    """Decide a transaction now."""
    return Call(
        method="POST",
        path="/score-transaction",
        params=_explained(explain),
        headers={"Content-Type": JSON},
        body=encoded(transaction),
        parse=_parsed(Decision.from_json),
        timeout=timeout,
        request_id=request_id,
    )


def submit(
    transaction: Transaction,
    *,
    callback_url: str | None,
    wait: int | None,
    explain: bool,
    timeout: float,
    request_id: str | None,
) -> Call[State]:
    """Queue a transaction."""
    beside = {} if callback_url is None else {"callback_url": callback_url}
    prefer = {} if wait is None else {"Prefer": f"wait={wait}"}
    return Call(
        method="POST",
        path="/transactions",
        params=_explained(explain),
        headers={"Content-Type": JSON, **prefer},
        body=encoded(transaction, **beside),
        parse=_parsed(State.from_json),
        timeout=timeout,
        wait=min(wait or 0.0, LONGEST_WAIT_SECONDS),
        request_id=request_id,
    )


def submit_rows(
    rows: bytes, *, indexes: Sequence[int], explain: bool, timeout: float, request_id: str
) -> Call[BatchResult]:
    """Queue rows of NDJSON, with their indexes in all that is submitted."""

    def parse(answer: Answer) -> BatchResult:
        document = document_of(answer)
        if document.get("type") != "urn:riskline:problem:no-row-accepted":
            raise_problem(answer, document)
        return BatchResult.from_json(document, indexes=indexes)

    return Call(
        method="POST",
        path="/transactions/batch",
        params=_explained(explain),
        headers={"Content-Type": NDJSON},
        body=rows,
        parse=parse,
        timeout=timeout,
        persistent=True,
        request_id=request_id,
    )


def get(
    transaction_id: str, *, wait: float | None, timeout: float, request_id: str | None, persistent: bool = False
) -> Call[State]:
    """The state of a transaction."""
    return Call(
        method="GET",
        path=_path(transaction_id),
        params={} if wait is None else {"wait": f"{wait:g}"},
        parse=_parsed(State.from_json),
        timeout=timeout,
        wait=wait or 0.0,
        request_id=request_id,
        persistent=persistent,
    )


def page(after: str, *, limit: int, wait: float, timeout: float, persistent: bool = False) -> Call[Page]:
    """A page of the feed."""
    return Call(
        method="GET",
        path="/decisions",
        params={"after": after, "limit": str(limit), "wait": f"{wait:g}"},
        parse=_parsed(Page.from_json),
        timeout=timeout,
        wait=wait,
        persistent=persistent,
    )


def erase(transaction_id: str, *, timeout: float, request_id: str | None) -> Call[None]:
    """Erase a transaction."""

    def parse(answer: Answer) -> None:
        if not answer.is_good:
            raise_problem(answer, document_of(answer))

    return Call(method="DELETE", path=_path(transaction_id), parse=parse, timeout=timeout, request_id=request_id)


def health(*, timeout: float) -> Call[Health]:
    """The health: can transactions be scored?"""
    return Call(method="GET", path="/health", parse=_health_parser(Health.from_json), timeout=timeout)


def ready(*, timeout: float) -> Call[Readiness]:
    """The readiness: can transactions be scored and queued?"""
    return Call(method="GET", path="/health/ready", parse=_health_parser(Readiness.from_json), timeout=timeout)


def _path(transaction_id: str) -> str:
    # with dots as they are, `..` would be the path above
    return "/transactions/" + quote(transaction_id, safe=":~").replace(".", "%2E")


def _explained(explain: bool) -> dict[str, str]:  # noqa: FBT001  # private, and named where it is called
    return {"explain": "true"} if explain else {}


def _parsed(from_json: Callable[[Mapping[str, Any]], T]) -> Callable[[Answer], T]:
    def parse(answer: Answer) -> T:
        document = document_of(answer)
        raise_problem(answer, document)
        return from_json(document)

    return parse


def _health_parser(from_json: Callable[[Mapping[str, Any]], T]) -> Callable[[Answer], T]:
    """Parses an answer whose 503 has the same members as its 200, and is no problem."""

    def parse(answer: Answer) -> T:
        document = document_of(answer)
        if "checks" not in document and "model_loaded" not in document:
            raise_problem(answer, document)
        return from_json(document)

    return parse
