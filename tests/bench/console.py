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

import numpy as np
import orjson
import typer
from redis import Redis

from riskline.shared.clock import utc_text
from riskline.shared.store.keys import Keys
from tests.integration.conftest import clean_environment
from tests.integration.running import RunningUp, riskline
from tests.integration.swapping import write_forests
from tests.support.factories import transaction_json

FILL_BATCH = 5_000
ARRIVING = 5_000
CONSOLES = 10
CONNECTIONS = 32
COUNTER = "riskline_decisions_total{"
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
    "decisions of an hour ago": f"/decisions?until={quote(utc_text(time.time() - 1800))}",
    "decisions whose id begins so": "/decisions?id=zzz*",
    "find": "/find?q=zzz",
    "the overview of a week": "?period=7d",
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
                    "scored_at": utc_text(at),
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


def main(decisions: int = 1_000_000, seconds: int = 2, rounds: int = 60) -> None:
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
            measure_cpu(up.state["children"], viewers, seconds=8 * seconds)
            api_pid = up.state["children"]["API"]
            measure_cost(port, key, directory, viewers, api_pid=api_pid, seconds=seconds, rounds=rounds)


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


def measure_cost(
    port: int, key: str, directory: Path, viewers: list[Viewer], *, api_pid: int, seconds: int, rounds: int
) -> None:
    """What open consoles cost the synchronous door: they are opened and closed all the while under one load.

    Each time with them is held against the times just before and after, so that what else the machine does, which is
    far more, is in both; over many rounds it is even. What the API decides in a second of its own computing is less
    blurred than what it decides in a second, and says the same where it has a core to itself.
    """
    counted = Counted(port, key, api_pid)
    total = seconds * (2 * rounds + 1) + 10
    options = {"connections": CONNECTIONS, "seconds": total}
    loading = threading.Thread(target=lambda: load(port, key, directory, **options))
    loading.start()
    time.sleep(3)
    ratios: list[np.ndarray] = []
    alone = counted.during(seconds)
    for _ in range(rounds):
        with watched(viewers):
            together = counted.during(seconds)
        before, alone = alone, counted.during(seconds)
        ratios.append(2 * together / (before + alone))
    assert loading.is_alive()
    loading.join()
    at = f"at {alone[0]:,.0f}/s"
    print(f"{rounds} times {seconds} s with {len(viewers)} consoles against those before and after, {at}")
    for what, each in zip(("a second", "a second of the API's computing"), np.transpose(ratios).tolist(), strict=True):
        again = Random(1)
        medians = sorted(statistics.median(again.choices(each, k=len(each))) for _ in range(2000))
        interval = f"95 % interval {medians[50]:.3f} to {medians[-50]:.3f}"
        print(f"decided {what}: median ratio {statistics.median(each):.3f}, {interval}")


class Counted:
    """What the API has decided, by its own count."""

    def __init__(self, port: int, key: str, pid: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._pid = pid

    def during(self, seconds: float) -> np.ndarray:
        """In the next seconds: how many were decided a second, and a second of the process's computing."""
        start = np.array([time.perf_counter(), cpu_seconds(self._pid)])
        before = self._decided()
        time.sleep(seconds)
        return (self._decided() - before) / (np.array([time.perf_counter(), cpu_seconds(self._pid)]) - start)

    def _decided(self) -> float:
        self._connection.request("GET", "/metrics", headers=self._headers)
        text = self._connection.getresponse().read().decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(COUNTER))


if __name__ == "__main__":
    typer.run(main)
