"""The bodies of answers as pydantic models, for the OpenAPI document alone. Responders write them by hand.

A field whose default is None is left out of an answer where it says nothing; one that can be null has no default.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from riskline.shared.domain.decision import Decision
from riskline.shared.domain.lifecycle import CallbackStatus, Status
from riskline.shared.domain.transaction import TransactionId
from riskline.shared.store.status.processes import ProcessState

Timestamp = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}, description="UTC, RFC 3339, with milliseconds.")
]
ModelVersion = Annotated[str | None, Field(description="The version that serves; null where none does.")]


class FieldProblem(BaseModel):
    """One thing that is wrong with the body, and where."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) to the field; empty for the whole body.")
    detail: str


class RefusedRow(BaseModel):
    """A row of a batch that was not accepted: the problem that it would have been alone."""

    index: int = Field(ge=0, description="Which row; the first is 0.")
    type: str = Field(json_schema_extra={"format": "uri"}, description="What kind of problem, as elsewhere.")
    title: str
    status: int = Field(description="The status that it would have had alone.")
    detail: str
    errors: list[FieldProblem] | None = Field(default=None, description="Each field of the row that is wrong.")


class Problem(BaseModel):
    """An error answer (RFC 9457). `/docs/problems` says of each type when it happens and what to do about it."""

    type: str = Field(
        json_schema_extra={"format": "uri"},
        description="What kind of problem: stable, to be compared by programs. After the last colon is the name of its "
        "page below `/docs/problems/`, to which the header `Link` leads.",
    )
    title: str
    status: int
    detail: str = Field(description="What is wrong this time and what to do, for a person.")
    instance: str = Field(json_schema_extra={"format": "uri-reference"}, description="The path of the request.")
    errors: list[FieldProblem] | None = Field(default=None, description="Each field of the body that is wrong.")
    accepted: int | None = Field(default=None, description="Rows of a batch that were accepted all the same.")
    known: int | None = Field(default=None, description="Rows of a batch that were submitted before.")
    rows: list[RefusedRow] | None = Field(default=None, description="Each row of a batch that was refused.")


class BatchResult(BaseModel):
    """The outcome of a batch."""

    accepted: int = Field(ge=0, description="Rows that are safely queued.")
    known: int = Field(ge=0, description="Rows that were submitted before; nothing changed.")
    refused: int = Field(ge=0, description="Rows that were not accepted.")
    rows: list[RefusedRow] = Field(description="Each row that was refused, in the order of the batch.")


class Accepted(BaseModel):
    """A transaction that is safely queued."""

    transaction_id: TransactionId
    status: Literal[Status.QUEUED]
    submitted_at: Timestamp


class CallbackAttempt(BaseModel):
    """One attempt to deliver a callback."""

    at: Timestamp
    status: int | None = Field(description="The receiver's status; null where it gave none.")
    latency_ms: float | None = Field(description="How long it took; null where nothing was sent.")
    answer: str | None = Field(description="How the receiver's answer begins; null for whoever sees the host alone.")
    error: str | None = Field(description="Why there was no answer, or nothing was sent.")


class CallbackState(BaseModel):
    """A callback's status and attempts."""

    url: str = Field(
        description="Where it goes; its host alone where the installation or another API key has named it."
    )
    status: CallbackStatus = Field(
        description="`waiting` for the decision, `pending` until it is delivered, `delivered`, or `dead`: given up."
    )
    event: str | None = Field(description="`transaction.scored` or `transaction.failed`.")
    webhook_id: str | None = Field(description="The `webhook-id` of all its attempts.")
    attempts: list[CallbackAttempt] = Field(description="The last of its attempts, oldest first.")
    next_attempt_at: Timestamp | None
    error: str | None = Field(default=None, description="Why it was given up, where it was.")


class TransactionState(BaseModel):
    """A transaction's status, with its decision or error."""

    transaction_id: TransactionId
    status: Literal[Status.QUEUED, Status.SCORED, Status.FAILED]
    submitted_at: Timestamp
    decision: Decision | None
    callback: CallbackState | None = Field(description="What became of its callback; null where there is none.")
    error: str | None = Field(default=None, description="Why it failed, where it did.")
    history: dict[str, float] | Literal["away"] | None = Field(
        default=None,
        description="The values of the columns that were computed from history, where the class has some; `away` where "
        "it could not be read.",
    )


class EventData(BaseModel):
    """A transaction's state, as its event tells it."""

    transaction_id: TransactionId
    status: Literal[Status.SCORED, Status.FAILED]
    submitted_at: Timestamp
    decision: Decision | None = Field(description="null where it failed.")
    error: str | None = Field(default=None, description="Why it failed, where it did.")


class TransactionEvent(BaseModel):
    """The body of a callback (Standard Webhooks 1.0)."""

    type: Literal["transaction.scored", "transaction.failed"]
    timestamp: Timestamp = Field(description="When it was decided, or failed.")
    data: EventData


class DecisionPage(BaseModel):
    """Decisions in the order in which they were recorded."""

    decisions: list[Decision]
    next: str = Field(description="The `after` of the next page; repeats the present one where nothing came after it.")


class Health(BaseModel):
    """The health of scoring."""

    status: Literal["healthy", "unhealthy"]
    model_loaded: bool
    model_version: ModelVersion
    detail: str | None = Field(default=None, description="Why no model serves, and what to do.")


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["live"]


class Recordings(BaseModel):
    """Synchronous decisions on their way into Redis."""

    pending: int = Field(ge=0, description="Kept in memory, to be recorded.")
    dropped: int = Field(ge=0, description="Answered but never recorded: the buffer was full.")


class QueueState(BaseModel):
    """The queue, as it was a second ago at most."""

    undecided: int = Field(ge=0, description="Accepted transactions without a decision.")
    oldest_seconds: float = Field(ge=0, description="For how long the oldest one of them has waited.")
    failed: int = Field(ge=0, description="Failed transactions that are kept for replay.")
    workers: int = Field(ge=0, description="Workers that show signs of life.")
    callbacks: int = Field(ge=0, description="Callbacks that are neither delivered nor given up.")
    callbacks_overdue_seconds: float = Field(
        ge=0, description="For how long one has been due that no delivery worker has taken."
    )
    callbacks_dead: int = Field(ge=0, description="Callbacks that were given up and are kept for replay.")
    receivers_paused: int = Field(
        ge=0, description="Receivers that are left alone but for one attempt now and then, as their attempts fail."
    )
    callbacks_held: int = Field(ge=0, description="Callbacks that wait for these.")


class VersionServed(BaseModel):
    """The number of processes that serve a version."""

    version: ModelVersion
    api: int = Field(ge=0, description="API processes that serve it.")
    workers: int = Field(ge=0, description="Scoring workers that serve it.")


class ProcessesState(BaseModel):
    """All API processes and scoring workers that show signs of life, as they were some seconds ago at most."""

    versions: list[VersionServed]
    refusals: list[ProcessState] = Field(description="The processes that do not serve the version that they should.")


class Readiness(BaseModel):
    """The readiness to score and to queue transactions, with what is missing.

    Where the API asks for keys, the last four members are null, and reasons short, without one of the scope `read`.
    """

    status: Literal["ready", "unready"]
    missing: list[str] = Field(description="The names of the checks that fail.")
    degraded: list[str] = Field(
        description="What of the installation does not work, though this process does; it may stay in rotation."
    )
    checks: dict[str, str] = Field(
        description="For each check, and for all that is degraded, `ok`, or what is wrong and what to do."
    )
    model_version: ModelVersion
    model_problem: str | None = Field(description="Why this process does not serve the version that it should.")
    processes: ProcessesState | None = Field(description="null while Redis is away.")
    recordings: Recordings | None
    queue: QueueState | None = Field(description="null while Redis is away.")
