"""A Redis Cluster of a test's own: masters on loopback, and replicas where it wants them."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from riskline.cli.up.redis_server import probe
from riskline.shared.store.sharding.shards import SLOTS, all_keys, slot_of
from tests.integration.running import eventually
from tests.integration.servers import Servers, free_ports

NODE_TIMEOUT_MS = 1000
"""After which a node that does not answer is taken for dead: short, as a test waits for it."""

MOVED_AT_ONCE = 10
"""Keys in one step of moving a slot, as `redis-cli --cluster` has it."""


class Cluster(Servers):
    """`masters` that share the slots evenly, as `redis-cli --cluster create` would have it, each with its replicas."""

    def __init__(
        self, directory: Path, *, server: Path, masters: int = 3, replicas: int = 0, options: tuple[str, ...] = ()
    ) -> None:
        super().__init__(directory, server=server)
        self.directory = directory
        self._count = masters
        self._replicas = replicas
        self._options = options
        self.ports = [0]
        while max(self.ports) + 10_000 > 65_535 or 0 in self.ports:
            # the nodes talk to each other on ports of their own, 10,000 above
            self.ports = free_ports(masters * (1 + replicas))
        self.clients = [probe(f"redis://127.0.0.1:{port}", timeout_seconds=5.0) for port in self.ports]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports[:masters])

    def __enter__(self) -> Self:
        try:
            for number in range(len(self.ports)):
                self.start_node(number)
            self._form()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start_node(self, number: int) -> None:
        """Starts a node, which takes up its place again where it had one."""
        home = self.directory / f"n{number}"
        home.mkdir(exist_ok=True)
        options = ["--port", str(self.ports[number]), "--cluster-enabled", "yes", "--save", "", "--bind", "127.0.0.1"]
        options += ["--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-require-full-coverage", "no"]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--cluster-config-file", str(home / "nodes.conf")]
        options += ["--repl-diskless-sync", "no", *self._options]
        self.start(f"n{number}", *options)
        self._directory = self.directory
        eventually(lambda: _answers(self.clients[number]))

    def start(self, name: str, *words: str) -> None:
        self._directory = self.directory / name
        super().start(name, *words)

    def _form(self) -> None:
        for number in range(self._count):
            first, last = number * SLOTS // self._count, (number + 1) * SLOTS // self._count
            self.clients[number].execute_command("CLUSTER ADDSLOTS", *range(first, last))
            self.clients[number].execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for port in self.ports[1:]:
            self.clients[0].execute_command("CLUSTER MEET", "127.0.0.1", port)
        for each in self.clients:
            eventually(lambda each=each: _facts(each).get("cluster_known_nodes") == str(len(self.ports)))
        masters = [client.execute_command("CLUSTER MYID") for client in self.clients[: self._count]]
        for number, each in enumerate(self.clients[self._count :]):
            eventually(lambda each=each, of=masters[number % self._count]: _replicates(each, of))
        for each in self.clients:
            eventually(lambda each=each: _facts(each).get("cluster_state") == "ok")
        for each in self.clients[self._count :]:
            eventually(lambda each=each: each.info("replication").get("master_link_status") == "up")

    def node_of(self, shard: int, *, shards: int) -> int:
        """The number of the master that serves a shard's slot."""
        return self.owner(slot_of(all_keys(shards)[shard].shard))

    def owner(self, slot: int) -> int:
        for number, each in enumerate(self.clients):
            try:
                ranges = each.execute_command("CLUSTER SLOTS")
            except RedisError:
                continue
            [port] = {servers[0][1] for first, last, *servers in ranges if first <= slot <= last}
            if port == self.ports[number]:
                return number
        raise AssertionError(f"nobody serves slot {slot}")

    def shard_client(self, shard: int, *, shards: int) -> Redis:
        return self.clients[self.node_of(shard, shards=shards)]

    def move(self, shard: int, *, to: int, shards: int) -> float:
        """Moves a shard's slot to another master, as `redis-cli --cluster reshard` does; how many seconds that took."""
        slot = slot_of(all_keys(shards)[shard].shard)
        began = time.monotonic()
        self.begin_to_move(slot, to=to)
        self.end_move(slot, to=to)
        return time.monotonic() - began

    def begin_to_move(self, slot: int, *, to: int) -> None:
        """From now on a key that is not at the slot's master is asked for at the other one."""
        source, target = self.clients[self.owner(slot)], self.clients[to]
        source_id, target_id = (each.execute_command("CLUSTER MYID").decode() for each in (source, target))
        target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
        source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target_id)

    def end_move(self, slot: int, *, to: int) -> None:
        """Moves the keys that are left, and the slot itself."""
        source, target = self.clients[self.owner(slot)], self.clients[to]
        target_id = target.execute_command("CLUSTER MYID").decode()
        while keys := source.execute_command("CLUSTER GETKEYSINSLOT", slot, MOVED_AT_ONCE):
            self.move_keys(source, keys, to=to)
        for each in (target, source, *self.clients):
            # replicas refuse it, and are told by their master
            with suppress(ResponseError):
                each.execute_command("CLUSTER SETSLOT", slot, "NODE", target_id)

    def move_keys(self, source: Redis, keys: Sequence[bytes], *, to: int) -> None:
        source.execute_command("MIGRATE", "127.0.0.1", self.ports[to], "", 0, 5000, "KEYS", *keys)

    def __exit__(self, *_: object) -> None:
        for each in self.clients:
            each.close()
        super().__exit__()


def _answers(client: Redis) -> bool:
    try:
        return client.ping()
    except RedisError:
        return False


def _facts(client: Redis) -> dict[str, str]:
    return client.execute_command("CLUSTER INFO")


def _replicates(client: Redis, master_id: bytes) -> bool:
    try:
        return bool(client.execute_command("CLUSTER REPLICATE", master_id))
    except ResponseError:
        # it does not know it yet
        return False
