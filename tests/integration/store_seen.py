"""All that lies in a store, for tests that look behind its operations, and time that passes in it at once."""

from typing import NamedTuple

from tests.integration.stores import Store

AT = "riskline:{0}:"


class Seen(NamedTuple):
    """All that lies in a store."""

    records: dict[str, bytes]
    undecided: set[str]
    waiting: list[str]
    suspects: list[str]
    claimed: dict[str, list[str]]
    workers: set[str]
    losses: dict[str, int]
    failed: set[str]
    feed: list[bytes]


def seen_in(store: Store) -> Seen:
    twin = store.queue
    if store.redis is None:
        claimed = {worker: list(ids) for worker, ids in twin.claimed.items() if ids}
        lists, workers = (list(twin.waiting), list(twin.suspects), claimed), set(twin.workers)
        rest = dict(twin.losses), set(twin.failed), list(twin.feed)
        return Seen(dict(twin.records), set(twin.undecided), *lists, workers, *rest)
    pipeline = store.redis.pipeline()
    names = [key.decode().removeprefix(AT) for key in store.redis.keys(f"{AT}*")]
    of_records = [name for name in names if name.startswith("tx:")]
    of_workers = [name for name in names if name.startswith("claimed:")]
    pipeline.mget([AT, *(AT + name for name in of_records)])
    for name in ("waiting", "suspects", *of_workers):
        pipeline.lrange(AT + name, 0, -1)
    for name in ("undecided", "workers", "failed"):
        pipeline.zrange(AT + name, 0, -1)
    pipeline.hgetall(AT + "losses").xrange(AT + "decisions")
    records, *lists, undecided, workers, failed_ones, losses, feed = pipeline.execute()
    waiting, suspects, *claims = [[each.decode() for each in ids] for ids in lists]
    return Seen(
        {name.removeprefix("tx:"): record for name, record in zip(of_records, records[1:], strict=True)},
        {each.decode() for each in undecided},
        waiting,
        suspects,
        {name.removeprefix("claimed:"): ids for name, ids in zip(of_workers, claims, strict=True)},
        {each.decode() for each in workers},
        {each.decode(): int(number) for each, number in losses.items()},
        {each.decode() for each in failed_ones},
        [fields[b"d"] for _, fields in feed],
    )


def expire(store: Store, transaction_id: str) -> bool:
    """Forgets a record, as its TTL would."""
    if store.redis is None:
        return store.queue.records.pop(transaction_id, None) is not None
    return bool(store.redis.delete(f"{AT}tx:{transaction_id}"))


def end_turn(store: Store) -> None:
    """Forgets whose turn it is to sweep, as when nobody has swept for a day."""
    if store.redis is None:
        store.queue.sweeper = None
    else:
        store.redis.delete(f"{AT}sweeper")


def swept_before(store: Store, seconds: int) -> None:
    """Makes the last sweep one that was so long before."""
    if store.redis is None:
        if store.queue.sweeper:
            worker, at = store.queue.sweeper
            store.queue.sweeper = worker, at - seconds
    elif last := store.redis.get(f"{AT}sweeper"):
        worker, at = last.decode().split()
        store.redis.set(f"{AT}sweeper", f"{worker} {int(at) - seconds * 1000}")


def end_lease(store: Store, worker: str, when: int) -> None:
    """Lets a worker's lease run out at a time long ago, which says in which order leases did."""
    if store.redis is None:
        store.queue.workers[worker] = when / 1000
    else:
        store.redis.zadd(f"{AT}workers", {worker: when})
