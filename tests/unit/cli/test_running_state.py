"""What a running `riskline up` tells the commands of another terminal."""

from pathlib import Path

import pytest

from riskline.cli.installation import Installation, RunningState, installation_settings


def test_commands_find_each_redis_of_a_running_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "RISKLINE_STORE_URL", "RISKLINE_HISTORY_URL", "RISKLINE_SHARDS"):
        monkeypatch.delenv(name, raising=False)
    installation = Installation(tmp_path)
    urls = {"redis_url": "unix:///r", "store_url": "redis+cluster://a:1", "history_url": "redis://h", "shards": 3}
    with installation.locked():
        installation.write_state(
            RunningState(pid=1, host="127.0.0.1", port=8000, redis_started=False, children={}, **urls)
        )
        settings = installation_settings(data=tmp_path)

    assert {name: getattr(settings, name) for name in urls} == urls
