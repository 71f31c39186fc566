"""Riskline's synchronous door against the guide's app: same forest, same rows, same client, one run.

    .venv/bin/python tests/bench/against_the_guide.py --guide ../shared/guide --data ../shared/data/transactions.csv.gz

Needs wrk. The guide's app runs in an environment of its own, with the versions that it pins, made below --work.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROUNDS = 3
SECONDS = 5
FIELDS = ["amount", "merchant_category_code", "customer_age", "distance_from_home", "is_online_transaction"]

TRAIN_GUIDE = """
import sys, joblib, numpy as np
from sklearn.ensemble import RandomForestClassifier
data = np.loadtxt(sys.argv[1], delimiter=",")
joblib.dump(RandomForestClassifier(100, max_depth=10, random_state=0, n_jobs=-1).fit(data[:, :-1], data[:, -1])
            .set_params(n_jobs=None), "fraud_model.joblib")
"""

WRK = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local i = 0
request = function()
  i = i %% #bodies + 1
  return wrk.format(nil, "/score-transaction", nil, bodies[i])
end
done = function(summary, latency)
  io.write(string.format('RESULT {"per_second": %%f, "p50_ms": %%f, "p99_ms": %%f, "errors": %%d}\\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--guide", type=Path, required=True)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--work", type=Path, default=ROOT / ".riskline" / "bench")
    given = options.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    rows = prepare(given, work)
    servers = {
        "guide": (
            [work / "guide/bin/uvicorn", "app:app", "--port", "8123", "--workers", "4", "--log-level", "warning"],
            8123,
        ),
        "riskline": (
            [ROOT / ".venv/bin/riskline", "up", "--port", "8124", "--processes", "2", "--data", work / "data"],
            8124,
        ),
    }
    results: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(ROUNDS):
        for name, (command, port) in servers.items():
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=work,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "RISKLINE_LOG_LEVEL": "ERROR"},
            )
            try:
                wait_for(f"http://127.0.0.1:{port}/health")
                for connections in (1, 32):
                    results.setdefault((name, connections), []).append(load(port, connections, rows, work))
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(30)
    report(results)


def prepare(given: argparse.Namespace, work: Path) -> Path:
    """Both models from the same rows, and the requests."""
    import polars as pl  # noqa: PLC0415  # only this benchmark's own reading needs it

    if not (work / "guide/bin/uvicorn").exists():
        subprocess.run([sys.executable, "-m", "venv", work / "guide"], check=True)
        subprocess.run([work / "guide/bin/pip", "install", "-q", "-r", given.guide / "requirements.txt"], check=True)
    (work / "app.py").write_text((given.guide / "app.py").read_text())
    frame = pl.read_csv(given.data).filter(pl.col("customer_age") >= 18)
    training = frame.filter(pl.col("timestamp") < "2025-06-01")
    training.select([*FIELDS, "is_fraud"]).write_csv(work / "training.csv", include_header=False)
    if not (work / "fraud_model.joblib").exists():
        subprocess.run([work / "guide/bin/python", "-c", TRAIN_GUIDE, "training.csv"], cwd=work, check=True)
    if not (work / "data/models/active").exists():
        train = ["train", given.data.resolve(), "--test-from", "2025-06-01", "--skip-bad-rows", "--data", work / "data"]
        subprocess.run([ROOT / ".venv/bin/riskline", *train], check=True)
    requests = work / "requests.ndjson"
    frame.filter(pl.col("timestamp") >= "2025-06-01").select(["transaction_id", *FIELDS]).head(20_000).write_ndjson(
        requests
    )
    return requests


def load(port: int, connections: int, rows: Path, work: Path) -> dict[str, float]:
    """One run of wrk."""
    script = work / "requests.lua"
    script.write_text(WRK % rows)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result: dict[str, float] = json.loads(output.split("RESULT ")[1])
    return result


def wait_for(url: str) -> None:
    """Waits for an answer, a minute at the most."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310  # a URL of ours
                time.sleep(1)
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def report(results: dict[tuple[str, int], list[dict[str, float]]]) -> None:
    """A table of medians, and the ratios."""
    print("| | connections | requests/s min/median/max | p50 ms | p99 ms | errors |\n|---|---|---|---|---|---|")
    medians: dict[tuple[str, int], float] = {}
    for (name, connections), runs in results.items():
        rates = sorted(run["per_second"] for run in runs)
        medians[name, connections] = statistics.median(rates)
        p50, p99 = (statistics.median(run[key] for run in runs) for key in ("p50_ms", "p99_ms"))
        errors = sum(run["errors"] for run in runs)
        print(
            f"| {name} | {connections} | {rates[0]:,.0f} / {medians[name, connections]:,.0f} / {rates[-1]:,.0f} "
            f"| {p50:.2f} | {p99:.2f} | {errors:.0f} |"
        )
    for connections in (1, 32):
        print(f"{connections} connections: {medians['riskline', connections] / medians['guide', connections]:.0f} x")


if __name__ == "__main__":
    main()
