"""The synchronous door against other ways to serve the same forest."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.bench import service
from tests.bench.load import wrk
from tests.bench.processes import answers, free_port, running, wait_until
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.workspace import ROOT, Workspace

CONNECTIONS = (1, 32, 512)
PROCESSES = 2
PATH = "/score-transaction"
PEERS = "tests.bench.peers"

RISKLINE = "Riskline, 2 processes"
FALCON = "empty Falcon app, 2 processes"
RAW = "raw ASGI app, 2 processes"
FASTAPI = "FastAPI + scikit-learn, 4 processes"
GUIDE = "the guide's app, 4 processes"
BENTOML = "BentoML, 2 workers"
BENTOML_BATCHED = "BentoML with adaptive batching, 2 workers"

SERVER = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


def cases(bench: Workspace) -> list[Case]:
    """Ours, the limits, and the peers."""
    peer = partial(_peer, bench)
    found = [
        Case(RISKLINE, partial(_riskline, bench)),
        Case(FALCON, partial(peer, [*_uvicorn(bench, f"{PEERS}.falcon_constant:app", 2), *SERVER])),
        Case(RAW, partial(peer, [*_uvicorn(bench, f"{PEERS}.raw_asgi:app", 2), "--lifespan", "off", *SERVER])),
        Case(FASTAPI, partial(peer, [*_uvicorn(bench, f"{PEERS}.fastapi_sklearn:app", 4), "--log-level", "warning"])),
        Case(BENTOML, partial(peer, _bentoml(bench, "Single"), before='{"transaction":', after="}")),
        Case(BENTOML_BATCHED, partial(peer, _bentoml(bench, "Batched"), before='{"transactions":[', after="]}")),
    ]
    guide = bench.guide_directory
    if guide is not None:
        words = [guide / "env/bin/uvicorn", "app:app", "--workers", 4, "--log-level", "warning"]
        found.append(Case(GUIDE, partial(peer, words, directory=guide)))
    return found


def _uvicorn(bench: Workspace, app: str, processes: int) -> list[object]:
    return [bench.python, "-m", "uvicorn", app, "--workers", processes]


def _bentoml(bench: Workspace, service_name: str) -> list[object]:
    return [bench.python, "-m", "bentoml", "serve", f"{PEERS}.bentoml_service:{service_name}", "--host", "127.0.0.1"]


def _riskline(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    with service.up(bench, processes=PROCESSES) as ours:
        yield from loads(bench, ours.port, recorded=service.recorded(ours.redis))


def _peer(
    bench: Workspace, words: list[object], *, directory: Path = ROOT, before: str = "", after: str = ""
) -> Iterator[tuple[str, Figures]]:
    port = free_port()
    log = bench.run_directory / "peer.log"
    command = [*words, "--port", port]
    with running(command, log=log, environment=bench.peer_environment, directory=directory) as process:
        wait_until(answers(port, "/docs.json", any_status=True), process, log=log)
        yield from loads(bench, port, before=before, after=after)


def loads(
    bench: Workspace,
    port: int,
    *,
    rows: Path | None = None,
    all_connections: Sequence[int] = CONNECTIONS,
    recorded: Callable[[], int] | None = None,
    **variables: str,
) -> Iterator[tuple[str, Figures]]:
    """Sends rows to the door by each number of connections; `recorded` says how many decisions Redis has."""
    send = partial(wrk, port, PATH, bench.rows if rows is None else rows, **variables)
    # whoever is slow at first is not measured for it
    answered = answered_well(send(connections=8, seconds=1))
    for connections in all_connections:
        figures = send(connections=connections, seconds=bench.seconds)
        if recorded is not None:
            answered += answered_well(figures)
            figures["unrecorded"] = max(0, answered - recorded())
        yield variant(connections), figures


def answered_well(figures: Figures) -> float:
    """How many decisions a load was given."""
    return figures["requests"] - figures["errors"]


def variant(connections: int) -> str:
    """How a number of connections is called in the report."""
    return "1 connection" if connections == 1 else f"{connections} connections"


COLUMNS = {
    "per_second": "requests/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "max_ms": "longest ms",
    "errors": "errors",
    "unrecorded": "not yet recorded at the end",
}

SCENARIO = Scenario(
    name="sync",
    title="One decision a request",
    note="`POST /score-transaction`, each request with an id of its own. Riskline validates, scores, explains what it "
    "declines and records every decision in Redis (append-only file, `appendfsync always`), a moment after its answer: "
    "how many are on their way as the load ends is the last column. The peers record nothing. "
    "The empty Falcon app reads the body and answers a constant of the same size; the raw ASGI app has no framework "
    "at all: they are the limit.",
    columns=COLUMNS,
    cases=cases,
)
