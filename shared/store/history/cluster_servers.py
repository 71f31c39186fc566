"""The nodes of a Redis Cluster that have a history: each entity's slot is looked up, and followed where it is moved."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from riskline.shared.store.connect.cluster_nodes import Nodes
from riskline.shared.store.connect.inquiry import Address, ask_async
from riskline.shared.store.history.server import HistoryServer, RedisCommand
from riskline.shared.store.sharding.shards import SLOTS, slot_of

MOST_HOPS = 4
"""A moved slot takes one hop more, and one that is being moved takes two."""


class _Hop(NamedTuple):
    """A command on its way."""

    number: int
    node: Address
    asking: bool = False


class ClusterServers:
    """See Servers. A command has one key, so that it is answered also while a slot is moved."""

    scattered = True

    def __init__(self, nodes: Nodes, maker: Callable[[Address], Callable[[], Any]]) -> None:
        """`maker` makes the connections of one node."""
        self._nodes = nodes
        self._maker = maker
        self._servers: dict[Address, HistoryServer] = {}
        self._owners: dict[int, Address] = {}
        """The node of each slot; empty until it is asked for, and after each failure."""

    async def run(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """See Servers; a failure of one node is that of all, though the others have executed their commands."""
        answers: list[Any] = [None] * len(commands)
        try:
            owners = self._owners or await self._learn()
            hops = [_Hop(number, _owner(owners, each.key)) for number, each in enumerate(commands)]
            for _ in range(MOST_HOPS):
                await self._hop(commands, hops, answers)
                hops = [hop for each in hops for hop in self._next(commands[each.number], each, answers[each.number])]
                if not hops:
                    break
        except BaseException:
            # also where the caller waits no longer: the next call asks who has the slots now
            self._owners = {}
            raise
        return answers

    async def _hop(self, commands: Sequence[RedisCommand], hops: Sequence[_Hop], answers: list[Any]) -> None:
        """Sends each node its commands, all at the same time."""
        by_node: dict[tuple[Address, bool], list[int]] = {}
        for hop in hops:
            by_node.setdefault((hop.node, hop.asking), []).append(hop.number)
        sent = [
            self._server(node).run([commands[number] for number in numbers], asking=asking)
            for (node, asking), numbers in by_node.items()
        ]
        failed: BaseException | None = None
        for ((node, _), numbers), got in zip(
            by_node.items(), await asyncio.gather(*sent, return_exceptions=True), strict=True
        ):
            if isinstance(got, BaseException):
                self._nodes.ask_last(node)
                failed = failed or got
                continue
            for number, answer in zip(numbers, got, strict=True):
                answers[number] = answer
        if failed is not None:
            raise failed

    def _next(self, command: RedisCommand, hop: _Hop, answer: Any) -> Sequence[_Hop]:
        """Where the command goes after this answer, if anywhere."""
        if isinstance(answer, ClusterDownError):
            self._owners = {}
        if not isinstance(answer, AskError):
            return ()
        host, port = answer.node_addr
        # a node that does not know its own name means the one by which it was reached
        node = (host or hop.node[0], port)
        if not isinstance(answer, MovedError):
            return (_Hop(hop.number, node, asking=True),)
        self._owners[_slot(command.key)] = node
        self._nodes.ask_first(node)
        return (_Hop(hop.number, node),)

    async def each(self) -> Sequence[HistoryServer]:
        """See Servers."""
        return [self._server(node) for node in dict.fromkeys((await self._learn()).values())]

    async def warm(self) -> None:
        """See Servers."""
        await asyncio.gather(*(server.warm() for server in await self.each()))

    async def close(self) -> None:
        """See Servers."""
        for server in self._servers.values():
            await server.close()

    def _server(self, node: Address) -> HistoryServer:
        if node not in self._servers:
            self._servers[node] = HistoryServer(self._maker(node))
        return self._servers[node]

    async def _learn(self) -> dict[int, Address]:
        """The node of each slot, by the first node that answers."""
        asked = await ask_async(self._nodes.owner(None))
        [ranges] = await self._server(asked).run([RedisCommand("", ("CLUSTER", "SLOTS"))])
        if isinstance(ranges, ResponseError):
            raise ranges
        owners: dict[int, Address] = {}
        for first, last, (host, port, *_), *_ in ranges:
            # a node that does not know its own name means the one by which it was reached
            owners |= dict.fromkeys(range(first, last + 1), ((host or b"").decode() or asked[0], port))
        self._owners = owners
        return owners


def _slot(key: str) -> int:
    return slot_of(key[key.index("{") + 1 : key.index("}")]) % SLOTS


def _owner(owners: dict[int, Address], key: str) -> Address:
    node = owners.get(_slot(key))
    if node is None:
        raise RedisConnectionError(f"no node of the cluster serves slot {_slot(key)}")
    return node
