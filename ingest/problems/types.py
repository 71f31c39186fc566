"""The types of problem, each in one place: status, title, texts, and the request of its page's example."""

from typing import NamedTuple


class ProblemType(NamedTuple):
    """A type of problem."""

    status: int
    title: str
    example: str
    """The detail of the documents' example."""
    when: str
    do: str
    """Advice to a client."""
    detail: str | None = None
    """The detail of an answer that is made without one of its own, where it is longer than the example."""
    path: str = "/transactions"
    """The path of the example's request."""

    @property
    def text(self) -> str:
        """The detail of an answer that is made without one of its own."""
        return self.example if self.detail is None else self.detail


PROBLEMS = {
    "not-json": ProblemType(
        400,
        "The body is not JSON",
        example="The body cannot be read as JSON: EOF while parsing a value.",
        when="The body is no JSON, or is nested more than 200 levels deep; that of a batch is no array, or ends in"
        " the middle of one. `detail` says what the parser met, and where.",
        do="Don't repeat it: mend what writes the body. The rows of a batch that came before the fault were "
        "accepted; to send the whole batch again is safe.",
    ),
    "key-needed": ProblemType(
        401,
        "A valid API key is needed",
        example="Send the header Authorization: Bearer KEY.",
        detail="Send the header Authorization: Bearer KEY, with a key that is known here and has neither expired nor"
        " been revoked.",
        when="The API asks for keys, and the request has none, or one that is unknown, expired or revoked; which "
        "of these is not said. A key that ends while the request waits or a batch is read is answered so, "
        "too.",
        do="Send `Authorization: Bearer KEY` with a valid key. Don't repeat it with the same one. Of a batch, "
        "`accepted` and `known` say what was taken before; to send it again with another key is safe.",
    ),
    "forbidden": ProblemType(
        403,
        "The API key may not do this",
        example="This takes a key with another scope.",
        when="The key is valid, but not for this call. `WWW-Authenticate` names the scope that is wanted.",
        do="Don't repeat it: use a key with that scope, or ask the operator for one.",
        path="/decisions",
    ),
    "unknown-transaction": ProblemType(
        404,
        "Unknown transaction",
        example="No transaction with this id was submitted, or it expired.",
        detail="No transaction with this id was submitted, or its result has expired.",
        when="No transaction with this id was submitted, or its result is older than `RISKLINE_RESULT_TTL`. One "
        "that was decided at once may be unknown for a tenth of a second, until it is recorded.",
        do="Check the id. If it was never submitted, submit it; if it has expired, it would be decided anew.",
        path="/transactions/TXN-99827364",
    ),
    "unknown-entity": ProblemType(
        404,
        "Unknown entity",
        example="It may be card_id, merchant_id.",
        when="The path names no field that is an entity of the transaction class. `detail` says which there are.",
        do="Don't repeat it: name one of these.",
        path="/history/card",
    ),
    "conflict": ProblemType(
        409,
        "The transaction_id is taken by another transaction",
        example="It was submitted with another body.",
        when="The id was submitted before with another body or another `callback_url`, was erased, or has failed "
        "in the queue.",
        do="Don't repeat it. Give the new transaction an id of its own, or fetch the first one's state.",
    ),
    "not-decided-yet": ProblemType(
        409,
        "The transaction is not decided yet",
        example="It waits for its decision.",
        detail="It waits for its decision and can be erased after that. Repeat the request then.",
        when="The transaction to be erased still waits for its decision.",
        do="Repeat it once the transaction is decided: `GET /transactions/{transaction_id}?wait=30` waits for that.",
        path="/transactions/TXN-99827364",
    ),
    "transaction-erased": ProblemType(
        410,
        "The transaction was erased",
        example="Nothing of it is kept.",
        detail="A transaction with this id was decided, and erased since; nothing of it is kept.",
        when="The transaction was decided and then erased.",
        do="Don't repeat it: nothing of it is kept, and for `RISKLINE_RESULT_TTL` its id is not taken again.",
        path="/transactions/TXN-99827364",
    ),
    "cursor-expired": ProblemType(
        410,
        "The feed no longer has this cursor",
        example="Start again with after=0 or after=latest.",
        detail="Decisions after it may have left the feed unread. Start again with after=0, the oldest decision that"
        " is kept, or with after=latest, what comes from now on.",
        when="The feed has moved on beyond the cursor, or Redis lost its data. Decisions after it may have been "
        "missed.",
        do="Start again with `after=0`, the oldest decision that is kept, or with `after=latest`. Don't repeat "
        "the cursor.",
        path="/decisions",
    ),
    "body-too-large": ProblemType(
        413,
        "The body is too large",
        example="A body may have up to 65536 bytes.",
        when="The body of a single transaction is over `RISKLINE_MAX_BODY_BYTES`. What still comes of it is passed"
        " over.",
        do="Don't repeat it: send a smaller one.",
    ),
    "too-many-rows": ProblemType(
        413,
        "The batch has too many rows",
        example="A batch may have up to 10000 rows.",
        when="The batch has more rows than `RISKLINE_MAX_BATCH_ROWS`. Those up to the limit were taken: see "
        "`accepted`, `known` and `rows`.",
        do="Send the remaining rows as another batch.",
        path="/transactions/batch",
    ),
    "unsupported-media-type": ProblemType(
        415,
        "The body must be JSON",
        example="Send the header Content-Type: application/json.",
        when="`Content-Type` is missing, or names something that the call does not take.",
        do="Don't repeat it: send `application/json`, or for a batch in lines `application/x-ndjson`.",
    ),
    "invalid-transaction": ProblemType(
        422,
        "The transaction is not valid",
        example="2 fields are not as they must be; see errors.",
        when="The body is JSON, but no valid transaction. `errors` has each wrong field with a JSON Pointer to it.",
        do="Don't repeat it: correct the fields. A field that is unknown is wrong, too.",
    ),
    "empty-batch": ProblemType(
        422,
        "The batch has no rows",
        example="Send at least one transaction.",
        when="The batch has no rows.",
        do="Don't repeat it: send at least one transaction.",
        path="/transactions/batch",
    ),
    "no-row-accepted": ProblemType(
        422,
        "No row of the batch is accepted",
        example="Each of its rows has a problem; see rows.",
        when="Each row of the batch has a problem of its own. `rows` has each with its index.",
        do="Don't repeat it: correct the rows.",
        path="/transactions/batch",
    ),
    "invalid-parameter": ProblemType(
        422,
        "A query parameter is not valid",
        example="A query parameter has a value it cannot have.",
        when="A query parameter has a value that it cannot have. `detail` names it and what it may be.",
        do="Don't repeat it: correct the parameter.",
    ),
    "rate-limited": ProblemType(
        429,
        "The API key sends too fast",
        example="Its rate is 100/s. Nothing was accepted; send it again later.",
        when="The API key, or where none is asked for all callers together, sends more than its rate; each row of "
        "a batch counts as a request. Nothing was accepted. `RateLimit` and `RateLimit-Policy` say what is "
        "left, and what the rate is.",
        do="Repeat it after `Retry-After`, and send more slowly. Where the rate is too low, ask the operator for"
        " a key with another.",
    ),
    "no-model": ProblemType(
        503,
        "No model serves",
        example="No usable model is active; riskline doctor says why.",
        detail="No usable model is active; the log and riskline doctor say why, and GET /health/ready with a key.",
        when="No model is active, or the active one cannot be used. `riskline doctor` and the log say why, and "
        "`GET /health/ready` with a key that has the scope read.",
        do="Repeat it after `Retry-After`; where it stays so, the operator has to activate a model.",
        path="/score-transaction",
    ),
    "store-unavailable": ProblemType(
        503,
        "Redis is away or takes no writes",
        example="Nothing was accepted. Repeat the request: the same transaction_id is never taken twice.",
        when="Redis is away, is a replica, or is full. `detail` says what became of it: nothing was accepted; or "
        "it is not known, as Redis was asked and did not answer; or what was accepted before cannot be read "
        "now. Of a batch, `accepted` and `known` say how many rows were taken, and `unknown` of how many it "
        "is not known.",
        do="Repeat it after `Retry-After`, then less and less often. `POST /score-transaction` decides without Redis.",
    ),
    "queue-full": ProblemType(
        503,
        "Too many transactions wait for a decision",
        example="The queue limit is reached.",
        when="As many transactions wait for a decision as may (`RISKLINE_QUEUE_LIMIT`).",
        do="Repeat it after `Retry-After`: by then a tenth of the queue should be free. Where it stays so, the "
        "operator starts more workers.",
    ),
    "invalid-entity-value": ProblemType(
        422,
        "The body names no entity",
        example='Send {"value": …} with the value of the entity, as its transactions have it.',
        when='The body is no `{"value": …}`, or the field cannot have this value.',
        do="Don't repeat it: send the value as the entity's transactions have it, a text or a whole number.",
        path="/history/card_id",
    ),
    "history-unavailable": ProblemType(
        503,
        "The history is away",
        example="The history is away, and RISKLINE_HISTORY is required. Repeat the request later.",
        when="The transaction's history cannot be read, and it may not be decided without: `RISKLINE_HISTORY` is "
        "`required`, or the model has no twin that decides without history. Nothing was accepted; of a batch, "
        "`accepted` and `known` say how many rows were. An entity cannot be erased meanwhile.",
        do="Repeat it after `Retry-After`, then less and less often: the same transaction_id is never counted twice.",
        path="/score-transaction",
    ),
}
"""The problems that an operation names."""

REFUSALS = {
    "bad-request": ProblemType(
        400,
        "The request is not valid HTTP",
        example="The parser says: Invalid header token.",
        when="What came is no valid HTTP, has a method that HTTP does not know, or broke off. The connection is "
        "closed.",
        do="Don't repeat it, unless the connection broke: mend the client, or what stands between it and the "
        "API. HTTPS sent to a port without it looks like this, too.",
    ),
    "not-acceptable": ProblemType(
        406,
        "The client takes no JSON",
        example="Send Accept: application/json.",
        detail="Answers are JSON: send Accept: application/json, Accept: */*, or no Accept at all.",
        when="The `Accept` header allows no JSON. Nothing was done.",
        do="Send `Accept: application/json`, `*/*`, or none.",
        path="/decisions",
    ),
    "request-timeout": ProblemType(
        408,
        "The request came too slowly",
        example="A request may take 15 seconds.",
        when="The request came too slowly (`RISKLINE_REQUEST_TIMEOUT`). Nothing of a single transaction was accepted.",
        do="Repeat it on a new connection, where the network allows.",
    ),
    "uri-too-long": ProblemType(
        414,
        "The URI is too long",
        example="It may have up to 8192 bytes.",
        when="The path and its parameters are over the limit.",
        do="Don't repeat it: shorten them.",
    ),
    "expectation-failed": ProblemType(
        417,
        "The expectation is not known",
        example="The only one is Expect: 100-continue.",
        when="`Expect` has something else than `100-continue`.",
        do="Repeat it without that header, or with `100-continue`.",
    ),
    "host-not-allowed": ProblemType(
        421,
        "The service is not known by this name",
        example="Add it to RISKLINE_ALLOWED_HOSTS.",
        when="The API asks for no key, and the request was sent to a name that is neither `localhost` nor an "
        "address, nor in `RISKLINE_ALLOWED_HOSTS`. So is one that a page of another site sends from a "
        "browser, after it had the name of its own site lead here.",
        do="If the name is meant for the API, add it to `RISKLINE_ALLOWED_HOSTS` and start the API again, or "
        "call it by its address. An API with [keys](../how-to/keys.md) answers to any name.",
    ),
    "head-too-large": ProblemType(
        431,
        "The headers are too large",
        example="They may be 100 fields and 32768 bytes in all.",
        when="The headers are too many or too long; often it is cookies, or a proxy that adds to them.",
        do="Don't repeat it: send fewer.",
    ),
    "too-busy": ProblemType(
        503,
        "Too many requests wait for this process",
        example="Nothing was accepted. Send it again later.",
        detail="Nothing was accepted. Send it again later, or start more API processes.",
        when="As many requests wait for this process as may (`RISKLINE_MAX_IN_FLIGHT`). Nothing was accepted.",
        do="Repeat it after `Retry-After`. Where it stays so, start more API processes.",
    ),
    "too-many-connections": ProblemType(
        503,
        "All connections are taken",
        example="Nothing was accepted. Come again.",
        detail="Nothing was accepted. Come again, and keep a connection for many requests.",
        when="This process has as many connections as it may (`RISKLINE_MAX_CONNECTIONS`). Nothing was accepted.",
        do="Repeat it after `Retry-After`, and keep a connection for many requests.",
    ),
}
"""The problems that any request may have for an answer, whatever it asks for."""

GENERIC = {
    "not-found": ProblemType(
        404,
        "Not Found",
        example="There is nothing at this path; see /docs for what there is.",
        when="The API has nothing at this path.",
        do="Don't repeat it: check the address, and the prefix if a proxy adds one. `/docs` has what there is.",
        path="/transaction",
    ),
    "method-not-allowed": ProblemType(
        405,
        "Method Not Allowed",
        example="This path does not take this method; the header Allow lists those it takes.",
        when="The path is right, the method is not.",
        do="Don't repeat it: use one of those in the header `Allow`.",
        path="/transactions/TXN-99827364",
    ),
    "class-raised": ProblemType(
        500,
        "The transaction class failed",
        example="The service's own code for these transactions raised an error, which says nothing of the "
        "transaction. The log has the line of code under the request id of this answer.",
        when="A `@feature` or a validator of the team's own transaction class raised something other than a "
        "refusal (`ValueError` in a validator). Nothing was accepted.",
        do="Repeat it once that class is mended; that is safe. Give the operator the `X-Request-ID` of the "
        "answer: the log has the line under it, as `the transaction class raised`.",
    ),
    "internal-error": ProblemType(
        500,
        "The request failed",
        example="This is a fault of the service; its log has the reason under the request id of this answer.",
        when="A fault of the service.",
        do="Repeat it once, a little later; that is safe. Where it stays so, give the operator the "
        "`X-Request-ID` of the answer: the log has the reason under it.",
    ),
}
"""The answers of any path that are not in the OpenAPI document."""

TYPES = {**PROBLEMS, **REFUSALS, **GENERIC}
