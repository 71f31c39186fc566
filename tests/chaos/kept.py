"""What Redis keeps of callbacks at the end, read past the product."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from redis import Redis

from riskline.shared.store.keys import Keys

PAGE = 200

STATUS, MESSAGE_ID, TRIES, HOST, EVENT = b"status", b"id", b"tries", b"host", b"event"


@dataclass(frozen=True, slots=True)
class KeptCallback:
    """A callback's hash, and the sets that it is in, at one moment."""

    status: str
    message_id: str
    tries: int
    host: str
    url: str
    body: bytes
    is_pending: bool
    """Among all that are pending, in its host's line, and the host among those that have a line."""
    is_dead: bool
    """Among the dead letters."""


def read_callbacks(store: Redis) -> dict[str, KeptCallback]:
    """All that there are, by transaction."""
    keys = Keys()
    prefix = keys.callback_prefix.encode()
    pattern = keys.callback_prefix.replace("{", "[{]") + "*"
    ids = sorted({name.removeprefix(prefix).decode() for name in store.scan_iter(match=pattern, count=1000)})
    found: dict[str, KeptCallback] = {}
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        with store.pipeline(transaction=False) as pipeline:
            for id_ in page:
                pipeline.hget(keys.callback(id_), "host")
            hosts = [(host or b"").decode() for host in pipeline.execute()]
        # in one step, as those of hosts that do not answer go on changing
        with store.pipeline(transaction=True) as pipeline:
            for id_, host in zip(page, hosts, strict=True):
                pipeline.hgetall(keys.callback(id_))
                pipeline.zscore(keys.callbacks, id_)
                pipeline.zscore(keys.callback_host_prefix + host, id_)
                pipeline.zscore(keys.callback_hosts, host)
                pipeline.zscore(keys.callbacks_dead, id_)
            answers = pipeline.execute()
        for number, id_ in enumerate(page):
            fields, *places, dead = answers[5 * number : 5 * number + 5]
            found[id_] = _kept(fields, is_pending=None not in places, is_dead=dead is not None)
    return found


def _kept(fields: Mapping[bytes, bytes], *, is_pending: bool, is_dead: bool) -> KeptCallback:
    event = orjson.loads(fields.get(EVENT, b"{}"))
    return KeptCallback(
        status=fields.get(STATUS, b"").decode(),
        message_id=fields.get(MESSAGE_ID, b"").decode(),
        tries=int(fields.get(TRIES, b"0")),
        host=fields.get(HOST, b"").decode(),
        url=event.get("url", ""),
        body=event.get("body", "").encode(),
        is_pending=is_pending,
        is_dead=is_dead,
    )
