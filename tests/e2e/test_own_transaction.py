"""A team's transaction of 25 fields, with text, a date and derived features, from its file to every door."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import orjson
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier

from tests.integration.running import PATIENCE_SECONDS, RunningUp, eventually, riskline

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
ROWS = 2_000
DERIVED = ("hour", "is_weekend", "is_abroad", "amount_to_average", "speed_kmh")
SAME = ("fraud_probability", "action", "model_version", "reasons")


class Team(NamedTuple):
    """A team's installation: its data directory with a model and the sample, which is here as JSON has it, too."""

    data: Path
    environment: dict[str, str]
    bodies: list[dict[str, Any]]

    def run(self, *words: object, code: int = 0) -> str:
        """What a command says: its output, or why it failed."""
        done = riskline(*map(str, words), "--data", str(self.data), environment=self.environment)
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    data = tmp_path_factory.mktemp("acquiring")
    sample = data / "payments.csv"
    subprocess.run(
        [sys.executable, EXAMPLES / "acquiring_sample.py", sample, str(ROWS)], check=True, timeout=PATIENCE_SECONDS
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RISKLINE_", "REDIS_URL"))}
    own = {"RISKLINE_TRANSACTION": "acquiring:CardPayment", "PYTHONPATH": f"{ROOT}{os.pathsep}{EXAMPLES}"}
    flags = [pl.col(name).cast(pl.Boolean) for name in ("is_authenticated", "is_cvc_right")]
    team = Team(data, {**inherited, **own}, pl.read_csv(sample).drop("is_fraud").with_columns(flags).to_dicts())
    team.run("train", sample)
    return team


@pytest.fixture(scope="module")
def up(team: Team) -> Iterator[RunningUp]:
    with RunningUp(team.data, environment=team.environment) as running:
        yield running


def test_the_model_has_a_column_for_each_number_category_and_derived_feature(team: Team) -> None:
    (manifest,) = (team.data / "models").glob("*/manifest.json")

    features = orjson.loads(manifest.read_bytes())["features"]

    assert len(features) == 35
    assert tuple(features[-5:]) == DERIVED
    assert "timestamp" not in features
    assert {"channel", "entry_mode_chip", "scheme_amex", "issuer_country"} <= set(features)


def test_every_door_and_every_kind_of_file_gives_the_same_decision(team: Team, up: RunningUp, tmp_path: Path) -> None:
    sent = team.bodies[-60:]
    csv = tmp_path / "rows.csv"
    pl.read_csv(team.data / "payments.csv", infer_schema=False).tail(60).write_csv(csv)
    ndjson, parquet = tmp_path / "rows.ndjson", tmp_path / "rows.parquet"
    ndjson.write_bytes(b"\n".join(map(orjson.dumps, sent)))
    pl.DataFrame(sent).with_columns(pl.col("timestamp").str.to_datetime(time_zone="UTC")).write_parquet(parquet)

    told = []
    for body in sent:
        status, at_once = up.request("POST", "/score-transaction?explain=true", orjson.dumps(body))
        assert status == 200, at_once
        queued = {**body, "transaction_id": f"Q-{body['transaction_id']}"}
        assert up.request("POST", "/transactions?explain=true", orjson.dumps(queued))[0] == 202
        path = f"/transactions/{queued['transaction_id']}?wait=10"
        decision = eventually(lambda path=path: up.request("GET", path)[1]["decision"])
        told.append((at_once, decision))
    files = [
        list(map(orjson.loads, team.run("score", file, "--explain").splitlines())) for file in (csv, ndjson, parquet)
    ]

    for at_once, queued, *rows in zip(*zip(*told, strict=True), *files, strict=True):
        expected = [at_once[name] for name in SAME]
        assert [[each[name] for name in SAME] for each in (queued, *rows)] == [expected] * 4
    actions = {at_once["action"] for at_once, _ in told}
    reasons = {reason["feature"]: reason["value"] for reason in told[0][0]["reasons"]}
    assert actions == {"APPROVE", "DECLINE"}
    assert reasons["channel"] == sent[0]["channel"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"channel": "fax"}, "/channel"),
        ({"entry_mode": "magic"}, "/entry_mode"),
        ({"timestamp": "2026-11-24T03:15:07"}, "/timestamp"),
        ({"km_since_last": 1e308, "minutes_since_last": 0.5}, "/speed_kmh"),
        ({"purchases_24h": 2**70}, "/purchases_24h"),
    ],
)
def test_what_cannot_be_a_row_of_numbers_is_a_422_and_a_bad_row(
    team: Team, up: RunningUp, tmp_path: Path, changes: dict[str, Any], pointer: str
) -> None:
    body = {**team.bodies[0], **changes}
    text = orjson.dumps({**body, "purchases_24h": 0}).replace(
        b'"purchases_24h":0', b'"purchases_24h":%d' % body["purchases_24h"]
    )
    (tmp_path / "rows.ndjson").write_bytes(text)

    answers = [up.request("POST", path, text) for path in ("/score-transaction", "/transactions")]
    refused = team.run("score", tmp_path / "rows.ndjson", code=1)

    for status, problem in answers:
        assert status == 422
        assert [each["pointer"] for each in problem["errors"]] == [pointer]
    assert f"row 1: {pointer[1:]}: " in refused


def test_a_model_that_was_trained_elsewhere_on_these_columns_scores_as_there(team: Team, tmp_path: Path) -> None:
    sample = team.data / "payments.csv"
    raw = pl.read_csv(sample)
    columns = columns_by_polars(raw)
    forest = RandomForestClassifier(20, max_depth=8, random_state=0).fit(columns, raw["is_fraud"].to_numpy())
    joblib.dump(forest, tmp_path / "forest.joblib")

    imported = team.run("models", "import", tmp_path / "forest.joblib", "--reference", sample)
    decided = team.run("score", sample, "--model", imported.strip())

    probabilities = [orjson.loads(line)["fraud_probability"] for line in decided.splitlines()]
    assert probabilities == pytest.approx(forest.predict_proba(columns)[:, 1], abs=0.5e-4 + 1e-9)


def columns_by_polars(raw: pl.DataFrame) -> pl.DataFrame:
    """What a notebook makes of the sample: the same columns, in an order of its own."""
    countries = {name: code for code, name in enumerate(["DE", "FR", "NL", "GB", "US", "BR"])}
    at = pl.col("timestamp").str.to_datetime(time_zone="UTC")
    coded = raw.with_columns(
        pl.col("currency").replace_strict({"EUR": 0, "GBP": 1, "USD": 2}, default=3),
        pl.col("channel").replace_strict({"pos": 0, "web": 1, "app": 2, "moto": 3}),
        pl.col("issuer_country", "merchant_country").replace_strict(countries, default=6),
        hour=at.dt.hour(),
        is_weekend=(at.dt.weekday() >= 6).cast(pl.Int8),
        is_abroad=(pl.col("issuer_country") != pl.col("merchant_country")).cast(pl.Int8),
        amount_to_average=pl.col("amount") / pl.max_horizontal("average_amount", pl.lit(1.0)),
        speed_kmh=pl.col("km_since_last") / pl.max_horizontal("minutes_since_last", pl.lit(1.0)) * 60,
    )
    one_hot = coded.to_dummies(["entry_mode", "scheme"])
    return one_hot.drop("transaction_id", "timestamp", "is_fraud", "scheme_jcb")


def test_openapi_names_the_categories(up: RunningUp) -> None:
    _, document = up.request("GET", "/openapi.json")

    properties = document["components"]["schemas"]["CardPayment"]["properties"]
    assert properties["channel"]["enum"] == ["pos", "web", "app", "moto"]
    assert properties["timestamp"]["format"] == "date-time"
    assert len(properties) == 26
    assert not set(DERIVED) & properties.keys()


def test_the_call_that_up_shows_is_one_that_works(up: RunningUp) -> None:
    call = next(line for line in up.lines if "curl" in line)

    body = call[call.index("{") : call.rindex("}") + 1]

    status, decision = up.request("POST", "/score-transaction", body.encode())
    assert (status, decision["action"]) == (200, "DECLINE")
