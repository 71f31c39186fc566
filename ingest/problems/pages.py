"""A page for each type of problem: when it happens, and what a client does about it."""

from typing import NamedTuple

import falcon
import orjson

from riskline.ingest.openapi.parts import PROBLEMS, REFUSALS
from riskline.ingest.problems.table import CHALLENGE, CLASS_RAISED, MEDIA_PROBLEM, TYPE_PREFIX, help_link

PATHS = {
    "unknown-transaction": "/transactions/TXN-99827364",
    "not-decided-yet": "/transactions/TXN-99827364",
    "transaction-erased": "/transactions/TXN-99827364",
    "method-not-allowed": "/transactions/TXN-99827364",
    "cursor-expired": "/decisions",
    "forbidden": "/decisions",
    "not-acceptable": "/decisions",
    "no-model": "/score-transaction",
    "too-many-rows": "/transactions/batch",
    "empty-batch": "/transactions/batch",
    "no-row-accepted": "/transactions/batch",
    "not-found": "/transaction",
}
"""Where an example's request went, if not to /transactions."""

HEADERS = {
    401: f"WWW-Authenticate: {CHALLENGE}",
    403: f'WWW-Authenticate: {CHALLENGE}, error="insufficient_scope", scope="read"',
    405: "Allow: GET, DELETE, HEAD, OPTIONS",
    429: "Retry-After: 1",
    503: "Retry-After: 1",
}
"""What an answer of this status has beside the headers of all."""

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


GENERIC: dict[str, tuple[int, str, str]] = {
    "not-found": (404, "Not Found", "There is nothing at this path; see /docs for what there is."),
    "method-not-allowed": (
        405,
        "Method Not Allowed",
        "This path does not take this method; the header Allow lists those it takes.",
    ),
    "class-raised": (
        500,
        "The transaction class failed",
        CLASS_RAISED,
    ),
    "internal-error": (
        500,
        "The request failed",
        "This is a fault of the service; its log has the reason under the request id of this answer.",
    ),
}
"""Status, title and detail of what any path may have for an answer that is not in the OpenAPI document."""

KNOWN = {**PROBLEMS, **REFUSALS, **GENERIC}


class Advice(NamedTuple):
    """What there is to know of a type of problem."""

    when: str
    do: str


ADVICE: dict[str, Advice] = {
    "not-json": Advice(
        "The body is no JSON, or is nested more than 200 levels deep; that of a batch is no array, or ends in the "
        "middle of one. "
        "`detail` says what the parser met, and where.",
        "Don't repeat it: mend what writes the body. The rows of a batch that came before the fault were "
        "accepted; to send "
        "the whole batch again is safe.",
    ),
    "key-needed": Advice(
        "The API asks for keys, and the request has none, or one that is unknown, expired or revoked; which of "
        "these is "
        "not said. A key that ends while the request waits or a batch is read is answered so, too.",
        "Send `Authorization: Bearer KEY` with a valid key. Don't repeat it with the same one. Of a batch, "
        "`accepted` and "
        "`known` say what was taken before; to send it again with another key is safe.",
    ),
    "forbidden": Advice(
        "The key is valid, but not for this call. `WWW-Authenticate` names the scope that is wanted.",
        "Don't repeat it: use a key with that scope, or ask the operator for one.",
    ),
    "unknown-transaction": Advice(
        "No transaction with this id was submitted, or its result is older than `RISKLINE_RESULT_TTL`. One that was "
        "decided at once may be unknown for a tenth of a second, until it is recorded.",
        "Check the id. If it was never submitted, submit it; if it has expired, it would be decided anew.",
    ),
    "conflict": Advice(
        "The id was submitted before with another body or another `callback_url`, was erased, or has failed in "
        "the queue.",
        "Don't repeat it. Give the new transaction an id of its own, or fetch the first one's state.",
    ),
    "not-decided-yet": Advice(
        "The transaction to be erased still waits for its decision.",
        "Repeat it once the transaction is decided: `GET /transactions/{transaction_id}?wait=30` waits for that.",
    ),
    "transaction-erased": Advice(
        "The transaction was decided and then erased.",
        "Don't repeat it: nothing of it is kept, and for `RISKLINE_RESULT_TTL` its id is not taken again.",
    ),
    "cursor-expired": Advice(
        "The feed has moved on beyond the cursor, or Redis lost its data. Decisions after it may have been missed.",
        "Start again with `after=0`, the oldest decision that is kept, or with `after=latest`. Don't repeat the "
        "cursor.",
    ),
    "body-too-large": Advice(
        "The body of a single transaction is over `RISKLINE_MAX_BODY_BYTES`. What still comes of it is passed over.",
        "Don't repeat it: send a smaller one.",
    ),
    "too-many-rows": Advice(
        "The batch has more rows than `RISKLINE_MAX_BATCH_ROWS`. Those up to the limit were taken: see `accepted`, "
        "`known` and `rows`.",
        "Send the remaining rows as another batch.",
    ),
    "unsupported-media-type": Advice(
        "`Content-Type` is missing, or names something that the call does not take.",
        "Don't repeat it: send `application/json`, or for a batch in lines `application/x-ndjson`.",
    ),
    "invalid-transaction": Advice(
        "The body is JSON, but no valid transaction. `errors` has each wrong field with a JSON Pointer to it.",
        "Don't repeat it: correct the fields. A field that is unknown is wrong, too.",
    ),
    "empty-batch": Advice("The batch has no rows.", "Don't repeat it: send at least one transaction."),
    "no-row-accepted": Advice(
        "Each row of the batch has a problem of its own. `rows` has each with its index.",
        "Don't repeat it: correct the rows.",
    ),
    "invalid-parameter": Advice(
        "A query parameter has a value that it cannot have. `detail` names it and what it may be.",
        "Don't repeat it: correct the parameter.",
    ),
    "rate-limited": Advice(
        "The API key, or where none is asked for all callers together, sends more than its rate; each row of a batch "
        "counts as a request. Nothing was accepted. `RateLimit` and `RateLimit-Policy` say what is left, and what the "
        "rate is.",
        "Repeat it after `Retry-After`, and send more slowly. Where the rate is too low, ask the operator for a key "
        "with another.",
    ),
    "no-model": Advice(
        "No model is active, or the active one cannot be used. `riskline doctor` and the log say why, and "
        "`GET /health/ready` with a key that has the scope read.",
        "Repeat it after `Retry-After`; where it stays so, the operator has to activate a model.",
    ),
    "store-unavailable": Advice(
        "Redis is away, is a replica, or is full. `detail` says what became of it: nothing was accepted; or it "
        "is not known, as Redis was asked and did not answer; or what was accepted before cannot be read now. Of a "
        "batch, `accepted` and `known` say how many rows were taken, and `unknown` of how many it is not known.",
        "Repeat it after `Retry-After`, then less and less often. `POST /score-transaction` decides without Redis.",
    ),
    "queue-full": Advice(
        "As many transactions wait for a decision as may (`RISKLINE_QUEUE_LIMIT`).",
        "Repeat it after `Retry-After`: by then a tenth of the queue should be free. Where it stays so, the "
        "operator starts "
        "more workers.",
    ),
    "bad-request": Advice(
        "What came is no valid HTTP, has a method that HTTP does not know, or broke off. The connection is closed.",
        "Don't repeat it, unless the connection broke: mend the client, or what stands between it and the API. "
        "HTTPS sent to "
        "a port without it looks like this, too.",
    ),
    "not-acceptable": Advice(
        "The `Accept` header allows no JSON. Nothing was done.",
        "Send `Accept: application/json`, `*/*`, or none.",
    ),
    "request-timeout": Advice(
        "The request came too slowly (`RISKLINE_REQUEST_TIMEOUT`). Nothing of a single transaction was accepted.",
        "Repeat it on a new connection, where the network allows.",
    ),
    "uri-too-long": Advice("The path and its parameters are over the limit.", "Don't repeat it: shorten them."),
    "expectation-failed": Advice(
        "`Expect` has something else than `100-continue`.", "Repeat it without that header, or with `100-continue`."
    ),
    "host-not-allowed": Advice(
        "The API asks for no key, and the request was sent to a name that is neither `localhost` nor an address, nor "
        "in `RISKLINE_ALLOWED_HOSTS`. So is one that a page of another site sends from a browser, after it had the "
        "name of its own site lead here.",
        "If the name is meant for the API, add it to `RISKLINE_ALLOWED_HOSTS` and start the API again, or call it by "
        "its address. An API with [keys](../how-to/keys.md) answers to any name.",
    ),
    "head-too-large": Advice(
        "The headers are too many or too long; often it is cookies, or a proxy that adds to them.",
        "Don't repeat it: send fewer.",
    ),
    "too-busy": Advice(
        "As many requests wait for this process as may (`RISKLINE_MAX_IN_FLIGHT`). Nothing was accepted.",
        "Repeat it after `Retry-After`. Where it stays so, start more API processes.",
    ),
    "too-many-connections": Advice(
        "This process has as many connections as it may (`RISKLINE_MAX_CONNECTIONS`). Nothing was accepted.",
        "Repeat it after `Retry-After`, and keep a connection for many requests.",
    ),
    "not-found": Advice(
        "The API has nothing at this path.",
        "Don't repeat it: check the address, and the prefix if a proxy adds one. `/docs` has what there is.",
    ),
    "method-not-allowed": Advice(
        "The path is right, the method is not.", "Don't repeat it: use one of those in the header `Allow`."
    ),
    "class-raised": Advice(
        "A `@feature` or a validator of the team's own transaction class raised something other than a refusal "
        "(`ValueError` in a validator). Nothing was accepted.",
        "Repeat it once that class is mended; that is safe. Give the operator the `X-Request-ID` of the answer: the "
        "log has the line under it, as `the transaction class raised`.",
    ),
    "internal-error": Advice(
        "A fault of the service.",
        "Repeat it once, a little later; that is safe. Where it stays so, give the operator the `X-Request-ID` of the "
        "answer: the log has the reason under it.",
    ),
}
"""Of every type that an answer may have; a test compares them with the code."""


def page(name: str) -> str:
    """The section of the problem of this name, in Markdown.

    Raises:
        KeyError: there is none of this name.
    """
    advice = ADVICE[name]
    status, title, _ = KNOWN[name]
    words = f"**{status}, {title}.** {advice.when}\n\n*What to do:* {advice.do}"
    return f"## {name}\n\n{words}\n\n```http\n{_answer(name)}\n```\n"


def _answer(name: str) -> str:
    status, title, detail = KNOWN[name]
    body = {"type": TYPE_PREFIX + name, "title": title, "status": status, "detail": detail}
    body["instance"] = PATHS.get(name, "/transactions")
    if name == "invalid-transaction":
        body |= {"detail": "/no_such_field: Unknown field.", "errors": WRONG_FIELDS}
    lines = [f"HTTP/1.1 {falcon.code_to_http_status(status)}", f"Content-Type: {MEDIA_PROBLEM}"]
    lines += [f"Link: {help_link(name)}"] + ([HEADERS[status]] if status in HEADERS else [])
    return "\n".join([*lines, "", orjson.dumps(body).decode()])


def all_pages() -> str:
    """Those of all problems, by status, under an introduction."""
    names = sorted(ADVICE, key=lambda name: (KNOWN[name][0], name))
    return "\n".join([INTRODUCTION, *(page(name) for name in names)])
