"""The documentation is true: its commands run, and its tables are those of the code.

A fenced block opened with ```sh is run when it has a `riskline` or `curl` command, and none that belongs to another
environment or does not return (see `ELSEWHERE`). A block that shows an error on purpose is opened with ```console.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from riskline.cli.up.demo import DEMO_REVIEW_THRESHOLD, example_body
from riskline.ingest.background.exported_metrics import ExportedMetrics
from riskline.ingest.openapi.document import build_openapi
from riskline.ingest.problems.problem import TYPE_PREFIX
from riskline.ingest.problems.types import PROBLEMS, REFUSALS
from riskline.shared.domain.assessment import decide
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.policy import Action
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.registry import Registry
from riskline.shared.settings import Settings, variable_name
from riskline.shared.store import keys
from riskline.shared.telemetry import metrics
from riskline.shared.webhooks.signing import new_secret
from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually, riskline
from tests.integration.servers import free_ports

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
HOW_TO = DOCS / "how-to" / "bring-your-own-transaction.md"
TRAIN_WITH_HISTORY = DOCS / "how-to" / "train-with-history.md"
SCORE_FILES = DOCS / "how-to" / "score-files.md"
FOLLOW = DOCS / "how-to" / "follow-the-feed.md"
RECEIVE = DOCS / "how-to" / "receive-callbacks.md"
BEGIN = DOCS / "how-to" / "begin-with-a-file.md"
IMPORT = DOCS / "how-to" / "import-a-model.md"
EVALUATE = DOCS / "how-to" / "evaluate-a-model.md"
SWAP = DOCS / "how-to" / "swap-and-roll-back.md"
CONSOLE = DOCS / "how-to" / "use-the-console.md"
KEYS = DOCS / "how-to" / "keys.md"
CALL = DOCS / "how-to" / "call-the-api.md"
SIZE = DOCS / "how-to" / "size-an-installation.md"
REPLAY = DOCS / "how-to" / "replay-failed-transactions.md"
RESPOND = DOCS / "how-to" / "respond-to-alerts.md"
MONITOR = DOCS / "how-to" / "monitor.md"
BACK_UP = DOCS / "how-to" / "back-up-and-restore.md"

RUNNABLE = re.compile(r"^\s*(?:riskline|curl) ", re.MULTILINE)
ELSEWHERE = re.compile(r"\b(?:make|docker|git|pip) |\briskline (?:up|api|worker)\b")
MODEL_VERSION = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")

# curl, but with an exit status that says what the answer was
CURL = 'curl() { command curl --fail-with-body --max-time 30 "$@"; }\n'


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


def runnable_blocks(document: Path) -> list[str]:
    return [block for block in blocks(document, "sh") if RUNNABLE.search(block) and not ELSEWHERE.search(block)]


def run_block(block: str, *, directory: Path, environment: dict[str, str], port: int | None = None) -> str:
    """Runs a block as a reader would, with the real port and the newest model version in place of those it shows."""
    block = re.sub(r"\b(127\.0\.0\.1|localhost):8000\b", rf"\1:{port}", block)
    versions = Registry(Path(environment["RISKLINE_DATA"]) / "models").versions()
    if versions:
        block = MODEL_VERSION.sub(max(versions), block)
    command = ["bash", "-euo", "pipefail", "-c", CURL + block]
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, f"{block}\nexit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def table_rows(document: Path, first_cell: str) -> list[str]:
    return [line for line in document.read_text().splitlines() if re.match(rf"\| \[?`{first_cell}", line)]


def settings_rows() -> list[str]:
    properties = Settings.model_json_schema(by_alias=False)["properties"]
    rows = []
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else f"`{field.default}`"
        rows.append(f"| `{variable_name(name)}` | {default} | {_rule(properties[name])} | {field.description} |")
    return rows


def _rule(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "exclusiveMinimum" in schema:
        return f"> {schema['exclusiveMinimum']:g}"
    if "maximum" in schema:
        return f"{schema['minimum']}–{schema['maximum']}"  # noqa: RUF001  # as a reader expects a range
    return f"≥ {schema['minimum']}" if "minimum" in schema else ""


def call_rows() -> list[str]:
    paths = build_openapi(Transaction, version="0")["paths"]
    return [
        f"| `{method.upper()} {path}` | {operation['summary']} | {', '.join(_named(operation['responses']))} |"
        for path, item in paths.items()
        for method, operation in item.items()
    ]


def _named(responses: dict[str, Any]) -> list[str]:
    """The statuses of the operation's own answers, without those that any request may have."""
    return [status for status in responses if status != "default"]


def problem_rows() -> list[str]:
    return [
        f"| [`{TYPE_PREFIX}{name}`](problems.md#{name}) | {status} | {title} |"
        for name, (status, title, *_) in {**PROBLEMS, **REFUSALS}.items()
    ]


def key_rows() -> list[str]:
    return [line for line in str(keys.__doc__).splitlines() if line.startswith("| `riskline:")]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """This machine's, without its settings, with the command on the path and callbacks as the how-to sets them up."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RISKLINE_", "REDIS_URL"))}
    callbacks = {"RISKLINE_CALLBACK_SECRET": new_secret(), "RISKLINE_CALLBACK_ALLOW": "127.0.0.1/32"}
    return {**inherited, **callbacks, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"}


@pytest.fixture(scope="module")
def demo_models(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The model of a first start."""
    data = tmp_path_factory.mktemp("demo")
    made = riskline("demo-model", "--data", str(data), environment=environment)
    assert made.returncode == 0, made.stderr
    return data / "models"


def test_the_model_of_a_first_start_declines_the_request_that_it_prints_and_reviews_what_it_is_less_sure_of(
    demo_models: Path,
) -> None:
    model = Registry(demo_models).load_active(inputs_of(Transaction))

    decision = decide(Transaction.from_row(example_body(Transaction)), model, scored_at="", explain=True)

    assert decision.action is Action.DECLINE
    assert model.thresholds.review == DEMO_REVIEW_THRESHOLD < model.thresholds.decline


@pytest.fixture
def running(demo_models: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[RunningUp]:
    data = tmp_path / "data"
    shutil.copytree(demo_models, data / "models")
    with RunningUp(data, environment=environment) as up:
        yield up


@pytest.mark.timeout(1800)  # as below
@pytest.mark.parametrize(
    "document",
    [
        TUTORIAL,
        CALL,
        CONSOLE,
        FOLLOW,
        KEYS,
        SCORE_FILES,
        REPLAY,
        RECEIVE,
        BEGIN,
        IMPORT,
        EVALUATE,
        SWAP,
        SIZE,
        RESPOND,
        MONITOR,
        BACK_UP,
        ROOT / "README.md",
    ],
    ids=lambda path: path.name,
)
def test_every_command_of_the_document_runs_and_redis_holds_no_key_that_is_not_in_the_table(
    document: Path, running: RunningUp, environment: dict[str, str], tmp_path: Path
) -> None:
    directory = tmp_path / "reader"
    directory.mkdir()
    environment = {**environment, "RISKLINE_DATA": str(running.data)}
    found = runnable_blocks(document)
    assert found
    if document == TUTORIAL:
        commands = "".join(found)
        doors = ("/score-transaction", "/transactions ", "/transactions/", "Prefer: wait", "riskline score")
        steps = ("riskline data", "riskline train", "riskline evaluate", "riskline models activate")
        assert not [words for words in (*doors, *steps) if words not in commands]
    for block in found:
        run_block(block, directory=directory, environment=environment, port=running.state["port"])

    patterns = [re.escape(row.split("`")[1]) for row in key_rows()]
    known = [re.compile(re.sub("ID|WORKER|HOST|HASH|PRINT|XXX", ".+", each.replace("{S", "{0"))) for each in patterns]
    with Redis.from_url(running.state["redis_url"]) as redis:
        names = [name.decode() for name in redis.scan_iter()]
    strange = [name for name in names if not name.startswith("rq:") and not any(key.fullmatch(name) for key in known)]
    assert not strange


@pytest.mark.timeout(1800)  # a dozen commands, each with seconds of imports on a busy machine
def test_a_team_brings_its_own_transaction_as_the_how_to_says(environment: dict[str, str], tmp_path: Path) -> None:
    package = tmp_path / "acme"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "payments.py").write_text(blocks(HOW_TO, "python")[0])
    for example in (DOCS / "examples").glob("*.py"):
        shutil.copy(example, tmp_path)
    found = runnable_blocks(HOW_TO)
    before, after = ([block for block in found if ("curl" in block) == calls] for calls in (False, True))
    assert before
    assert after
    data = tmp_path / ".riskline-payments"
    own = {**environment, "RISKLINE_DATA": str(data)}
    run_block("".join(before), directory=tmp_path, environment=own)
    (tmp_path / "text_and_dates.py").write_text(blocks(HOW_TO, "python")[1])
    told = re.search(r"^The columns of its model are (.*?):", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    ask = "from text_and_dates import CardPayment; print(*CardPayment.feature_names())"
    columns = run_block(f'python -c "{ask}"', directory=tmp_path, environment={**own, "PYTHONPATH": str(tmp_path)})
    assert told is not None
    assert columns.split() == re.findall(r"`(\w+)`", told[1])
    (tmp_path / "test_payments.py").write_text(blocks(HOW_TO, "python")[2])
    run_block(
        "python -m pytest -q test_payments.py", directory=tmp_path, environment={**own, "PYTHONPATH": str(tmp_path)}
    )
    own |= {"RISKLINE_TRANSACTION": "acme.payments:Payment", "PYTHONPATH": str(tmp_path)}
    with RunningUp(data, environment=own) as up:
        for block in after:
            answer = run_block(block, directory=tmp_path, environment=own, port=up.state["port"])
            assert '"action":"DECLINE"' in answer


@pytest.mark.timeout(1800)  # as above
def test_a_class_with_history_is_trained_measured_and_scored_as_the_how_to_says(
    environment: dict[str, str], tmp_path: Path
) -> None:
    own = {**environment, "RISKLINE_DATA": str(tmp_path / "data")}

    told = run_block("".join(runnable_blocks(TRAIN_WITH_HISTORY)), directory=tmp_path, environment=own)

    assert "left out 20,036 rows from its first 30d, in which the windows of history fill" in told
    assert "its twin, which decides while the history is away:" in told
    assert re.search(r"To apply it: riskline models thresholds \S+ --decline \S+ --no-review --twin", told)
    assert (tmp_path / "decisions.ndjson").exists()


def test_the_callback_of_the_readme_arrives_and_is_verified_as_printed(
    demo_models: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    section = (ROOT / "README.md").read_text().partition("**Called back.**")[2].partition("In the queue,")[0]
    start, listen, submit = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (port,) = free_ports(1)
    plain = {name: value for name, value in environment.items() if not name.startswith("RISKLINE_CALLBACK")}
    plain["RISKLINE_DATA"] = str(tmp_path / "data")
    assert start.endswith("\nmake run\n")
    told = run_block(start.replace("make run", "env -0"), directory=tmp_path, environment=plain)
    started = dict(each.split("=", 1) for each in told.split("\0") if each.startswith("RISKLINE_"))
    shutil.copytree(demo_models, tmp_path / "data" / "models")

    log = tmp_path / "log"
    with RunningUp(tmp_path / "data", environment={**plain, **started}) as up, log.open("wb") as sink:
        listening = listen.replace(".venv", "exec .venv").replace("listen\n", f"listen --port {port}\n")
        command = ["bash", "-c", listening]
        listener = subprocess.Popen(command, cwd=tmp_path, env=plain, stdout=sink, stderr=sink)
        try:
            eventually(lambda: b"listening for callbacks" in log.read_bytes())
            block = submit.replace("8765", str(port))
            run_block(block, directory=tmp_path, environment=plain, port=up.state["port"])
            eventually(lambda: re.search(rb"TXN-3  DECLINE  msg_\S+  verified by", log.read_bytes()))
        finally:
            listener.kill()
            listener.wait()


@pytest.mark.parametrize(
    ("document", "first_cell", "expected"),
    [
        ("settings.md", r"[A-Z_]+`", settings_rows()),
        ("redis.md", "riskline:", key_rows()),
        ("http.md", "(?:GET|POST|DELETE) /", call_rows()),
        ("http.md", TYPE_PREFIX, problem_rows()),
    ],
    ids=["settings", "redis", "calls", "problems"],
)
def test_the_table_is_that_of_the_code(document: str, first_cell: str, expected: list[str]) -> None:
    assert table_rows(DOCS / "reference" / document, first_cell) == expected


class Nothing:
    """A look that has seen nothing yet."""

    counts = decided = measured = busy_seconds = None


def test_every_metric_is_in_the_table_and_no_other() -> None:
    kept = ExportedMetrics(Nothing(), Nothing(), Nothing())
    lines = metrics.exposition().decode().splitlines()
    made = {line.split()[2].removesuffix("_total") for line in lines if "# HELP riskline_" in line}
    made |= {each.name for each in kept.describe()}
    text = (DOCS / "reference" / "http.md").read_text()
    told = {name.removesuffix("_total") for name in re.findall(r"`(riskline_\w+)`", text)}

    assert told == made


def test_every_file_and_folder_that_architecture_names_is_there() -> None:
    text = (DOCS / "explanation" / "architecture.md").read_text()
    named = re.findall(r"`((?:shared|ingest|worker|cli|client|tests|docs|deploy|requirements|tools)/[\w./-]*)`", text)

    assert len(named) > 30
    assert not [path for path in named if not (ROOT / path.replace("NAME.lua", "accept.lua")).exists()]


def test_every_link_leads_to_a_file() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
    dead = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in LINK.findall(document.read_text())
        if not (document.parent / target).exists()
    ]
    assert not dead
