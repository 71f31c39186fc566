"""The console of an API in memory, for tests of its pages."""

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import orjson

from riskline.shared.store.keys import Keys
from tests.support.api import Api
from tests.support.factories import transaction_json
from tests.unit.console.test_console_sessions import FORM

URL = "https://shop.example/hook"
FAILED_AT = 1_700_000_000
EVENT_MS = 1_700_000_000_000
DUE_MS = 4_000_000_000_000
"""In the next century: a callback that waits for its next attempt."""


class Open:
    """The console of an API on this machine, without keys."""

    def __init__(self, **options: Any) -> None:
        self.api = Api(**options)
        self.cookies = {"riskline_console": "token"}
        page = self.get("/changes").text
        self.csrf = page.partition('name="csrf" value="')[2].partition('"')[0]

    def get(self, path: str, **options: Any) -> Any:
        return self.api.client.simulate_get(f"/console{path}", host="127.0.0.1", cookies=self.cookies, **options)

    def post(self, path: str, **form: str) -> Any:
        body = urlencode({"csrf": self.csrf, **form})
        return self.api.client.simulate_post(
            f"/console{path}", body=body, headers=FORM, host="127.0.0.1", cookies=self.cookies
        )

    def feed(self, *decisions: dict[str, Any]) -> None:
        """Puts decisions into the feed, with their records."""
        for each in decisions:
            decision = {
                "transaction_id": each["id"],
                "fraud_probability": each.get("score", 0.5),
                "action": each.get("action", "APPROVE"),
                "model_version": each.get("version", "v1"),
                "scored_at": "2026-11-24T03:15:07.123Z",
                **({"reasons": each["reasons"]} if "reasons" in each else {}),
            }
            transaction = transaction_json(transaction_id=each["id"], **each.get("values", {}))
            record = {"v": 1, "status": "scored", "submitted_at": decision["scored_at"], "transaction": transaction}
            kept = orjson.dumps({**record, "decision": decision})
            self.api.store.records[each["id"]] = kept
            self.api.sync_redis.set(Keys().transaction(each["id"]), kept)
            self.api.sync_redis.xadd(Keys().feed, {"d": orjson.dumps(decision)})

    def fail(self, transaction_id: str, reason: str = "deciding it raised ValueError", *, at: int = FAILED_AT) -> None:
        """A transaction that no worker could decide."""
        record = {"v": 1, "status": "failed", "submitted_at": "2023-11-14T22:13:19.123Z", "error": reason}
        kept = orjson.dumps({**record, "transaction": transaction_json(transaction_id=transaction_id)})
        self.api.store.records[transaction_id] = kept
        self.api.sync_redis.set(Keys().transaction(transaction_id), kept)
        self.api.sync_redis.zadd(Keys().failed, {transaction_id: at})

    def call_back(
        self,
        transaction_id: str,
        *attempts: dict[str, Any],
        status: str = "pending",
        url: str = URL,
        at_ms: int = EVENT_MS,
        reason: str = "",
        due_ms: int = DUE_MS,
    ) -> None:
        """A callback after these attempts."""
        host = "shop.example:443"
        event = {"type": "transaction.scored", "url": url, "body": "{}"}
        kept: dict[str, Any] = {"id": "msg_1", "host": host, "event": orjson.dumps(event), "status": status}
        kept |= {f"a{number}": orjson.dumps(each) for number, each in enumerate(attempts, 1)}
        kept |= {"tries": len(attempts)} if attempts else {}
        kept |= {"due": due_ms} if status == "pending" else {}
        kept |= {"reason": reason} if reason else {}
        redis, keys = self.api.sync_redis, Keys()
        redis.hset(keys.callback(transaction_id), mapping=kept)
        self.api.store.callbacks[transaction_id] = redis.hgetall(keys.callback(transaction_id))
        if status == "pending":
            redis.zadd(keys.callbacks, {transaction_id: at_ms})
            redis.zadd(keys.callback_host_prefix + host, {transaction_id: due_ms})
        elif status == "dead":
            redis.zadd(keys.callbacks_dead, {transaction_id: at_ms})


def attempt(**changes: Any) -> dict[str, Any]:
    """One that failed."""
    made = {"at": "2026-11-24T03:15:08.123Z", "status": 500, "latency_ms": 1.5, "answer": "oh", "error": None}
    return made | changes


def ids(page: str) -> list[str]:
    return [unescape(each) for each in re.findall(r'/console/transactions/[^"]*">([^<]*)</a>', page)]
