"""Transactions as calls of the script *observe*, and its answers as what was seen."""

from collections.abc import Iterator, Sequence
from typing import Any

from riskline.shared.domain.history.observation import Observation, Part, SeenBefore, event_id
from riskline.shared.domain.history.plan import EntityPlan, History
from riskline.shared.store.history.server import RedisCommand, Word, script_call
from riskline.shared.store.keys import entity_key

Place = tuple[int, int]
"""The number of a transaction, and that of one of its parts."""


def keep_ms(plan: EntityPlan) -> int:
    """How long the entity is kept after its last event, in milliseconds."""
    return -(-plan.keep_us // 1000)


class Calls:
    """The calls for one class's transactions."""

    def __init__(self, history: History) -> None:
        self._entities = history.entities
        self._keeps = tuple(keep_ms(plan) for plan in history.entities)

    def key(self, number: int, entity: str) -> str:
        """The key of an entity, by its number in `History.entities`."""
        return entity_key(self._entities[number].fingerprint, entity)

    def together(self, observations: Sequence[Observation]) -> list[RedisCommand]:
        """One call for all, for a server that has all entities: each transaction is added whole or not at all."""
        keys: list[str] = []
        args: list[Word] = []
        for observation in observations:
            count = len(args)
            args.append(0)
            for number, part in _parts(observation):
                keys.append(self.key(number, part.entity))
                args += (part.event, self._keeps[number])
            parts = (len(args) - count) // 2
            if parts:
                args[count] = parts
            else:
                args.pop()
        return [script_call("observe", keys, args)] if keys else []

    def seen_together(self, observations: Sequence[Observation], answers: Sequence[Any]) -> list[SeenBefore]:
        """The answer to that call."""
        answer = iter(answers[0] if answers else ())
        return [_seen(observation, answer) for observation in observations]

    def apart(self, observations: Sequence[Observation]) -> tuple[list[RedisCommand], list[list[Place]]]:
        """A call for each entity, as a cluster has them on several nodes; and the places that each call is about.

        A call of one key is answered also while its slot is moved.
        """
        places: dict[str, list[Place]] = {}
        for row, observation in enumerate(observations):
            for number, part in _parts(observation):
                places.setdefault(self.key(number, part.entity), []).append((row, number))
        calls = []
        for key, mine in places.items():
            args: list[Word] = []
            for row, number in mine:
                args += (1, _part(observations, (row, number)).event, self._keeps[number])
            calls.append(script_call("observe", [key] * len(mine), args))
        return calls, list(places.values())

    def seen_apart(
        self, observations: Sequence[Observation], places: Sequence[Sequence[Place]], answers: Sequence[Any]
    ) -> list[SeenBefore]:
        """The answers to those calls.

        Where some entities know a transaction and others do not, an attempt before has reached some of the nodes: all
        have its event now, as `SeenBefore.known` says.
        """
        before: list[list[bytes | None]] = [[None] * len(self._entities) for _ in observations]
        known: set[int] = set()
        added: list[Place] = []
        for mine, answer in zip(places, answers, strict=True):
            for place, is_known, kept in zip(mine, answer[::2], answer[1::2], strict=True):
                before[place[0]][place[1]] = kept
                if is_known:
                    known.add(place[0])
                else:
                    added.append(place)
        for row, number in added:
            if row in known:
                before[row][number] = (before[row][number] or b"") + _part(observations, (row, number)).event
        return [SeenBefore(tuple(each), row in known) for row, each in enumerate(before)]

    def looks(self, observations: Sequence[Observation]) -> list[RedisCommand]:
        """A read for each entity."""
        keys = [self.key(number, part.entity) for observation in observations for number, part in _parts(observation)]
        return [RedisCommand(key, ("GET", key)) for key in keys]

    def seen_looking(self, observations: Sequence[Observation], answers: Sequence[Any]) -> list[SeenBefore]:
        """The answers to those reads."""
        answer = iter(answers)
        found = []
        for observation in observations:
            before = tuple(None if part is None else next(answer) or b"" for part in observation.parts)
            found.append(SeenBefore(before, knows(observation, before)))
        return found


def knows(observation: Observation, before: Sequence[bytes | None]) -> bool:
    """True where one of the entities has the transaction's id."""
    return any(
        event_id(part.event) in kept
        for part, kept in zip(observation.parts, before, strict=True)
        if part is not None and kept is not None
    )


def _seen(observation: Observation, answer: Iterator[Any]) -> SeenBefore:
    is_known = bool(next(answer)) if any(part is not None for part in observation.parts) else False
    return SeenBefore(tuple(None if part is None else next(answer) for part in observation.parts), is_known)


def _parts(observation: Observation) -> Iterator[tuple[int, Part]]:
    return ((number, part) for number, part in enumerate(observation.parts) if part is not None)


def _part(observations: Sequence[Observation], place: Place) -> Part:
    part = observations[place[0]].parts[place[1]]
    assert part is not None  # noqa: S101  # places are of parts that are there
    return part
