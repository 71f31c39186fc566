"""The wrong fields of a body as the answer lists them, in a bounded number."""

import json
from typing import Any

from pydantic import ValidationError

MOST_LISTED = 100
"""Fields listed for one body: as many as a person corrects at a time, in a few kilobytes."""

MORE = {"pointer": "", "detail": "More is wrong than is listed: mend this first"}

_ONE = json.JSONDecoder()


def is_not_json(error: ValidationError) -> bool:
    """True where the body is not JSON; that is then its only error."""
    return error.error_count() == 1 and first_errors(error)[0]["type"] == "json_invalid"


def first_errors(error: ValidationError) -> list[dict[str, Any]]:
    """The first MOST_LISTED errors, without the sent values.

    pydantic makes objects of all of them or of none: thousands take longer than all the rest of a request. As text they
    take next to nothing, and of that only the beginning is read.
    """
    if error.error_count() <= MOST_LISTED:
        return [dict(each) for each in error.errors(include_url=False, include_context=False, include_input=False)]
    text, at = error.json(include_url=False, include_context=False, include_input=False), 1
    found: list[dict[str, Any]] = []
    while len(found) < MOST_LISTED:
        each, end = _ONE.raw_decode(text, at)
        found.append(each)
        at = end + 1
    return found


def wrong_fields(error: ValidationError) -> list[dict[str, str]]:
    """Each wrong field's JSON Pointer and message."""
    listed = [{"pointer": _pointer(each["loc"]), "detail": _detail(each)} for each in first_errors(error)]
    return [*listed, MORE] if error.error_count() > MOST_LISTED else listed


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _detail(error: dict[str, Any]) -> str:
    return "Unknown field" if error["type"] == "extra_forbidden" else str(error["msg"])
