"""Scoring by a running service: each row through POST /score-transaction, several at once, answers in their order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import orjson

from riskline.cli.files.scoring import Scored
from riskline.cli.terminal import stderr
from riskline.shared.domain.transaction import TransactionModel
from riskline.shared.errors import InstallationError, SettingsError
from riskline.worker.training.data.rows import Block, Refusal
from riskline_client import (
    Client,
    Conflict,
    ConnectionFailed,
    Decision,
    Forbidden,
    InvalidTransaction,
    ProblemError,
    RateLimited,
    Retries,
    RisklineError,
    Unauthorized,
)
from riskline_client.connection import Connection

PART_ROWS = 1_000
"""Rows in memory as decisions: a second or two."""

SHOWN_ROWS = 50
"""Rows between two steps of the progress bar: a second of a service that takes 20 ms a row."""

PATIENCE_SECONDS = 30.0
"""For one row: a service that is restarted, or that asks for patience, is back by then."""

CHECK_SECONDS = 3.0
"""For the first call: a mistyped URL costs this."""

MOST_ATTEMPTS = 10_000
"""More than the patience allows."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service that scores, and the options of its calls."""

    url: str
    api_key: str | None
    connections: int
    explain: bool


class ServiceScorer:
    """Has a service decide blocks; `versions` are the models that have decided so far."""

    def __init__(
        self, service: Service, transaction_class: type[TransactionModel], *, say: Callable[[str], None]
    ) -> None:
        self._service = service
        self._say = say
        self._patience_seconds = CHECK_SECONDS
        self._client = Client(
            service.url, service.api_key, retries=Retries(attempts=MOST_ATTEMPTS, on_retry=self._retried)
        )
        self._class = transaction_class
        # a thread for each connection takes a third of the time that tasks of one loop take, as was measured
        self._connections = ThreadPoolExecutor(service.connections)
        self.versions: dict[str, None] = {}

    def check(self) -> None:
        """Asks for the health of the service, so that a wrong URL fails at once.

        Raises:
            InstallationError: it cannot be reached, or no model serves there.
        """
        with _errors_as_one_line(self._service):
            health = self._client.health(timeout=CHECK_SECONDS)
        if not health.is_healthy:
            why = health.document.get("detail", "its GET /health says why")
            raise InstallationError(f"{self._service.url}: no model serves there: {why}")
        self._patience_seconds = PATIENCE_SECONDS

    def __call__(self, blocks: Iterable[Block]) -> Iterator[Scored]:
        """Holds each row to the class's rules here, and has those decided that pass.

        Raises:
            InstallationError: the service is away or refuses to score.
        """
        for block in blocks:
            batch = block.batch(self._class)
            refused = Scored(decided=0, ndjson=bytearray())
            refused.refusals.add(batch.refused)
            yield refused
            for first in range(0, len(batch.transactions), PART_ROWS):
                part = slice(first, first + PART_ROWS)
                answers = self._connections.map(self._decide, batch.rows[part], batch.transactions[part])
                while decided := self._next(answers):
                    yield self._scored(decided)

    def _next(self, answers: Iterator[Decision | Refusal]) -> list[Decision | Refusal]:
        with _errors_as_one_line(self._service):
            return list(islice(answers, SHOWN_ROWS))

    def close(self) -> None:
        """Closes the connections; calls under way are not tried again."""
        self._client.close()
        self._connections.shutdown(cancel_futures=True)

    def _retried(self, error: RisklineError, _wait_seconds: float) -> None:
        problem = f"answers {error.status}" if isinstance(error, ProblemError) else "does not answer"
        self._say(f"{self._service.url} {problem}: trying again for up to {self._patience_seconds:g} s")

    def _scored(self, answers: Sequence[Decision | Refusal]) -> Scored:
        decisions = [answer for answer in answers if isinstance(answer, Decision)]
        scored = Scored(decided=len(decisions), ndjson=bytearray())
        for decision in decisions:
            scored.ndjson.extend(orjson.dumps(decision.document, option=orjson.OPT_APPEND_NEWLINE))
            self.versions[decision.model_version] = None
        scored.refusals.add([answer for answer in answers if isinstance(answer, Refusal)])
        return scored

    def _decide(self, row: int, transaction: TransactionModel) -> Decision | Refusal:
        try:
            return self._client.score(transaction.to_json(), explain=self._service.explain, timeout=PATIENCE_SECONDS)
        except InvalidTransaction as error:
            # its class is another than ours
            return Refusal(row, tuple(f"the service refuses it: {each}" for each in error.errors or (error.detail,)))
        except Conflict as error:
            return Refusal(row, (f"the service refuses it: {error.detail}",))


@contextmanager
def scoring_by(
    service: Service, transaction_class: type[TransactionModel], *, say: Callable[[str], None]
) -> Iterator[ServiceScorer]:
    """A scorer for this service, which has answered; `say` gets a line before each attempt that repeats another.

    Raises:
        InstallationError: it cannot be reached, or no model serves there.
        SettingsError: its URL, the key, or the proxy or certificates that the environment names cannot be used.
    """
    try:
        scorer = ServiceScorer(service, transaction_class, say=say)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if service.api_key is not None and Connection(service.url, api_key=None).is_in_clear:
        stderr.print(
            f"warning: {service.url} is not encrypted: others on the way can read the API key and the transactions; "
            "use https://",
            markup=False,
        )
    try:
        scorer.check()
        yield scorer
    finally:
        scorer.close()


@contextmanager
def _errors_as_one_line(service: Service) -> Iterator[None]:
    """Turns an error of the client into one line that says what to do."""
    try:
        yield
    except RisklineError as error:
        raise InstallationError(_line(service, error)) from error


def _line(service: Service, error: RisklineError) -> str:
    match error:
        case ConnectionFailed():
            return str(error)
        case Unauthorized() if service.api_key is None:
            problem = "it wants an API key: set RISKLINE_API_KEY, or name a file that has one by --api-key-file"
        case Unauthorized():
            problem = "it does not take this API key, which is not known there, or has expired or been revoked"
        case Forbidden():
            problem = (
                "the API key may not score; `riskline keys new --name NAME --scope score` makes one there that may"
            )
        case RateLimited():
            problem = f"it takes no more requests for now ({error}); score the file later, or with fewer --connections"
        case _:
            problem = str(error)
    return f"{service.url}: {problem}"
