"""What is there at the end: each acknowledged transaction as a client reads it, the feed, and what still lies about."""

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from redis import Redis

from riskline.shared.store.keys import Keys
from tests.chaos.answers import BadAnswerError, checked, checked_state

READ_SECONDS = 10.0
READ_ATTEMPTS = 3

WRONG_USAGE = 2
"""What a `riskline` that does not know an option exits with."""


class Fed(NamedTuple):
    """An entry of the feed: when Redis took it, in seconds, and the decision."""

    at: float
    decision: dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """The end state."""

    states: dict[str, dict[str, Any] | str]
    """Each transaction's decision by its id, or why there is none."""
    feed: list[Fed]
    undecided: list[str]
    audit: str | None
    """What `riskline doctor --audit` complains of; empty where it is content, None where it cannot audit."""


def read_states(urls: Sequence[str], ids: Sequence[str]) -> dict[str, dict[str, Any] | str]:
    """Each transaction as a client reads it; by turns from the APIs."""
    parts = [ids[start :: len(urls)] for start in range(len(urls))]
    with ThreadPoolExecutor(len(urls)) as pool:
        return {id_: state for part in pool.map(_read, urls, parts) for id_, state in part.items()}


def gather(store: Redis, states: dict[str, dict[str, Any] | str], environment: Mapping[str, str]) -> Evidence:
    """Reads everything else."""
    keys = Keys()
    return Evidence(
        states=states,
        feed=[
            Fed(int(entry.partition(b"-")[0]) / 1000, orjson.loads(fields[b"d"]))
            for entry, fields in store.xrange(keys.feed)
        ],
        undecided=[each.decode() for each in store.zrange(keys.undecided, 0, -1)],
        audit=_audit(environment),
    )


def _read(url: str, ids: Sequence[str]) -> dict[str, dict[str, Any] | str]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=READ_SECONDS)
    states = {id_: _read_one(connection, id_) for id_ in ids}
    connection.close()
    return states


def _read_one(connection: http.client.HTTPConnection, transaction_id: str) -> dict[str, Any] | str:
    problem = ""
    for _ in range(READ_ATTEMPTS):
        try:
            connection.request("GET", f"/transactions/{transaction_id}")
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            body = checked(response.status, headers, response.read(), allowed={200})
            return checked_state(body, transaction_id) or "queued"
        except BadAnswerError as error:
            problem = str(error)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            problem = repr(error)
    return problem


def _audit(environment: Mapping[str, str]) -> str | None:
    command = [sys.executable, "-P", "-m", "riskline.cli", "doctor", "--audit", "--json"]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == WRONG_USAGE:
        return None
    if done.returncode == 0:
        return ""
    try:
        checks = json.loads(done.stdout)["checks"]
    except (ValueError, KeyError, TypeError):
        return f"exit code {done.returncode}: {(done.stdout + done.stderr)[-500:]}"
    return "; ".join(f"{each['check']}: {each['detail']}" for each in checks if each["verdict"] == "fail")


def whereabouts(store: Redis, transaction_id: str) -> str:
    """What Redis knows of a transaction: its record, its callback, and the lists and sets that it is in."""
    keys = Keys()
    name = transaction_id.encode()
    places = []
    for key in sorted(
        each.decode() for each in store.scan_iter(match=f"{keys.prefix.replace('{', '[{]')}*", count=1000)
    ):
        if key.startswith(keys.transaction_prefix):
            continue
        kind = store.type(key)
        if (
            (kind == b"list" and name in store.lrange(key, 0, -1))
            or (kind == b"zset" and store.zscore(key, transaction_id) is not None)
            or (kind == b"hash" and store.hexists(key, transaction_id))
        ):
            places.append(key)
    record, callback = store.get(keys.transaction(transaction_id)), store.hgetall(keys.callback(transaction_id))
    return f"record {record!r}; callback {callback or 'none'}; in {', '.join(places) or 'no list'}"
