"""The history, in memory and in a real Redis: what each of its calls promises."""

from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from riskline.shared.domain.history.observation import SeenBefore
from riskline.shared.errors import HistoryUnavailableError
from riskline.shared.store.history.interface import HistoryStore, Mark, Replacement
from riskline.shared.store.history.memory_history import MemoryHistory
from riskline.shared.store.history.warmth import warmth
from tests.integration.clusters import Cluster
from tests.integration.history_stores import redis_history
from tests.integration.running import OwnRedis
from tests.integration.servers import server_versions
from tests.support.observations import (
    BOTH,
    CARD,
    DAY_US,
    MERCHANT,
    START_US,
    a_history,
    an_event,
    an_observation,
    hashed,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("c"), server=next(iter(server_versions().values()))) as cluster:
        yield cluster


@pytest.fixture(params=["memory", "redis", "cluster"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[HistoryStore]:
    """An empty history of each kind."""
    if request.param == "memory":
        yield MemoryHistory(a_history())
        return
    server = request.getfixturevalue("shared_redis" if request.param == "redis" else "cluster")
    for each in [Redis.from_url(server.url)] if request.param == "redis" else server.clients:
        each.flushall()
    made = redis_history(server.url)
    yield made
    await made.close()


async def observed(
    store: HistoryStore, *names: str, card: str = "card", merchant: str = "merchant"
) -> list[SeenBefore]:
    return await store.observe([an_observation(name, card, merchant) for name in names])


async def kept(store: HistoryStore, *, card: str = "card", merchant: str = "merchant") -> tuple[bytes | None, ...]:
    [seen] = await store.look([an_observation("only looks", card, merchant)])
    return seen.before


def events(*names: str) -> bytes:
    return b"".join(map(an_event, names))


async def test_a_transaction_sees_what_came_before_it_and_not_itself(store: HistoryStore) -> None:
    assert await observed(store, "a") == [SeenBefore((b"", b"", b""))]
    assert await observed(store, "b") == [SeenBefore((events("a"), events("a"), events("a")))]
    assert await observed(store, "c", card="other") == [SeenBefore((b"", events("a", "b"), b""))]


async def test_of_one_call_the_later_ones_see_the_earlier_ones(store: HistoryStore) -> None:
    seen = await observed(store, "a", "b", "c")

    assert [each.before[CARD] for each in seen] == [b"", events("a"), events("a", "b")]


async def test_a_call_may_have_any_number_of_transactions(store: HistoryStore) -> None:
    names = [f"t{number}" for number in range(150)]

    assert await store.observe([]) == []
    seen = await observed(store, *names)

    assert [len(each.before[CARD]) for each in seen] == [25 * number for number in range(150)]
    assert await kept(store) == (events(*names),) * 3


async def test_an_entity_that_a_transaction_does_not_have_is_none_and_is_not_added_to(store: HistoryStore) -> None:
    await store.observe([an_observation("a", "card", None)])
    seen = await store.observe([an_observation("b", None, None), an_observation("c", "card", "merchant")])

    assert seen == [SeenBefore((None, None, None)), SeenBefore((events("a"), b"", b""))]


async def test_a_known_id_is_not_added_again_and_says_so(store: HistoryStore) -> None:
    await observed(store, "a", "b")

    assert await observed(store, "a") == [SeenBefore((events("a", "b"),) * 3, known=True)]
    assert await observed(store, "c", "c") == [
        SeenBefore((events("a", "b"),) * 3),
        SeenBefore((events("a", "b", "c"),) * 3, known=True),
    ]
    assert await kept(store) == (events("a", "b", "c"),) * 3


@pytest.mark.parametrize("store", ["memory", "redis"], indirect=True)
async def test_an_id_that_one_entity_knows_is_added_to_no_other(store: HistoryStore) -> None:
    """A cluster has them on several nodes, of which each knows its own."""
    await observed(store, "a")

    [again] = await observed(store, "a", merchant="another")

    assert again == SeenBefore((events("a"), b"", b""), known=True)
    assert await kept(store, merchant="another") == (events("a"), b"", b"")


async def test_looking_adds_nothing_and_says_whether_the_id_is_known(store: HistoryStore) -> None:
    await observed(store, "a")

    looked = await store.look([an_observation("b"), an_observation("a"), an_observation("c", None, "new")])

    assert looked == [
        SeenBefore((events("a"),) * 3),
        SeenBefore((events("a"),) * 3, known=True),
        SeenBefore((None, b"", None)),
    ]
    assert await kept(store) == (events("a"),) * 3
    assert await kept(store, card="new", merchant="new") == (b"",) * 3


async def test_a_state_takes_the_place_of_the_events_it_is_made_of_and_those_that_came_meanwhile_stay(
    store: HistoryStore,
) -> None:
    await observed(store, "a", "b", "c")
    replacement = Replacement(CARD, hashed("card"), events("a", "b"), b"S packed")
    await observed(store, "d")

    assert await store.compact([replacement]) == 1

    assert await kept(store) == (b"S packed" + events("c", "d"), *[events("a", "b", "c", "d")] * 2)
    assert await observed(store, "c") == [SeenBefore(await kept(store), known=True)]


async def test_what_was_compacted_by_another_meanwhile_is_left_as_it_is(store: HistoryStore) -> None:
    await observed(store, "a", "b", "c")
    ours = Replacement(MERCHANT, hashed("merchant"), events("a", "b"), b"S ours")
    longer = Replacement(MERCHANT, hashed("merchant"), events("a", "b", "c", "d"), b"S longer")
    gone = Replacement(CARD, hashed("never seen"), events("a"), b"S gone")
    theirs = Replacement(MERCHANT, hashed("merchant"), events("a"), b"S theirs")

    assert await store.compact([longer, gone, theirs, ours]) == 1

    assert (await kept(store))[MERCHANT] == b"S theirs" + events("b", "c")
    assert await kept(store, card="never seen", merchant="merchant") == (b"", (await kept(store))[MERCHANT], b"")


async def test_a_backfilled_state_goes_in_front_of_live_events_but_not_of_another_state(store: HistoryStore) -> None:
    await observed(store, "live")
    both = f"{hashed('card')}:{hashed('merchant')}"

    assert await store.compact([Replacement(BOTH, both, b"", b"S filled")]) == 1
    assert await store.compact([Replacement(BOTH, both, b"", b"S again")]) == 0
    assert await store.compact([Replacement(CARD, hashed("new"), b"", b"S new")]) == 1

    assert (await kept(store))[BOTH] == b"S filled" + events("live")
    assert (await kept(store, card="new"))[CARD] == b"S new"


async def test_erasing_an_entity_forgets_it_alone_and_together_with_others(store: HistoryStore) -> None:
    await observed(store, "a")
    await observed(store, "b", merchant="elsewhere")
    await observed(store, "c", card="card of another")

    assert await store.erase("card", hashed("card")) == 3

    assert await kept(store) == (b"", events("a", "c"), b"")
    assert (await kept(store, card="card of another"))[BOTH] == events("c")
    assert await store.erase("card", hashed("card")) == 0


async def test_a_value_that_another_field_has_too_is_forgotten_for_the_field_that_is_named(store: HistoryStore) -> None:
    await observed(store, "a", card="same", merchant="same")

    assert await store.erase("merchant", hashed("same")) == 2

    assert await kept(store, card="same", merchant="same") == (events("a"), b"", b"")


async def test_erasing_all_leaves_nothing(store: HistoryStore) -> None:
    await observed(store, "a")
    await observed(store, "b", card="other")

    assert await store.erase_all() == 5

    assert await store.sizes() == {}
    assert await store.marks() == {}
    assert await kept(store) == (b"",) * 3


async def test_the_first_event_marks_each_entity_once_and_a_backfill_beside_it(store: HistoryStore) -> None:
    assert await store.marks() == {}
    await store.observe([an_observation("a", at_us=START_US), an_observation("b", at_us=START_US + 1)])
    await store.mark_backfill(MERCHANT, from_us=START_US - DAY_US, to_us=START_US, progress="100 of 200 rows")

    marks = await store.marks()

    assert marks == {
        "c0000001": Mark("card", START_US, live_to_us=START_US + 1),
        "c0000002": Mark("merchant", START_US, START_US - DAY_US, START_US, "100 of 200 rows", START_US + 1),
        "c0000003": Mark("card+merchant", START_US, live_to_us=START_US + 1),
    }


async def test_the_sizes_are_told_by_entity(store: HistoryStore) -> None:
    await observed(store, "a")
    await observed(store, "b", card="other")

    sizes = await store.sizes()

    counts = {fingerprint: (size.entities, size.is_exact) for fingerprint, size in sizes.items()}
    assert counts == {"c0000001": (2, True), "c0000002": (1, True), "c0000003": (2, True)}
    assert all(size.size_bytes > 25 * size.entities for size in sizes.values())


async def test_an_entity_is_forgotten_when_nothing_was_added_for_as_long_as_it_is_kept(shared_redis: OwnRedis) -> None:
    now = 1000.0
    memory = MemoryHistory(a_history(), clock=lambda: now)
    await observed(memory, "a")
    now += 30 * 86_400
    assert await kept(memory) == (b"", events("a"), b"")

    on_redis = redis_history(shared_redis.url)
    with Redis.from_url(shared_redis.url) as redis:
        redis.flushall()
        await observed(on_redis, "a")
        redis.pexpire(key_of(redis, "c0000001"), 1000)
        await observed(on_redis, "b")
        await on_redis.compact([Replacement(MERCHANT, hashed("merchant"), events("a"), b"S")])
        days = {name: round(redis.pttl(key_of(redis, name)) / 86_400_000, 2) for name in ("c0000001", "c0000002")}
    await on_redis.close()

    assert days == {"c0000001": 30, "c0000002": 37}


def key_of(redis: Redis, fingerprint: str) -> bytes:
    [key] = redis.keys(f"riskline:{{h*}}:entity:{fingerprint}:*")
    return key


async def test_a_history_with_another_secret_is_neither_read_nor_added_to(shared_redis: OwnRedis) -> None:
    with Redis.from_url(shared_redis.url) as redis:
        redis.flushall()
    ours, theirs = redis_history(shared_redis.url), redis_history(shared_redis.url, secret=b"another secret")
    await observed(ours, "a")

    for call in (theirs.warm(), theirs.observe([an_observation("b")])):
        with pytest.raises(HistoryUnavailableError, match="with another secret: set RISKLINE_HISTORY_SECRET"):
            await call

    assert await kept(ours) == (events("a"),) * 3
    await ours.close()
    await theirs.close()


async def test_a_first_try_with_an_old_time_makes_no_history_of_what_was_not_observed(store: HistoryStore) -> None:
    await store.observe([an_observation("try", at_us=START_US - 200 * DAY_US)])
    await store.observe([an_observation("a", at_us=START_US + 1), an_observation("b", at_us=START_US)])
    await store.observe([an_observation("c", at_us=START_US + 6 * DAY_US)])
    await store.observe([an_observation("late", at_us=START_US - 100 * DAY_US)])

    marks = await store.marks()

    assert {mark.live_from_us for mark in marks.values()} == {START_US}
    assert not any(each.is_warm for each in warmth(a_history(), marks, now_us=START_US + DAY_US // 24))


async def test_a_backfill_with_another_secret_than_the_first_puts_nothing(shared_redis: OwnRedis) -> None:
    ours, theirs = redis_history(shared_redis.url), redis_history(shared_redis.url, secret=b"another secret")
    with Redis.from_url(shared_redis.url) as redis:
        redis.flushall()
    await theirs.mark_backfill(CARD, from_us=0, to_us=START_US)
    marks = await theirs.marks()

    with pytest.raises(HistoryUnavailableError, match="with another secret: set RISKLINE_HISTORY_SECRET"):
        await ours.mark_backfill(CARD, from_us=1, to_us=2)
    with pytest.raises(HistoryUnavailableError, match="with another secret"):
        await observed(ours, "a")

    assert await ours.marks() == marks
    await ours.close()
    await theirs.close()
