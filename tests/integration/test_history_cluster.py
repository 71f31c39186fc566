"""The history in a Redis Cluster: slots that move, nodes that are away, and entities on several nodes."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from riskline.shared.domain.history.observation import SeenBefore
from riskline.shared.errors import HistoryUnavailableError
from riskline.shared.store.history.redis_history import RedisHistory
from riskline.shared.store.keys import entity_key
from riskline.shared.store.sharding.shards import slot_of
from tests.integration.clusters import Cluster
from tests.integration.history_stores import redis_history
from tests.integration.running import eventually
from tests.integration.servers import server_versions
from tests.support.observations import BOTH, CARD, MERCHANT, an_event, an_observation, hashed

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=server_versions().values(), ids=str)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("c"), server=request.param) as cluster:
        yield cluster


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[RedisHistory]:
    for each in cluster.clients:
        each.flushall()
    made = redis_history(cluster.url)
    yield made
    await made.close()


def slot_of_entity(value: str) -> int:
    return slot_of(f"h{hashed(value)[:3]}")


def one_on(cluster: Cluster, node: int, prefix: str) -> str:
    """A value whose entity this node has."""
    return next(
        name for name in (f"{prefix}{number}" for number in range(1000)) if cluster.owner(slot_of_entity(name)) == node
    )


def neighbours(count: int) -> list[str]:
    """Cards of one tag, and so of one slot."""
    first, found = hashed("n0")[:3], ["n0"]
    number = 0
    while len(found) < count:
        number += 1
        if hashed(f"n{number}").startswith(first):
            found.append(f"n{number}")
    return found


async def test_the_entities_of_a_call_are_on_all_nodes(store: RedisHistory, cluster: Cluster) -> None:
    rows = [an_observation(f"t{number}", f"c{number}", f"m{number % 7}") for number in range(64)]

    seen = await store.observe(rows)

    assert [len(each.before[MERCHANT] or b"") for each in seen] == [25 * (number // 7) for number in range(64)]
    assert sum(client.dbsize() for client in cluster.clients) == 64 + 7 + 64 + 1
    assert all(client.dbsize() > 20 for client in cluster.clients)


async def test_while_a_slot_is_moved_its_old_moved_and_new_entities_are_all_answered(
    store: RedisHistory, cluster: Cluster
) -> None:
    cards = neighbours(3)
    slot = slot_of_entity(cards[0])
    source = cluster.owner(slot)
    target = (source + 1) % 3
    await store.observe([an_observation(f"a{card}", card, None) for card in cards[:2]])

    cluster.begin_to_move(slot, to=target)
    cluster.move_keys(cluster.clients[source], [entity_key("c0000001", hashed(cards[1])).encode()], to=target)
    seen = await store.observe([an_observation(f"b{card}", card, None) for card in cards])
    looked = await store.look([an_observation("only looks", card, None) for card in cards])
    cluster.end_move(slot, to=target)
    after = await store.observe([an_observation(f"c{card}", card, None) for card in cards])

    assert [each.before[CARD] for each in seen] == [*(an_event(f"a{card}") for card in cards[:2]), b""]
    whole = [*(an_event(f"a{card}") + an_event(f"b{card}") for card in cards[:2]), an_event(f"b{cards[2]}")]
    assert [each.before[CARD] for each in looked] == whole
    assert [each.before[CARD] for each in after] == whole
    assert cluster.owner(slot) == target


async def test_nothing_is_lost_or_refused_while_a_full_slot_is_moved_back_and_forth(
    store: RedisHistory, cluster: Cluster
) -> None:
    cards = neighbours(30)
    slot = slot_of_entity(cards[0])
    done = asyncio.Event()
    added: dict[str, list[str]] = {card: [] for card in cards}

    async def observe() -> None:
        number = 0
        while not done.is_set():
            rows = [(f"t{number}-{card}", card) for card in cards]
            seen = await store.observe([an_observation(name, card, None) for name, card in rows])
            for (name, card), each in zip(rows, seen, strict=True):
                assert each == SeenBefore((b"".join(map(an_event, added[card])), None, None))
                added[card].append(name)
            number += 1

    observing = asyncio.create_task(observe())
    node, moves = cluster.owner(slot), 0
    while moves < 9 or (len(added[cards[0]]) < 50 and not observing.done()):
        node, moves = (node + 1) % 3, moves + 1
        await asyncio.to_thread(cluster.begin_to_move, slot, to=node)
        await asyncio.to_thread(cluster.end_move, slot, to=node)
    done.set()
    await observing

    assert len(added[cards[0]]) >= 50


async def test_what_reached_some_nodes_only_is_completed_by_repeating_it(store: RedisHistory, cluster: Cluster) -> None:
    card, merchant = one_on(cluster, 0, "card"), one_on(cluster, 1, "merchant")
    await store.observe([an_observation("a", card, merchant)])
    cluster.kill("n1")

    with pytest.raises(HistoryUnavailableError):
        await store.observe([an_observation("b", card, merchant)])

    cluster.start_node(1)
    eventually(lambda: all(each.cluster("info")["cluster_state"] == "ok" for each in cluster.clients))
    [seen] = await store.observe([an_observation("b", card, merchant)])
    [again] = await store.observe([an_observation("b", card, merchant)])
    [looked] = await store.look([an_observation("c", card, merchant)])

    both = an_event("a") + an_event("b")
    assert seen == again == SeenBefore((both, both, both), known=True)
    assert looked.before == (both, both, both)


async def test_erasing_looks_for_composite_entities_on_all_nodes(store: RedisHistory, cluster: Cluster) -> None:
    cards = [one_on(cluster, node, "card") for node in range(3)]
    await store.observe([an_observation(f"t{card}", card, "shop") for card in cards])
    steps: list[tuple[int, int]] = []

    erased = await store.erase("merchant", hashed("shop"), progress=lambda done, of: steps.append((done, of)))

    assert erased == 4
    looked = await store.look([an_observation("only looks", card, "shop") for card in cards])
    assert [(each.before[MERCHANT], each.before[BOTH]) for each in looked] == [(b"", b"")] * 3
    assert all(each.before[CARD] for each in looked)
    assert steps[-1][0] == steps[-1][1] > 0
