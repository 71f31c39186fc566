"""A page for each type of problem: when it happens, and what a client does about it."""

import falcon
import orjson

from riskline.ingest.problems.problem import CHALLENGE, MEDIA_PROBLEM, TYPE_PREFIX, help_link
from riskline.ingest.problems.types import TYPES

HEADERS = {
    401: f"WWW-Authenticate: {CHALLENGE}",
    403: f'WWW-Authenticate: {CHALLENGE}, error="insufficient_scope", scope="read"',
    405: "Allow: GET, DELETE, HEAD, OPTIONS",
    429: "Retry-After: 1",
    503: "Retry-After: 1",
}
"""The headers of an answer of this status, beside those that all have."""

WRONG_FIELDS = [{"pointer": "/no_such_field", "detail": "Unknown field"}]

INTRODUCTION = f"""# Problems

What each error answer means, and what a client does about it. A running API has the same pages: every error answer
names its own in the header `Link: </docs/problems/NAME>; rel="help"`, where NAME is the last part of its `type`
(`{TYPE_PREFIX}NAME`), and `/docs/problems` has them all. [HTTP](http.md) has which call may be answered what.

Compare `type`, and nothing else: `title` and `detail` are for people and may change. What came with a `Retry-After` is
to be sent again after that many seconds, unchanged, and so is a request that had no answer at all: the same
`transaction_id` with the same body is never taken twice. The answers below are examples; each has `X-Request-ID`, too.

This page is made from the code by `make openapi`.
"""


def page(name: str) -> str:
    """The section of the problem of this name, in Markdown.

    Raises:
        KeyError: there is none of this name.
    """
    known = TYPES[name]
    words = f"**{known.status}, {known.title}.** {known.when}\n\n*What to do:* {known.do}"
    return f"## {name}\n\n{words}\n\n```http\n{_answer(name)}\n```\n"


def _answer(name: str) -> str:
    known = TYPES[name]
    status = known.status
    body = {"type": TYPE_PREFIX + name, "title": known.title, "status": status, "detail": known.example}
    body["instance"] = known.path
    if name == "invalid-transaction":
        body |= {"detail": "/no_such_field: Unknown field.", "errors": WRONG_FIELDS}
    lines = [f"HTTP/1.1 {falcon.code_to_http_status(status)}", f"Content-Type: {MEDIA_PROBLEM}"]
    lines += [f"Link: {help_link(name)}"] + ([HEADERS[status]] if status in HEADERS else [])
    return "\n".join([*lines, "", orjson.dumps(body).decode()])


def all_pages() -> str:
    """The sections of all problems, by status, under an introduction."""
    names = sorted(TYPES, key=lambda name: (TYPES[name].status, name))
    return "\n".join([INTRODUCTION, *(page(name) for name in names)])
