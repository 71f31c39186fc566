"""Walks over all keys of the history's servers: to forget what cannot be named, and to estimate how much is kept."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from riskline.shared.store.history.interface import Progress, Size
from riskline.shared.store.history.server import HistoryServer, RedisCommand
from riskline.shared.store.keys import ENTITY_PATTERN, parse_entity_key

KEYS_A_STEP = 1000
"""Keys that one SCAN looks at: some 0.3 ms of Redis."""

SAMPLED_STEPS = 50
"""SCANs of a server for an estimate; where it has more keys, the rest is taken to be like these."""

SIZED_KEYS = 100
"""Keys of each fingerprint whose bytes are asked for."""


class Reach(NamedTuple):
    """The servers, and ways to call them that end in time and name their faults."""

    servers: Sequence[HistoryServer]
    run: Callable[[Sequence[RedisCommand]], Awaitable[list[Any]]]
    """Runs commands at the servers that have their keys."""
    ask: Callable[[HistoryServer, RedisCommand], Awaitable[Any]]
    """Runs a command at this server."""


async def erase_of_composites(reach: Reach, positions: Mapping[str, int], digest: str, progress: Progress) -> int:
    """Forgets the entities of several fields together whose hash, at this position by fingerprint, is this one."""
    erased, walk = 0, _Walk(reach.servers, reach.ask, pattern=f"{ENTITY_PATTERN}{digest}*")
    async for keys in walk.steps():
        mine = []
        for key in keys:
            found = parse_entity_key(key)
            if found is not None and found[0] in positions and found[1][positions[found[0]]] == digest:
                mine.append(key.decode())
        erased += sum(await reach.run([RedisCommand(key, ("UNLINK", key)) for key in mine]))
        progress(walk.looked_at, walk.total)
    return erased


async def erase_everything(reach: Reach, progress: Progress) -> int:
    """Forgets all entities."""
    erased, walk = 0, _Walk(reach.servers, reach.ask, pattern=ENTITY_PATTERN)
    async for keys in walk.steps():
        names = [key.decode() for key in keys]
        erased += sum(await reach.run([RedisCommand(name, ("UNLINK", name)) for name in names]))
        progress(walk.looked_at, walk.total)
    return erased


async def sizes_of(reach: Reach) -> dict[str, Size]:
    """How much is kept by fingerprint."""
    sums: dict[str, Size] = {}
    for server in reach.servers:
        walk = _Walk([server], reach.ask, pattern=ENTITY_PATTERN, most_steps=SAMPLED_STEPS)
        found: dict[str, list[str]] = {}
        async for keys in walk.steps():
            for key in keys:
                parsed = parse_entity_key(key)
                if parsed is not None:
                    found.setdefault(parsed[0], []).append(key.decode())
        share = 1.0 if walk.is_whole else walk.looked_at / max(1, walk.total)
        for fingerprint, names in found.items():
            some = names[:SIZED_KEYS]
            asked = await reach.run([RedisCommand(name, ("MEMORY", "USAGE", name)) for name in some])
            mean = sum(each or 0 for each in asked) / len(some)
            entities = round(len(names) / share)
            before = sums.get(fingerprint, Size(0, 0, is_exact=True))
            sums[fingerprint] = Size(
                before.entities + entities,
                before.size_bytes + round(entities * mean),
                before.is_exact and walk.is_whole,
            )
    return sums


@dataclass
class _Walk:
    """A SCAN over the keys of servers."""

    servers: Sequence[HistoryServer]
    ask: Callable[[HistoryServer, RedisCommand], Awaitable[Any]]
    pattern: str
    most_steps: int | None = None
    looked_at: int = 0
    """Keys, about: Redis does not say how many it has looked at."""
    total: int = 0
    is_whole: bool = field(default=True, init=False)

    async def steps(self) -> AsyncIterator[list[bytes]]:
        """The keys that match, step by step."""
        sizes = [await self.ask(server, RedisCommand("", ("DBSIZE",))) for server in self.servers]
        self.total = sum(sizes)
        for server, size in zip(self.servers, sizes, strict=True):
            cursor, steps, before = b"0", 0, self.looked_at
            while True:
                scan = RedisCommand("", ("SCAN", cursor, "MATCH", self.pattern, "COUNT", KEYS_A_STEP))
                cursor, keys = await self.ask(server, scan)
                steps += 1
                self.looked_at = before + min(size, steps * KEYS_A_STEP)
                if cursor == b"0":
                    self.looked_at = before + size
                yield keys
                if cursor == b"0":
                    break
                if steps == self.most_steps:
                    self.is_whole = False
                    break
