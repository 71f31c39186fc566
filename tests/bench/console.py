"""`python -m tests.bench.console`: the console over a million decisions while 5,000 a second arrive, and its cost."""

import http.client
import json
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.parse import quote

import orjson
import typer
from redis import Redis

from shared.clock import spelled
from shared.store.keys import Keys
from tests.factories import transaction_json
from tests.integration.conftest import clean_environment
from tests.integration.running import RunningUp, riskline
from tests.integration.swapping import write_forests

FILL_BATCH = 5_000
ARRIVING = 5_000
CONSOLES = 10
CONNECTIONS = 32
REPEATS = 20
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer KEY"
local number, prefix = 0, tostring({}):sub(8)
request = function()
  number = number + 1
  return wrk.format(nil, "/score-transaction", nil, (BODY:gsub("THE%-ID", prefix .. number)))
end
"""

PAGES = {
    "overview": "",
    "its live part": "/live",
    "decisions": "/decisions",
    "decisions of an action": "/decisions?action=DECLINE",
    "decisions of a score that is rare": "/decisions?score_min=0.99999",
    "decisions of a version that is not there": "/decisions?version=none",
    "decisions by a field": "/decisions?f.amount.min=1e9",
    "decisions of an hour ago": f"/decisions?until={quote(spelled(time.time() - 1800))}",
    "one transaction": "/transactions/seen",
    "try one": "/try",
    "failed": "/failed",
    "models": "/models",
    "changes": "/changes",
}


class Viewer:
    """Somebody who is signed in."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.request("POST", "/console/sign-in", f"key={key}", FORM)
        answer = self._connection.getresponse()
        answer.read()
        self._cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}

    def seconds(self, path: str) -> float:
        """How long a page takes."""
        start = time.perf_counter()
        self._connection.request("GET", f"/console{path}", headers=self._cookie)
        answer = self._connection.getresponse()
        answer.read()
        assert answer.status == 200, (path, answer.status)
        return time.perf_counter() - start


def fill(redis: Redis, number: int) -> None:
    """Decisions of the last hour, as the feed keeps them."""
    random, now = Random(1), time.time()
    for start in range(0, number, FILL_BATCH):
        with redis.pipeline(transaction=False) as pipeline:
            for each in range(start, start + FILL_BATCH):
                at = now - 3600 + 3600 * each / number
                score = random.random() * 0.9999
                decision = {
                    "transaction_id": f"filled-{each}",
                    "fraud_probability": score,
                    "action": "DECLINE" if score > 0.85 else "APPROVE",
                    "model_version": "20261101T000000-abcdef01",
                    "scored_at": spelled(at),
                }
                pipeline.xadd(Keys().feed, {"d": orjson.dumps(decision)}, id=f"{int(at * 1000)}-{each}")
            pipeline.execute()


def load(port: int, key: str, directory: Path, *, connections: int, seconds: float, delay_ms: int = 0) -> float:
    """Requests a second of the synchronous door."""
    body = json.dumps(transaction_json(transaction_id="THE-ID"))
    script = directory / f"load-{delay_ms}.lua"
    delay = f"delay = function() return {delay_ms} end\n" if delay_ms else ""
    script.write_text(f"local BODY = [[{body}]]\n{SCRIPT.replace('KEY', key)}{delay}")
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "Non-2xx" not in done.stdout, done.stdout
    return float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])


@contextmanager
def watched(viewers: list[Viewer]) -> Iterator[None]:
    """All have the overview open, which asks once a second."""
    over = threading.Event()

    def look(viewer: Viewer) -> None:
        while not over.wait(1.0):
            viewer.seconds("/live")

    threads = [threading.Thread(target=look, args=(each,)) for each in viewers]
    for each in threads:
        each.start()
    yield
    over.set()
    for each in threads:
        each.join()


def main(decisions: int = 1_000_000, seconds: int = 8, rounds: int = 5) -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_forests(directory / "models", 1, trees=100, depth=10)
        environment = clean_environment() | {
            "RISKLINE_MODELS": str(directory / "models"),
            "RISKLINE_MODEL_VERSION": next(path.name for path in (directory / "models").iterdir() if path.is_dir()),
            "RISKLINE_FEED_LENGTH": str(2 * decisions),
        }
        data = directory / "data"
        words = ("keys", "new", "--name", "bench", "--scope", "admin", "--data", str(data), "--json")
        key = json.loads(riskline(*words, environment=environment).stdout)["key"]
        with RunningUp(data, environment=environment) as up:
            port = up.state["port"]
            redis = Redis.from_url(up.state["redis_url"])
            start = time.perf_counter()
            fill(redis, decisions)
            print(f"{redis.xlen(Keys().feed):,} decisions kept, {time.perf_counter() - start:.0f} s to fill")
            viewers = [Viewer(port, key) for _ in range(CONSOLES)]
            measure_pages(port, key, directory, viewers[0])
            measure_cpu(up.state["children"], viewers, seconds=2 * seconds)
            measure_cost(port, key, directory, viewers, seconds=seconds, rounds=rounds)


def measure_pages(port: int, key: str, directory: Path, viewer: Viewer) -> None:
    """How long each page takes while decisions arrive."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/score-transaction", json.dumps(transaction_json(transaction_id="seen")), headers)
    connection.getresponse().read()
    rate: list[float] = []
    options = {"connections": 50, "seconds": 25, "delay_ms": 50_000 // ARRIVING - 2}
    arriving = threading.Thread(target=lambda: rate.append(load(port, key, directory, **options)))
    arriving.start()
    time.sleep(2)
    for name, path in PAGES.items():
        times = sorted(1000 * viewer.seconds(path) for _ in range(REPEATS))
        print(f"{name:42} median {statistics.median(times):6.1f} ms, worst of {REPEATS} {times[-1]:6.1f} ms")
    assert arriving.is_alive()
    arriving.join()
    print(f"{rate[0]:,.0f} decisions a second arrived meanwhile")


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_cpu(children: dict[str, int], viewers: list[Viewer], *, seconds: int) -> None:
    """Which part of a core open consoles take, where nothing else is asked for: what a noisy machine cannot blur."""

    def spent() -> dict[str, float]:
        start = {name: cpu_seconds(pid) for name, pid in children.items()}
        time.sleep(seconds)
        return {name: (cpu_seconds(pid) - start[name]) / seconds for name, pid in children.items()}

    alone = spent()
    with watched(viewers):
        together = spent()
    for name in children:
        parts = f"{100 * alone[name]:.1f} % of a core alone, {100 * together[name]:.1f} %"
        print(f"{name}: {parts} with {len(viewers)} consoles")


def measure_cost(port: int, key: str, directory: Path, viewers: list[Viewer], *, seconds: int, rounds: int) -> None:
    """What open consoles cost the synchronous door, one after the other in one run."""
    ratios = []
    for _ in range(rounds):
        alone = load(port, key, directory, connections=CONNECTIONS, seconds=seconds)
        with watched(viewers):
            together = load(port, key, directory, connections=CONNECTIONS, seconds=seconds)
        again = load(port, key, directory, connections=CONNECTIONS, seconds=seconds)
        ratios.append(together / ((alone + again) / 2))
        print(
            f"alone {alone:,.0f}/s and {again:,.0f}/s, with {len(viewers)} consoles {together:,.0f}/s: {ratios[-1]:.3f}"
        )
    print(f"median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    typer.run(main)
