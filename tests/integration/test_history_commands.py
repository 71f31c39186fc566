"""`riskline history status` and `erase`, on a real Redis."""

import asyncio
import json
from pathlib import Path

import pytest
import typer
from redis import Redis
from typer.testing import CliRunner

from riskline.cli.history.erase import erase
from riskline.cli.history.status import status
from riskline.cli.models.cold_history import coldness
from riskline.shared.domain.history.observation import Observation, Observing
from riskline.shared.errors import InstallationError, RisklineError
from riskline.shared.settings import load_settings
from riskline.shared.store.history.opening import open_history
from riskline.shared.store.history.secret import history_secret
from tests.integration.observing_process import purchases
from tests.integration.running import OwnRedis
from tests.support.histories import Purchase, purchase

DAY_SECONDS = 86_400

pytestmark = pytest.mark.integration

app = typer.Typer()
app.command("status")(status)
app.command("erase")(erase)


@pytest.fixture
def installation(shared_redis: OwnRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installation whose history is empty; the URL of its Redis."""
    with Redis.from_url(shared_redis.url) as redis:
        redis.flushall()
    monkeypatch.setenv("REDIS_URL", shared_redis.url)
    monkeypatch.setenv("RISKLINE_DATA", str(tmp_path))
    monkeypatch.setenv("RISKLINE_TRANSACTION", "tests.support.histories:Purchase")
    return shared_redis.url


def observe(*rows: dict[str, object]) -> None:
    settings = load_settings()
    observing = Observing(purchases(), history_secret(settings))

    async def observed(observations: list[Observation]) -> None:
        store = open_history(settings, purchases(), timeout_seconds=60)
        await store.observe(observations)
        await store.close()

    asyncio.run(observed([observing.of(Purchase.from_row(row)) for row in rows]))


def run(*words: str, value: str = "") -> str:
    done = CliRunner().invoke(app, words, input=value)
    if isinstance(done.exception, RisklineError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def counts() -> dict[str, int]:
    return {each["entity"]: each["entities"] for each in json.loads(run("status", "--json"))["entities"]}


@pytest.mark.usefixtures("installation")
def test_a_history_is_cold_until_its_longest_window_was_observed() -> None:
    """By which `models activate` goes."""
    history_secret(load_settings())
    empty = coldness(None)
    observe(
        purchase(1, seconds=-40 * DAY_SECONDS, device_id="D1"), purchase(2, seconds=-37 * DAY_SECONDS, device_id="D1")
    )
    young = coldness(None)
    observe(purchase(3, seconds=-9 * DAY_SECONDS, device_id="D1"))

    assert empty is not None
    assert young is not None
    assert (empty.is_certain, "of card_id it has nothing of 30d" in empty.text) == (True, True)
    assert "of card_id it has 3d of 30d" in young.text
    assert "of device_id it has 3d of 7d" in young.text
    assert coldness(None) is None


def test_status_says_since_when_each_entity_is_observed_and_how_warm_its_windows_are(installation: str) -> None:
    observe(purchase(1, device_id="D1"), purchase(2, seconds=1800, card_id="C2"))

    told = run("status")
    [card, *_] = json.loads(run("status", "--json"))["entities"]

    assert "card_id: 2 entities in 0.0 MB, kept 30d; observed live from 2026-11-24T03:15:07.000Z to " in told
    assert "50% warm, all at 2026-11-24T04:15:07.000Z" in told
    assert (card["live_from"], card["live_to"]) == ("2026-11-24T03:15:07.000Z", "2026-11-24T03:45:07.000Z")
    assert card["windows"][0] == {
        "window": "1h",
        "columns": ["purchases_1h"],
        "warm": 0.5,
        "warm_at": "2026-11-24T04:15:07.000Z",
    }
    assert counts() == {"card_id": 2, "merchant_id": 1, "device_id": 1, "card_id+merchant_id": 2, "card_id+channel": 2}


def test_status_of_a_history_that_nothing_was_added_to_says_that_it_is_cold(installation: str) -> None:
    told = run("status")

    assert "card_id: 0 entities in 0.0 MB, kept 30d; not observed live yet" in told
    assert "cold" in told


def test_a_card_is_erased_alone_and_with_others_and_its_value_is_nowhere(installation: str) -> None:
    observe(purchase(1, card_id="C-secret"), purchase(2, card_id="C2"))

    told = run("erase", "card_id", value="C-secret\n")

    assert told == "3 entries of this card_id forgotten, alone and together with others\n"
    assert run("erase", "card_id", value="C-secret") == "nothing is kept of this card_id\n"
    assert json.loads(run("erase", "card_id", "--json", value="C2\n")) == {"entity": "card_id", "erased": 3}
    assert counts() == {"card_id": 0, "merchant_id": 1, "device_id": 0, "card_id+merchant_id": 0, "card_id+channel": 0}
    with Redis.from_url(installation) as redis:
        noted = redis.xrange("riskline:{0}:console_changes")
        assert [b"history erased" in b"".join(entry.values()) for _, entry in noted] == [True] * 3
        assert not any(b"C-secret" in b"".join(entry.values()) for _, entry in noted)


def test_no_value_of_an_entity_is_in_redis(installation: str) -> None:
    observe(purchase(1, card_id="C-secret", merchant_id="M-secret", device_id="D-secret"))

    with Redis.from_url(installation) as redis:
        names = redis.keys("riskline:{h*}:*")
        kept = [name + redis.get(name) for name in names] + [str(redis.hgetall("riskline:{0}:history_marks")).encode()]

    assert len(kept) == 6
    assert not any(b"secret" in each for each in kept[:-1])
    assert not any(value in kept[-1] for value in (b"C-secret", b"M-secret", b"D-secret"))


def test_all_are_erased_also_those_of_another_secret(installation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    observe(purchase(1))
    monkeypatch.setenv("RISKLINE_HISTORY_SECRET", "another secret of the operator")

    assert run("erase", "--all") == "4 entities forgotten\n"

    observe(purchase(1))
    assert counts()["card_id"] == 1


@pytest.mark.parametrize(
    ("words", "value", "told"),
    [
        (["erase", "card_id"], "", "give one value on standard input"),
        (["erase", "card_id"], "C1\nC2\n", "give one value on standard input"),
        (["erase", "card_id"], "C" * 2000, "none that a card_id can have"),
    ],
)
def test_what_is_no_value_is_refused_and_not_repeated(
    installation: str, words: list[str], value: str, told: str
) -> None:
    with pytest.raises(InstallationError, match=told) as refused:
        run(*words, value=value)

    assert "C1" not in str(refused.value)


@pytest.mark.parametrize("words", [["erase"], ["erase", "card_id", "--all"], ["erase", "cost"]])
def test_what_is_no_entity_is_a_usage_error(installation: str, words: list[str]) -> None:
    done = CliRunner().invoke(app, words, input="C1")

    assert done.exit_code == 2
    assert counts()["card_id"] == 0


def test_a_redis_that_is_away_is_told(installation: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RISKLINE_HISTORY_URL", f"unix://{tmp_path}/none")

    with pytest.raises(InstallationError, match=r"the history's Redis: .*`riskline doctor` says more"):
        run("status")
