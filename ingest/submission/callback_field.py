"""The field `callback_url` of a submission, beside its transaction: the URL to which the decision is sent."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, from_json

from riskline.shared.clock import utc_now
from riskline.shared.domain.columns import raised_in
from riskline.shared.domain.transaction import BESIDE, TransactionModel
from riskline.shared.domain.wrong_fields import first_errors
from riskline.shared.settings import UNSIGNED, Settings
from riskline.shared.store.records import Submission, queued_record
from riskline.shared.webhooks.url import CallbackUrlError, parse_callback_url

SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}],
    "description": "Where the decision is to be sent: an https URL of a public host, unless this installation allows "
    "others. Not part of the transaction.",
    "examples": ["https://shop.example/hooks/riskline"],
}
"""Its schema in the OpenAPI document."""

MENTIONED = BESIDE.encode()
ESCAPED = re.compile(rb"\\u00[567][0-9a-fA-F]")
"""An escaped letter of that name, as JSON allows."""


class SubmittedTransaction(NamedTuple):
    """A transaction and its callback URL; None where the submission has none."""

    transaction: TransactionModel
    callback_url: str | None


class SubmissionParser:
    """Parses submissions. A team's own class sees its transaction alone, as it does at the other doors."""

    def __init__(
        self,
        transaction_class: type[TransactionModel],
        *,
        check_url: Callable[[str], str],
        default_callback_url: str | None = None,
    ) -> None:
        """`check_url` gives a URL's one spelling, or raises ValueError with what is wrong with it."""
        self.transaction_class = transaction_class
        self.default_callback_url = default_callback_url
        self._check_url = check_url

    def submission(
        self,
        transaction: TransactionModel,
        callback_url: str | None,
        *,
        explain: bool,
        request_id: str,
        traceparent: str | None,
        sender: str | None,
    ) -> Submission:
        """A transaction that was parsed, ready to be submitted."""
        return queued_record(
            transaction,
            submitted_at=utc_now(),
            explain=explain,
            request_id=request_id,
            traceparent=traceparent,
            callback_url=callback_url,
            default_callback_url=self.default_callback_url,
            sender=sender,
        )

    def parse(self, body: bytes) -> SubmittedTransaction:
        """A submission from JSON.

        Raises:
            pydantic.ValidationError: with all that is wrong, or one error of type `json_invalid`.
        """
        if not is_mentioned(body):
            return SubmittedTransaction(self.transaction_class.parse(body), None)
        try:
            row = from_json(body)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            # the class names the error
            return SubmittedTransaction(self.transaction_class.parse(body), None)
        return self.from_row(row)

    def from_row(self, row: dict[str, Any]) -> SubmittedTransaction:
        """A submission from a JSON object; raises as `parse` does."""
        if BESIDE not in row:
            return SubmittedTransaction(self.transaction_class.from_row(row), None)
        row = dict(row)
        url, problem = self._url(row.pop(BESIDE))
        try:
            transaction = self.transaction_class.from_row(row)
        except ValidationError as refused:
            if raised_in(refused):
                # a mistake of the class, which the door tells from a refusal
                raise
            problems = [_again(each) for each in first_errors(refused)]
            raise _refused(problems if problem is None else [*problems, problem]) from None
        if problem is not None:
            raise _refused([problem])
        return SubmittedTransaction(transaction, url)

    def _url(self, given: object) -> tuple[str | None, InitErrorDetails | None]:
        if given is None:
            return None, None
        if not isinstance(given, str):
            return None, _problem("string_type", "Input should be a valid string", given)
        try:
            return self._check_url(given), None
        except ValueError as error:
            return None, _problem("callback_url", str(error), given)


def is_mentioned(body: bytes) -> bool:
    """True where the JSON may have a `callback_url`; False is certain."""
    return MENTIONED in body or (b"\\u00" in body and ESCAPED.search(body) is not None)


def _problem(kind: str, message: str, given: object) -> InitErrorDetails:
    return {"type": PydanticCustomError(kind, message), "loc": (BESIDE,), "input": given}


def _again(error: dict[str, Any]) -> InitErrorDetails:
    return {"type": PydanticCustomError(error["type"], error["msg"]), "loc": tuple(error["loc"]), "input": None}


def _refused(problems: list[InitErrorDetails]) -> ValidationError:
    return ValidationError.from_exception_data("submission", problems)


def url_check(settings: Settings) -> Callable[[str], str]:
    """The check of a `callback_url`: gives its one spelling by which it is kept.

    Raises, when it is called:
        ValueError: it cannot be called, or a callback could not be signed.
    """
    allowed, can_sign = settings.allowed, bool(settings.callback_secrets)

    def check(url: str) -> str:
        if not can_sign:
            raise ValueError("This installation has no RISKLINE_CALLBACK_SECRET: " + UNSIGNED)
        try:
            return parse_callback_url(url, allowed).url
        except CallbackUrlError as error:
            message = str(error)
            raise ValueError(message[:1].upper() + message[1:]) from None

    return check
