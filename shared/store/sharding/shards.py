"""The shard of a transaction, and the shards' names.

A transaction is in shard number `crc32(id) % shards` (CRC-32 as in zlib, of the id's bytes). Shard number i of n is
called by the smallest number whose slot on a Redis Cluster (CRC-16 of it, modulo 16,384) lies in the i-th n-th of all
slots: a cluster whose nodes have equal parts of the slots has equal parts of the shards. The only shard is called 0,
and one of several is, too.
"""

from binascii import crc32, crc_hqx
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TypeVar

from riskline.shared.store.keys import FIRST, Keys

SLOTS = 16_384

Item = TypeVar("Item")


def shard_of(transaction_id: str, shards: int) -> int:
    """The number of the shard that has the transaction, from 0."""
    return crc32(transaction_id.encode(errors="surrogateescape")) % shards


def by_shard(items: Iterable[Item], shard: Callable[[Item], int]) -> Mapping[int, list[Item]]:
    """The items of each shard, by its number, in their order."""
    mine: defaultdict[int, list[Item]] = defaultdict(list)
    for item in items:
        mine[shard(item)].append(item)
    return mine


def slot_of(tag: str) -> int:
    """The slot of all keys that carry this hash tag (the Redis Cluster specification, "Key distribution model")."""
    return crc_hqx(tag.encode(), 0) % SLOTS


@cache
def tags(shards: int) -> tuple[str, ...]:
    """The shards' names, by their number."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < shards:
        found.setdefault(slot_of(str(number)) * shards // SLOTS, str(number))
        number += 1
    return tuple(found[shard] for shard in range(shards))


def all_keys(shards: int) -> tuple[Keys, ...]:
    """The keys of each shard, by its number."""
    return tuple(Keys(tag) for tag in tags(shards))


def first_shard(shards: int) -> int:
    """The number of the shard with the data of the store as a whole."""
    return tags(shards).index(FIRST.shard)


def share(whole: int, shards: int) -> int:
    """A shard's part of a bound of the whole store, rounded up."""
    return -(-whole // shards)
