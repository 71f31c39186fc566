"""Answers that are errors, also those of a proxy that knows nothing of problem+json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar

from riskline_client.errors import Problem, UnexpectedAnswer, error_of
from riskline_client.refusals import field_problems

T = TypeVar("T")

NO_TYPE = "about:blank"
"""RFC 9457: the status says all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer. Header names are taken in any case; the id is the service's, else the one sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    request_id: str

    @property
    def is_good(self) -> bool:
        """True for a status of success: no error and no redirection."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


def document_of(answer: Answer) -> Mapping[str, Any]:
    """The JSON object of an answer; an empty one where an error has none.

    Raises:
        UnexpectedAnswer: it is no error, and has none.
    """
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        return document
    if answer.is_good:
        raise unexpected(answer)
    return {}


def raise_problem(answer: Answer, document: Mapping[str, Any]) -> None:
    """Raises the error of an answer that is one.

    Raises:
        ProblemError: of its kind.
    """
    if answer.is_good:
        return
    raise error_of(
        Problem(
            type=_text(document, "type", NO_TYPE),
            title=_text(document, "title", _reason(answer.status)),
            status=answer.status,
            detail=_text(document, "detail", ""),
            request_id=answer.request_id,
            instance=_text(document, "instance", None),
            errors=field_problems(document),
            retry_after=_retry_after(answer.headers.get("retry-after")),
            rate_limit=answer.headers.get("ratelimit"),
            members=document,
        )
    )


def unexpected(answer: Answer) -> UnexpectedAnswer:
    """The error about an answer that is not Riskline's."""
    return UnexpectedAnswer(
        f"the answer (status {answer.status}) is none of Riskline's: does the URL lead to it?",
        request_id=answer.request_id,
    )


def _text(document: Mapping[str, Any], name: str, default: T) -> str | T:
    """A member as RFC 9457 has it; a gateway may mean something else by its name."""
    value = document.get(name)
    return value if isinstance(value, str) else default


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "An unknown status"


def _retry_after(text: str | None) -> float | None:
    """Seconds, or a date (RFC 9110, 10.2.3); anything else is ignored."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
