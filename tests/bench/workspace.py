"""What the benchmark needs on disk, made once below `.riskline/bench`: environments, rows, the forest, the model."""

import fcntl
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from riskline.shared.domain.transaction import Transaction
from tests.bench.environments import make_environment, run
from tests.bench.processes import BenchError

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements/bench.txt"
LABEL = "is_fraud"
SIMULATED_ROWS = 60_000
MOST_REQUEST_ROWS = 20_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Workspace:
    """The directory, where the inputs come from, and how long and how often is measured."""

    directory: Path
    guide: Path
    data: Path
    rounds: int
    seconds: float
    quick: bool
    say: Say

    def scaled(self, count: int) -> int:
        """A count of transactions: a twentieth of it in a quick run."""
        return count // 20 if self.quick else count

    @property
    def python(self) -> Path:
        """The Python of the peers' environment."""
        return self.directory / "peers/bin/python"

    @property
    def models(self) -> Path:
        """Our bundle."""
        return self.directory / "data/models"

    @property
    def forest(self) -> Path:
        """The peers' forest."""
        return self.directory / "forest.joblib"

    @property
    def rows(self) -> Path:
        """The requests: rows that no model was trained on."""
        return self.directory / "rows.ndjson"

    @property
    def guide_directory(self) -> Path | None:
        """Where the guide's app can be started; None where the guide is not here."""
        return self.directory / "guide" if (self.guide / "app.py").is_file() else None

    @cached_property
    def run_directory(self) -> Path:
        """For logs and what the servers write; emptied at the start."""
        directory = self.directory / "run"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return directory

    @property
    def peer_environment(self) -> dict[str, str]:
        """What the peers' processes find in their environment."""
        return {
            "PYTHONPATH": str(ROOT),
            "BENCH_FOREST": str(self.forest),
            "BENCH_MODELS": str(self.models),
            "BENCH_ROWS": str(self.rows),
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(self.directory / "bentoml"),
        }

    def lock(self) -> None:
        """Makes the directory this process's, for as long as it lives.

        Raises:
            BenchError: another benchmark runs: both would measure each other.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        # inherited by nobody and closed by the end of the process only
        lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(f"another benchmark runs in {self.directory}: wait for its end") from None

    def prepare_environment(self) -> None:
        """The peers' environment, which also draws the charts."""
        make_environment(self.directory / "peers", LOCK, "--require-hashes", say=self.say)

    def prepare(self) -> None:
        """Makes the rest of what is not there yet.

        Raises:
            BenchError: something cannot be made; says why.
        """
        training = self._split_rows()
        trainer = ROOT / "tests/bench/train_forest.py"
        if is_older(self.forest, training):
            self.say("training the peers' forest")
            run([self.python, trainer, training, self.forest])
        if self.guide_directory is None:
            self.say(f"no guide at {self.guide}: its own app is left out")
            return
        make_environment(self.guide_directory / "env", self.guide / "requirements.txt", say=self.say)
        shutil.copy(self.guide / "app.py", self.guide_directory / "app.py")
        forest = self.guide_directory / "fraud_model.joblib"
        if is_older(forest, training):
            self.say("training the guide's forest with the versions it pins")
            run([self.guide_directory / "env/bin/python", trainer, training, forest])

    def _split_rows(self) -> Path:
        """Training rows for the peers, a model of ours from the same, and the last month as requests."""
        training = self.directory / "training.csv"
        source = self._labelled_file()
        names = list(Transaction.feature_names())
        if is_older(training, source):
            self.say("training our model")
            frame = pl.read_csv(source).filter(pl.all_horizontal(_valid(name) for name in names))
            first_test_day = str(frame["timestamp"].max())[:8] + "01"
            frame.write_parquet(self.directory / "labelled.parquet")
            shutil.rmtree(self.models, ignore_errors=True)
            words = ["train", self.directory / "labelled.parquet", "--test-from", first_test_day]
            run([sys.executable, "-m", "riskline.cli", *words, "--data", self.directory / "data"])
            tested = pl.col("timestamp") >= first_test_day
            frame.filter(tested).select(Transaction.ID_FIELD, *names).head(MOST_REQUEST_ROWS).write_ndjson(self.rows)
            # the last, so that an interrupted run begins anew
            frame.filter(~tested).select(*names, LABEL).write_csv(training, include_header=False)
        return training

    def _labelled_file(self) -> Path:
        if self.data.is_file():
            return self.data
        simulated = self.directory / "simulated.csv.gz"
        if not simulated.exists():
            self.say(f"no {self.data}: simulating transactions")
            run([sys.executable, "-m", "riskline.cli", "data", simulated, "--rows", str(SIMULATED_ROWS)])
        return simulated


def is_older(made: Path, source: Path) -> bool:
    """Whether something must be made, again if its source has changed."""
    return not made.exists() or made.stat().st_mtime < source.stat().st_mtime


def _valid(name: str) -> pl.Expr:
    """Whether a cell keeps the field's bounds: a real file has rows that do not."""
    bounds = pl.lit(value=True)
    for bound in Transaction.model_fields[name].metadata:
        if hasattr(bound, "ge"):
            bounds &= pl.col(name) >= bound.ge
        if hasattr(bound, "gt"):
            bounds &= pl.col(name) > bound.gt
    return bounds
