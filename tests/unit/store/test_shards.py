"""Which shard has a transaction: the same for every process, every release and every day."""

from collections import Counter
from uuid import UUID

import pytest
from redis.crc import key_slot

from riskline.shared.settings import MOST_SHARDS
from riskline.shared.store.keys import FIRST, Keys
from riskline.shared.store.sharding.shards import SLOTS, all_keys, first_shard, shard_of, share, slot_of, tags


@pytest.mark.parametrize(
    ("transaction_id", "shards", "shard"),
    [
        ("123456789", 1, 0),
        # 0xCBF43926, the check value of CRC-32
        ("123456789", 1_000_000_000, 421_780_262),
        ("123456789", 3, 2),
        ("TXN-1", 3, 1),
        ("TXN-2", 3, 1),
        ("TXN-3", 3, 2),
        ("TXN-1", 12, 4),
        ("a", 64, 3),
        ("order:2026-11-24.~_", 16, 8),
    ],
)
def test_a_transaction_is_in_the_shard_in_which_it_was_yesterday(transaction_id: str, shards: int, shard: int) -> None:
    assert shard_of(transaction_id, shards) == shard


@pytest.mark.parametrize("shards", [2, 3, 12, 64])
@pytest.mark.parametrize("form", ["TXN-{}", "{}", "{:08d}", "2026-11-25T10:00:00-{:06x}"])
def test_shards_get_about_equal_parts_whatever_the_ids_look_like(shards: int, form: str) -> None:
    counts = Counter(shard_of(form.format(number), shards) for number in range(20_000))

    assert len(counts) == shards
    assert max(counts.values()) < 1.35 * 20_000 / shards


def test_random_ids_are_spread_evenly() -> None:
    ids = [str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for number in range(24_000)]
    counts = Counter(shard_of(each, 12) for each in ids)

    assert max(counts.values()) < 1.15 * 2000


@pytest.mark.parametrize(
    ("shards", "called"),
    [(1, ("0",)), (2, ("2", "0")), (3, ("3", "1", "0")), (6, ("3", "11", "2", "1", "13", "0"))],
)
def test_shards_are_called_as_they_were_yesterday(shards: int, called: tuple[str, ...]) -> None:
    assert tags(shards) == called


@pytest.mark.parametrize("shards", range(1, MOST_SHARDS + 1))
def test_each_shard_has_its_own_nth_of_a_clusters_slots(shards: int) -> None:
    slots = [slot_of(tag) for tag in tags(shards)]

    assert [slot * shards // SLOTS for slot in slots] == list(range(shards))
    assert all_keys(shards)[first_shard(shards)] == FIRST


def test_all_keys_of_a_shard_are_in_the_slot_of_its_tag() -> None:
    keys = Keys("11")

    assert key_slot(keys.transaction("TXN-{1}").encode()) == slot_of("11")
    assert {key_slot(each.encode()) for each in (keys.waiting, keys.never, keys.claimed("w"))} == {slot_of("11")}


def test_the_parts_of_a_bound_are_no_less_than_the_whole() -> None:
    assert [share(10, 1), share(10, 3), share(1, 64)] == [10, 4, 1]
