from pathlib import Path

import pytest

from riskline.shared.errors import SettingsError
from riskline.shared.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*(f"RISKLINE_{field.upper()}" for field in Settings.model_fields), "REDIS_URL"]:
        monkeypatch.delenv(name, raising=False)


def test_without_any_variable_the_defaults_hold() -> None:
    settings = load_settings()

    assert (settings.host, settings.port, settings.redis_url) == ("127.0.0.1", 8000, None)


def test_a_variable_is_read_and_an_override_outranks_it_but_none_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISKLINE_PORT", "9000")
    monkeypatch.setenv("REDIS_URL", "redis://example:6379/1")

    assert load_settings(port=None).port == 9000
    assert load_settings(port=9001).port == 9001
    assert load_settings(port=0).port == 0
    assert load_settings().redis_url == "redis://example:6379/1"


@pytest.mark.parametrize(
    ("name", "value", "default"),
    [
        ("RISKLINE_PORT", "eighty", "8000"),
        ("RISKLINE_PORT", "65536", "8000"),
        ("RISKLINE_PROCESSES", "0", "1"),
        ("RISKLINE_RESULT_TTL", "", "86400"),
        ("RISKLINE_LOG_LEVEL", "loud", "INFO"),
        ("REDIS_URL", "localhost:6379", "none"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_the_default(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, default: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as refused:
        load_settings()

    assert name in str(refused.value)
    assert f"(default: {default})" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISKLINE_PORT", "eighty")
    monkeypatch.setenv("RISKLINE_QUEUE_LIMIT", "0")

    with pytest.raises(SettingsError, match=r"RISKLINE_PORT.*RISKLINE_QUEUE_LIMIT"):
        load_settings()


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.com")),  # noqa: S104  # what is tested
    ],
)
def test_an_address_is_known_for_one_that_only_this_machine_reaches(host: str, *, is_loopback: bool) -> None:
    assert load_settings(host=host).is_loopback is is_loopback


def test_a_wrong_line_among_the_keys_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISKLINE_API_KEYS", "shop:score:yesterday:never:0123456789abcdef")

    with pytest.raises(SettingsError, match="RISKLINE_API_KEYS: entry 1 of 1") as refused:
        load_settings()

    assert "0123456789abcdef" not in str(refused.value)


def test_keys_that_are_set_to_nothing_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RISKLINE_API_KEYS", "RISKLINE_API_KEYS_FILE"):
        monkeypatch.setenv(name, "")

    assert (load_settings().own_keys, load_settings().api_keys_file) == ((), None)


def test_another_process_given_the_environment_has_the_same_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = load_settings(port=0, data=tmp_path, redis_url="unix:///run/redis.sock", model_version="v1", queue_limit=7)

    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)

    assert load_settings() == given


@pytest.mark.parametrize(
    ("given", "origins"),
    [("", ()), ("*", ("*",)), (" https://a.example , http://b:8080,", ("https://a.example", "http://b:8080"))],
)
def test_origins_are_a_list_by_comma(monkeypatch: pytest.MonkeyPatch, given: str, origins: tuple[str, ...]) -> None:
    monkeypatch.setenv("RISKLINE_CORS_ORIGINS", given)

    assert load_settings().cors == origins


@pytest.mark.parametrize("given", ["a.example", "https://a.example/path", "https://*.a b"])
def test_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("RISKLINE_CORS_ORIGINS", given)

    with pytest.raises(SettingsError, match="RISKLINE_CORS_ORIGINS"):
        load_settings()


def test_the_history_is_in_the_redis_of_the_transactions_unless_it_has_its_own() -> None:
    store = {"redis_url": "redis://tickets", "store_url": "redis+cluster://one:6379"}

    assert load_settings(redis_url="redis://tickets").required_history_url == "redis://tickets"
    assert load_settings(**store).required_history_url == "redis+cluster://one:6379"
    assert load_settings(**store, history_url="rediss://own").required_history_url == "rediss://own"
    assert load_settings(redis_url="redis://tickets", history_url="").required_history_url == "redis://tickets"


def test_a_secret_of_the_history_that_can_be_guessed_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="RISKLINE_HISTORY_SECRET: is shorter than 16 characters") as refused:
        load_settings(history_secret="short secret")

    assert "short secret" not in str(refused.value)
    assert load_settings(history_secret="").history_secret is None
