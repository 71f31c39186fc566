"""How fast a key may send: counted where it is asked, shared through Redis, told to the client."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import fakeredis
import orjson
import pytest
from prometheus_client import REGISTRY

from riskline.cli.operate.api_keys import make
from riskline.ingest.auth.authentication import Authenticator
from riskline.ingest.auth.rate_limits import EXCHANGE_SECONDS, FRESH_SECONDS, RateAccount, RateLimiter
from riskline.ingest.problems.problem import HttpProblem
from riskline.shared.access.api_keys import ApiKey, Scope
from riskline.shared.access.rate import UNLIMITED, Rate, parse_rate
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.keys import Keys
from riskline.shared.store.rates import RateUse, RedisRates
from tests.support.api import MAX_BATCH_ROWS, Api
from tests.support.factories import transaction_json
from tests.support.wire import request, serving

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ROW = transaction_json(amount=1)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(account: RateAccount | None, clock: Clock, tries: int) -> int:
    assert account is not None
    return sum(account.take(clock()) for _ in range(tries))


@pytest.mark.parametrize(
    ("text", "quota", "seconds", "spelled"),
    [
        ("100/s", 100, 1, "100/s"),
        ("6000/min", 6000, 60, "6000/min"),
        ("30/10s", 30, 10, "30/10s"),
        ("30/120s", 30, 120, "30/2min"),
        ("5/24h", 5, 86_400, "5/24h"),
        (" 1/h ", 1, 3600, "1/h"),
    ],
)
def test_a_rate_is_a_number_and_a_time(text: str, quota: int, seconds: int, spelled: str) -> None:
    rate = parse_rate(text)

    assert (rate.quota, rate.window_seconds, str(rate)) == (quota, seconds, spelled)
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize(
    "text", ["", "100", "0/s", "-1/s", "1.5/s", "1/d", "1/25h", "1/0s", "1/s/s", "x/s", "1 /s", "\u0661/s"]
)
def test_what_is_no_rate_is_refused_with_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match="like 100/s"):
        parse_rate(text)


def test_a_quota_may_be_sent_at_once_and_then_as_it_becomes_free(clock: Clock) -> None:
    account = RateLimiter(Rate(10, 1), clock=clock).account(None)

    assert taken(account, clock, 20) == 10
    clock.now += 0.35
    assert taken(account, clock, 20) == 3
    clock.now += 3600
    assert taken(account, clock, 20) == 10


def test_a_key_has_an_account_of_its_own_and_perhaps_a_rate(clock: Clock) -> None:
    limiter = RateLimiter(Rate(2, 1), clock=clock)
    keys = {
        name: make(name, [Scope.SCORE], now=NOW, expires_at=None, rate=rate)[1]
        for name, rate in {"a": None, "b": None, "fast": Rate(5, 1), "free": UNLIMITED}.items()
    }

    assert [taken(limiter.account(keys[name]), clock, 9) for name in ("a", "b", "fast")] == [2, 2, 5]
    assert limiter.account(keys["free"]) is None
    assert taken(limiter.account(keys["a"]), clock, 9) == 0
    assert RateLimiter(clock=clock).account(keys["a"]) is None
    assert taken(RateLimiter(clock=clock).account(keys["fast"]), clock, 9) == 5


class Process:
    """An API process's limiter, over the same Redis as the others'."""

    def __init__(self, redis: Any, clock: Clock, *, rate: str, sharers: int = 2) -> None:
        self.rates: Any = RedisRates(redis)
        self.limiter = RateLimiter(parse_rate(rate), accounts=self.rates, sharers=lambda: sharers, clock=clock)
        account = self.limiter.account(None)
        assert account is not None
        self.account = account


async def test_processes_together_let_through_what_a_key_may_send(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = fakeredis.FakeAsyncRedis()
    one, two = (Process(redis, clock, rate="100/s") for _ in range(2))
    through = 0
    seconds = 20

    for _ in range(int(seconds / EXCHANGE_SECONDS)):
        # each process is asked for more than the whole rate
        through += taken(one.account, clock, 15) + taken(two.account, clock, 15)
        clock.now += EXCHANGE_SECONDS
        with at_redis_time(monkeypatch, clock):
            await one.limiter.exchange()
            await two.limiter.exchange()

    assert 100 * seconds <= through <= 100 * (seconds + 1) + 30


async def test_a_process_that_was_idle_knows_what_another_let_through(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = fakeredis.FakeAsyncRedis()
    one, two = (Process(redis, clock, rate="10/min") for _ in range(2))

    with at_redis_time(monkeypatch, clock):
        assert await admitted(one.limiter, one.account, 20) == 10
        await one.limiter.exchange()

        assert await admitted(two.limiter, two.account, 20) <= 1


class Away:
    async def spend(self, _spent: Any) -> list[float]:
        raise StoreUnavailableError("Redis: away")


async def test_each_process_keeps_to_its_share_while_redis_is_away(clock: Clock) -> None:
    process = Process(None, clock, rate="100/s", sharers=4)
    process.limiter._accounts = Away()
    through: list[int] = []

    for _ in range(10):
        through.append(0)
        for _ in range(int(1 / EXCHANGE_SECONDS)):
            through[-1] += taken(process.account, clock, 50)
            clock.now += EXCHANGE_SECONDS
            await process.limiter.exchange()

    assert through[0] <= 2 * 25 + 100 * FRESH_SECONDS
    assert all(24 <= each <= 26 for each in through[2:])


async def test_a_key_that_goes_from_process_to_process_has_its_quota_once(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = fakeredis.FakeAsyncRedis()
    processes = [Process(redis, clock, rate="1000/h", sharers=4) for _ in range(4)]
    through = 0

    with at_redis_time(monkeypatch, clock):
        for process in processes:
            through += await admitted(process.limiter, process.account, 1200)
            clock.now += 2
            await process.limiter.exchange()

    assert 1000 <= through <= 1100


async def admitted(limiter: RateLimiter, account: RateAccount, tries: int) -> int:
    through = 0
    for _ in range(tries):
        try:
            await limiter.admit(account)
        except HttpProblem:
            continue
        through += 1
    return through


async def test_nobody_is_refused_within_the_quota_because_a_process_has_not_heard_yet(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(fakeredis.FakeAsyncRedis(), clock, rate="20/min", sharers=4)

    with at_redis_time(monkeypatch, clock):
        assert await admitted(process.limiter, process.account, 30) == 20


async def test_a_clock_of_redis_that_was_set_back_locks_nobody_out(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = RedisRates(fakeredis.FakeAsyncRedis())
    with at_redis_time(monkeypatch, clock):
        assert await rates.spend([RateUse("shop", 100, 10.0)]) == [100]
        clock.now -= 600
        assert await rates.spend([RateUse("shop", 0.0, 10.0)]) == [100]
        clock.now += 3
        assert await rates.spend([RateUse("shop", 0.0, 10.0)]) == [70]


def test_another_rate_of_the_same_key_forgives_nothing(clock: Clock) -> None:
    _, key = make("shop", [Scope.SCORE], now=NOW, expires_at=None, rate=Rate(10, 60))
    limiter = RateLimiter(clock=clock)
    taken(limiter.account(key), clock, 10)

    assert taken(limiter.account(replace(key, rate=Rate(12, 60))), clock, 20) == 2


async def test_who_is_cut_off_while_redis_is_asked_loses_no_count(clock: Clock) -> None:
    process = Process(None, clock, rate="10/min", sharers=1)

    class Hangs:
        async def spend(self, _spent: Any) -> list[float]:
            await asyncio.sleep(10)
            return []

    process.limiter._accounts = Hangs()
    taken(process.account, clock, 5)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            await process.limiter.exchange()

    assert process.account.unreported == 5


async def test_what_was_sent_while_redis_was_away_is_told_as_far_as_it_is_not_free_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = fakeredis.FakeAsyncRedis()
    process = Process(redis, clock, rate="10/s", sharers=1)
    real, told = process.rates, []

    class Flaky:
        away = True

        async def spend(self, spent: list[RateUse]) -> list[float]:
            if self.away:
                raise StoreUnavailableError("Redis: away")
            told.extend(spent)
            return list(await real.spend(spent))

    flaky = process.limiter._accounts = Flaky()
    for _ in range(300):
        taken(process.account, clock, 1)
        clock.now += EXCHANGE_SECONDS
        await process.limiter.exchange()
    flaky.away = False
    taken(process.account, clock, 1)
    with at_redis_time(monkeypatch, clock):
        await process.limiter.exchange()

    assert told[0].units <= 2
    assert taken(process.account, clock, 20) >= 8


async def test_what_is_taken_while_redis_is_asked_is_not_forgotten(clock: Clock) -> None:
    process = Process(None, clock, rate="10/min", sharers=1)

    class Slow:
        async def spend(self, spent: list[RateUse]) -> list[float]:
            taken(process.account, clock, 3)
            return [each.units for each in spent]

    process.limiter._accounts = Slow()
    taken(process.account, clock, 2)
    await process.limiter.exchange()

    assert process.account.level(clock()) == 5
    assert process.account.unreported == 3


async def test_nothing_is_told_of_keys_that_send_nothing(clock: Clock) -> None:
    process = Process(None, clock, rate="10/s")

    await process.limiter.exchange()  # a Redis that is None would raise


async def test_an_account_in_redis_ends_when_all_is_free_again() -> None:
    redis = fakeredis.FakeAsyncRedis()

    levels = await RedisRates(redis).spend([RateUse("shop", 30, 10.0), RateUse("other", 0.0, 1.0)])

    assert levels == [30, 0]
    assert 3000 < await redis.pttl(Keys().rate("shop")) <= 4000
    assert not await redis.exists(Keys().rate("other"))
    assert await RedisRates(redis).spend([RateUse("shop", -40, 10.0)]) == [0]


def test_clients_are_told_what_is_left(clock: Clock) -> None:
    client = Api(limiter=RateLimiter(Rate(3, 60), clock=clock)).client

    answers = [client.simulate_post("/score-transaction", json=ROW) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit"] for answer in answers] == [
        '"key";r=2;t=20',
        '"key";r=1;t=40',
        '"key";r=0;t=60',
        '"key";r=0;t=60',
    ]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"key";q=3;w=60'}
    assert answers[3].headers["retry-after"] == "20"
    assert answers[3].json == {
        "type": "urn:riskline:problem:rate-limited",
        "title": "The API key sends too fast",
        "status": 429,
        "detail": "Its rate is 3/min, in which each row of a batch counts. Nothing was accepted; send it again later.",
        "violated-policies": ["key"],
        "instance": "/score-transaction",
    }
    clock.now += 20
    assert client.simulate_post("/score-transaction", json=ROW).status_code == 200


def test_who_waits_as_long_as_told_is_let_through(clock: Clock) -> None:
    client = Api(limiter=RateLimiter(Rate(7, 3600), clock=clock)).client
    for _ in range(30):
        answer = client.simulate_get("/decisions")
        if answer.status_code == 429:
            clock.now += int(answer.headers["retry-after"])
            assert client.simulate_get("/decisions").status_code == 200


def test_without_a_rate_nothing_is_said_of_one() -> None:
    answer = Api().client.simulate_post("/score-transaction", json=ROW)

    assert "ratelimit" not in answer.headers


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/docs", "/openapi.json"])
def test_what_is_open_has_no_rate(path: str, clock: Clock) -> None:
    client = Api(limiter=RateLimiter(Rate(1, 3600), clock=clock)).client

    assert {client.simulate_get(path).status_code for _ in range(3)} == {200}


def keyed() -> tuple[str, ApiKey]:
    return make("shop", [Scope.SCORE, Scope.SUBMIT], now=NOW, expires_at=None, rate=Rate(2, 60))


def test_who_is_refused_for_the_key_spends_nothing(clock: Clock) -> None:
    secret, key = keyed()
    client = Api(gate=Authenticator(own_keys=(key,)), limiter=RateLimiter(clock=clock)).client
    headers = {"Authorization": f"Bearer {secret}"}

    for _ in range(5):
        assert client.simulate_post("/score-transaction", json=ROW).status_code == 401
        assert client.simulate_get("/metrics", headers=headers).status_code == 403
    statuses = [client.simulate_post("/score-transaction", json=ROW, headers=headers).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]
    assert REGISTRY.get_sample_value("riskline_rate_limited_requests_total", {"key": "shop"}) is not None


def test_a_batch_counts_as_its_rows_and_is_taken_whole(clock: Clock) -> None:
    client = Api(limiter=RateLimiter(Rate(10, 60), clock=clock)).client
    rows = [transaction_json(transaction_id=f"r-{number}") for number in range(25)]

    taken_whole = client.simulate_post("/transactions/batch", json=rows)
    refused = client.simulate_post("/transactions/batch", json=rows)

    assert (taken_whole.status_code, taken_whole.json["accepted"]) == (202, 25)
    assert taken_whole.headers["ratelimit"] == '"key";r=0;t=150'
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "96"
    clock.now += 96
    assert client.simulate_post("/transactions/batch", json=rows[:1]).status_code == 202


def test_batches_beside_each_other_are_taken_until_one_whole_batch_is_owed(clock: Clock) -> None:
    limiter = RateLimiter(Rate(10, 60), clock=clock)
    client = Api(limiter=limiter).client
    account = limiter.account(None)
    assert account is not None
    # what other batches have brought in meanwhile
    account.charge(MAX_BATCH_ROWS + 10, clock())
    limiter.admit = admit_all  # type: ignore[method-assign]

    cut = client.simulate_post("/transactions/batch", json=[transaction_json(transaction_id="r")])

    assert cut.status_code == 202
    account.charge(1, clock())
    refused = client.simulate_post("/transactions/batch", json=[transaction_json(transaction_id="s")])
    assert (refused.status_code, refused.json["accepted"], refused.json["known"]) == (429, 0, 0)


async def admit_all(_account: RateAccount) -> None:
    """As if it was there before the others."""


def test_an_empty_batch_counts_as_one_request(clock: Clock) -> None:
    client = Api(limiter=RateLimiter(Rate(10, 60), clock=clock)).client

    assert client.simulate_post("/transactions/batch", json=[]).headers["ratelimit"] == '"key";r=9;t=6'


REQUESTS = {
    "score": request("/score-transaction", orjson.dumps(ROW)),
    "queue": request("/transactions", orjson.dumps(ROW)),
    "invalid": request("/score-transaction", orjson.dumps(transaction_json(amount=-1))),
    "not JSON": request("/transactions", b"{"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_both_ways_count_a_request_once_and_say_the_same(name: str) -> None:
    found = []
    for fast in (True, False):
        api = Api(limiter=RateLimiter(Rate(3, 60), clock=Clock()))
        async with serving(api.app) as server:
            wire = server.connect(fast=fast)
            for number in range(5):
                await wire.send(REQUESTS[name]).answers(number + 1)
            answers = await wire.answers(5)
        found.append(
            [(each.status, each.headers.get("ratelimit"), each.headers.get("retry-after")) for each in answers]
        )

    assert [status for status, _, _ in found[0]][3:] == [429, 429]
    assert [left for _, left, _ in found[0]][:3] == ['"key";r=2;t=20', '"key";r=1;t=40', '"key";r=0;t=60']
    assert found[0] == found[1]


async def test_a_request_of_a_known_head_is_counted_on_its_keys_account() -> None:
    secret, key = keyed()
    api = Api(gate=Authenticator(own_keys=(key,)), limiter=RateLimiter(clock=Clock()))
    data = request("/score-transaction", orjson.dumps(ROW), f"Authorization: Bearer {secret}")

    async with serving(api.app) as server:
        statuses = []
        for _ in range(3):
            statuses += [answer.status for answer in await server.connect(fast=True).send(data).answers()]

    assert statuses == [200, 200, 429]


def at_redis_time(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Any:
    """fakeredis reads the time of day; here it is the clock's."""

    class Patched:
        def __enter__(self) -> None:
            self.context = monkeypatch.context()
            patch = self.context.__enter__()
            patch.setattr("time.time", clock)

        def __exit__(self, *error: object) -> None:
            self.context.__exit__(*error)

    return Patched()
