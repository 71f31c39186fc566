"""The filter of decisions: read from a page's URL, and written into the next one's."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlencode

from riskline.ingest.console.decisions.columns import OF_COLUMN, ShownField
from riskline.shared.domain.policy import Action
from riskline.shared.store.feed import Cursor
from riskline.shared.store.search import NEWEST

OF_FIELD = "f."
"""The prefix of a parameter for a transaction's field: `f.NAME`, `f.NAME.min`, `f.NAME.max`."""

ANY_END = "*"
"""The wildcard at the end of an id. No id contains it."""

LEAST, MOST = ".min", ".max"


@dataclass(frozen=True)
class Filter:
    """The conditions, all of which hold for the decisions shown, and the errors of the URL."""

    given: Mapping[str, str] = field(default_factory=dict)
    action: Action | None = None
    least: float = -math.inf
    most: float = math.inf
    since: datetime | None = None
    until: datetime | None = None
    version: str = ""
    transaction_id: str = ""
    equal: Mapping[str, str] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    at_most: Mapping[str, float] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    """The fields to show; none where the team's own are to be."""
    before: Cursor = NEWEST
    problems: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, params: Mapping[str, str], fields: Sequence[ShownField]) -> Self:
        """The filter of a page's parameters; one that has a wrong value is named among the problems."""
        reader = _Reader(params)
        names = {each.name: each for each in fields}
        equal: dict[str, str] = {}
        at_least: dict[str, float] = {}
        at_most: dict[str, float] = {}
        for name in [name for name, value in params.items() if name.startswith(OF_FIELD) and value]:
            bare = name.removeprefix(OF_FIELD)
            if bare.endswith(LEAST) and bare.removesuffix(LEAST) in names:
                reader.number(name, at_least, bare.removesuffix(LEAST))
            elif bare.endswith(MOST) and bare.removesuffix(MOST) in names:
                reader.number(name, at_most, bare.removesuffix(MOST))
            elif bare in names:
                equal[bare] = reader.text(name)
            else:
                reader.refuse(name, "is for no field of a transaction")
        score: dict[str, float] = {}
        reader.number("score_min", score, LEAST)
        reader.number("score_max", score, MOST)
        action = reader.one_of("action", Action)
        before = params.get("before", "")
        cursor = Cursor.parse(before) if before else NEWEST
        if cursor is None:
            reader.refuse("before", "is no place in the feed")
        return cls(
            action=action,
            least=score.get(LEAST, -math.inf),
            most=score.get(MOST, math.inf),
            since=reader.time("since"),
            until=reader.time("until"),
            version=reader.text("version"),
            transaction_id=reader.text("id"),
            equal=equal,
            at_least=at_least,
            at_most=at_most,
            columns=tuple(each.name for each in fields if reader.text(OF_COLUMN + each.name)),
            before=NEWEST if cursor is None else cursor,
            problems=reader.problems,
            given=reader.given,
        )

    @property
    def is_wrong(self) -> bool:
        """True where a value was not understood: the filter as a whole then means nothing."""
        return bool(self.problems)

    @property
    def complaints(self) -> list[str]:
        """The values that were not understood, each with its parameter and the reason."""
        return [f"{name}={self.given.get(name, '')} {why}" for name, why in self.problems.items()]

    @property
    def names_fields(self) -> bool:
        """True where the filter needs the transactions themselves."""
        return bool(self.equal or self.at_least or self.at_most)

    @property
    def exact_id(self) -> str:
        """The exact id that is looked up first; empty for a prefix."""
        return "" if self.transaction_id.endswith(ANY_END) else self.transaction_id

    @property
    def id_begins(self) -> str:
        """The prefix of the ids; empty without one."""
        return self.transaction_id.removesuffix(ANY_END)

    @property
    def start(self) -> Cursor:
        """The place before which the scan begins."""
        if self.until is None:
            return self.before
        return min(self.before, Cursor(_ms(self.until) + 1, 0))

    @property
    def not_before_ms(self) -> int:
        """The earliest time to scan, in ms."""
        return 0 if self.since is None else _ms(self.since)

    def admits(self, decision: Mapping[str, Any]) -> bool:
        """True where the decision meets the conditions that need no transaction."""
        return (
            (self.action is None or decision.get("action") == self.action)
            and self.least <= decision.get("fraud_probability", math.nan) <= self.most
            and (not self.version or decision.get("model_version") == self.version)
            and str(decision.get("transaction_id", "")).startswith(self.id_begins)
        )

    def admits_values(self, transaction: Mapping[str, Any] | None) -> bool:
        """True where the transaction meets the conditions on fields; one that is not kept any more meets none."""
        if transaction is None:
            return False
        return (
            all(_same(transaction.get(name), wanted) for name, wanted in self.equal.items())
            and all(_number(transaction.get(name)) >= least for name, least in self.at_least.items())
            and all(_number(transaction.get(name)) <= most for name, most in self.at_most.items())
        )

    def shown(self, name: str) -> str:
        """The value of the form's input of this name: a time in the input's own format, others as given."""
        time = {"since": self.since, "until": self.until}.get(name)
        return self.given.get(name, "") if time is None else time.strftime("%Y-%m-%dT%H:%M:%S")

    @property
    def told(self) -> str:
        """The filter as the change log keeps it: of fields the names alone, not the values."""
        given = {
            name: value for name, value in self.given.items() if name != "before" and not name.startswith(OF_COLUMN)
        }
        return ", ".join(name if name.startswith(OF_FIELD) else f"{name} {value}" for name, value in given.items())

    def query(self, **changes: str) -> str:
        """The part of a URL behind the `?` that is this filter, with other values where they are given."""
        return urlencode({name: value for name, value in {**self.given, **changes}.items() if value})


class _Reader:
    """Reads parameters, and remembers which were used and which were wrong."""

    def __init__(self, params: Mapping[str, str]) -> None:
        self._params = params
        self.problems: dict[str, str] = {}
        self.given: dict[str, str] = {}

    def text(self, name: str) -> str:
        value = self._params.get(name, "").strip()
        if value:
            self.given[name] = value
        return value

    def refuse(self, name: str, why: str) -> None:
        self.text(name)
        self.problems[name] = why

    def number(self, name: str, into: dict[str, float], key: str) -> None:
        value = self.text(name)
        try:
            number = float(value or 0)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.problems[name] = "is no number"
        elif value:
            into[key] = number

    def time(self, name: str) -> datetime | None:
        value = self.text(name)
        try:
            time = datetime.fromisoformat(value) if value else None
            if time is None:
                return None
            return (time.replace(tzinfo=UTC) if time.tzinfo is None else time).astimezone(UTC)
        except (ValueError, OverflowError):
            self.problems[name] = "is no time like 2026-11-24T03:15"
            return None

    def one_of(self, name: str, kind: type[Action]) -> Action | None:
        value = self.text(name)
        try:
            return kind(value) if value else None
        except ValueError:
            self.problems[name] = f"is none of {', '.join(kind)}"
            return None


def _ms(time: datetime) -> int:
    return max(0, int(time.timestamp() * 1000))


def _number(value: Any) -> float:
    try:
        # a Decimal is kept as it came, which may be as text
        return float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        return math.nan


def _same(value: Any, wanted: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(wanted) == value
        except ValueError:
            return False
    return str(value).lower() == wanted.lower() if isinstance(value, bool) else str(value) == wanted
