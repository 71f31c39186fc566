"""A model file of a tutorial's old scikit-learn: refused with the commands that open it, and those are right."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest

from riskline.shared.domain.inputs import Inputs
from riskline.shared.domain.transaction import Transaction
from riskline.shared.model.registry import Registry
from riskline.worker.training.data.rows import Refusals
from riskline.worker.training.imports.reference import Reference
from tests.integration.running import PATIENCE_SECONDS, RunningUp, riskline
from tests.support.foreign_models import imported

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

OLD = "scikit-learn==1.4.2"
FEATURES = Transaction.feature_names()
INPUTS = Inputs(FEATURES)

TRAIN = """
import sys
import joblib
import numpy as np
from sklearn.ensemble import RandomForestClassifier
rows = np.load(sys.argv[1])
forest = RandomForestClassifier(n_estimators=100, max_depth=10, random_state=0).fit(rows[:, :-1], rows[:, -1])
joblib.dump(forest, sys.argv[2])
np.save(sys.argv[3], forest.set_params(n_jobs=None).predict_proba(rows[:, :-1])[:, 1])
"""


@pytest.fixture(scope="module")
def environment(large_directory: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RISKLINE_", "REDIS_URL"))}
    return {**inherited, "PIP_CACHE_DIR": str(large_directory / "pip"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@pytest.fixture(scope="module")
def home(large_directory: Path, environment: dict[str, str]) -> Path:
    """A directory with the team's file, and what its own scikit-learn says of the reference."""
    directory = large_directory / "old"
    directory.mkdir()
    if sys.version_info >= (3, 13):
        pytest.skip("scikit-learn 1.4 has no wheels for this Python")
    trainer = directory / "trainer" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(directory / "trainer")], check=True)
    got = subprocess.run(
        [str(trainer), "-m", "pip", "install", "--quiet", OLD, "numpy<2"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if got.returncode:
        pytest.skip(f"{OLD} cannot be installed here: {(got.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    made = riskline("data", str(directory / "sample.csv"), "--rows", "3000", environment=environment)
    assert made.returncode == 0, made.stderr
    frame = pl.read_csv(directory / "sample.csv").select(*FEATURES, "is_fraud")
    np.save(directory / "rows.npy", frame.to_numpy().astype(np.float64))
    (directory / "train.py").write_text(TRAIN)
    files = [str(directory / name) for name in ("rows.npy", "fraud_model.joblib", "expected.npy")]
    subprocess.run([str(trainer), str(directory / "train.py"), *files], check=True, capture_output=True)
    return directory


def imports(home: Path, environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-m",
        "riskline.cli",
        "models",
        "import",
        "fraud_model.joblib",
        "--reference",
        "sample.csv",
    ]
    options = ["--features", ",".join(FEATURES), "--data", str(home / "data"), "--json", *words]
    # where the package is from, since this starts in another directory
    inherited = {**environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*command, *options],
        cwd=home,
        env=inherited,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def refusal(home: Path, environment: dict[str, str]) -> str:
    done = imports(home, environment)
    assert done.returncode == 1
    return done.stderr


@pytest.fixture(scope="module")
def told(home: Path, environment: dict[str, str], refusal: str) -> Iterator[list[str]]:
    """The words to add to the command, after the commands of the refusal were run as they stand there."""
    found = re.search(r"Run `(.+?)`, then this command again with (--python \S+);", refusal)
    assert found is not None, refusal
    command, words = found.groups()
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"{command.split()[0]}, which the refusal names, is not on the PATH")
    run = ["bash", "-euo", "pipefail", "-c", command]
    subprocess.run(run, cwd=home, env=environment, check=True, capture_output=True, timeout=900)
    yield words.split()
    shutil.rmtree(home / "old")


def test_a_file_of_an_old_scikit_learn_is_refused_in_one_line_with_the_commands_that_open_it(refusal: str) -> None:
    (line,) = refusal.splitlines()

    assert line.startswith("riskline: fraud_model.joblib was written by scikit-learn 1.4.2, and this Python has")
    assert "it was not opened" in line


def test_those_commands_import_it_bit_for_bit_and_it_serves(
    home: Path, environment: dict[str, str], told: list[str]
) -> None:
    done = imports(home, environment, *told, "--activate")

    assert done.returncode == 0, done.stderr
    shown = orjson.loads(done.stdout)
    assert (shown["estimator"], shown["max_difference"], shown["active"]) == ("RandomForestClassifier", 0, True)
    rows, expected = np.load(home / "rows.npy")[:, :-1], np.load(home / "expected.npy")
    serving = Registry(home / "data" / "models").load_active(INPUTS)
    assert serving.manifest.libraries["scikit-learn"].startswith("1.4.")
    assert np.array_equal(serving.score(rows), expected)
    riskiest = int(np.argmax(expected))
    transaction = Transaction.from_row(
        pl.read_csv(home / "sample.csv").select("transaction_id", *FEATURES).row(riskiest, named=True)
    )
    with RunningUp(home / "data", environment=environment) as up:
        status, decision = up.request("POST", "/score-transaction", transaction.to_json())
    assert (status, decision["model_version"]) == (200, shown["model_version"])
    assert decision["fraud_probability"] == round(float(expected[riskiest]), 4)


RELEASES = {
    "0.23": ("3.8", "numpy<1.24"),
    "0.24": ("3.9", "numpy<2"),
    "1.0": ("3.9", "numpy<2"),
    "1.2": ("3.11", "numpy<2"),
    "1.3": ("3.11", "numpy<2"),
    "1.5": ("3.12", "numpy"),
}
"""Releases on both sides of each change of what a file holds, and a Python with wheels of each."""

TRAIN_ALL = """
import sys
from pathlib import Path
import joblib
import numpy as np
try:
    from sklearn.experimental import enable_hist_gradient_boosting
except ImportError:
    pass
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier, GradientBoostingClassifier, HistGradientBoostingClassifier, IsolationForest,
    RandomForestClassifier)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
rows = np.load(sys.argv[1])
rows, labels = rows[:, :-1], rows[:, -1].astype(int)
def forest():
    return RandomForestClassifier(n_estimators=20, max_depth=8, random_state=0, class_weight="balanced")
def calibrated(model, method):
    return CalibratedClassifierCV(model.fit(rows[::2], labels[::2]), method=method, cv="prefit")
models = {
    "forest": forest(), "extra": ExtraTreesClassifier(n_estimators=20, max_depth=8, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
    "histogram": HistGradientBoostingClassifier(max_iter=20, random_state=0),
    "isolation": IsolationForest(n_estimators=20, random_state=0),
    "standard": make_pipeline(StandardScaler(), forest()), "minmax": make_pipeline(MinMaxScaler(), forest()),
    "sigmoid": calibrated(forest(), "sigmoid"), "isotonic": calibrated(forest(), "isotonic"),
    "sigmoid-boosting": calibrated(GradientBoostingClassifier(n_estimators=20, random_state=0), "sigmoid"),
}
for name, model in models.items():
    joblib.dump(model.fit(rows, labels), Path(sys.argv[2]) / (name + ".joblib"))
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Simulated rows as a file, and beside it as an array."""
    file = tmp_path_factory.mktemp("sample") / "sample.csv"
    made = riskline("data", str(file), "--rows", "3000", environment=environment)
    assert made.returncode == 0, made.stderr
    np.save(file.with_suffix(".npy"), pl.read_csv(file).select(*FEATURES, "is_fraud").to_numpy().astype(np.float64))
    return file


@pytest.mark.parametrize("release", RELEASES)
def test_every_kind_of_model_of_an_old_release_scores_as_that_release_does(
    release: str, sample: Path, environment: dict[str, str], tmp_path: Path, large_directory: Path
) -> None:
    version, numpy = RELEASES[release]
    python = python_of(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    trainer = str(large_directory / release / "bin" / "python")
    subprocess.run([python, "-m", "venv", str(large_directory / release)], check=True)
    wanted = [f"scikit-learn=={release}.*", numpy]
    install = [trainer, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *wanted]
    if subprocess.run(install, env=environment, capture_output=True, check=False).returncode:
        pytest.skip(f"scikit-learn {release} cannot be installed here")
    (tmp_path / "train.py").write_text(TRAIN_ALL)
    train = [trainer, str(tmp_path / "train.py"), str(sample.with_suffix(".npy")), str(tmp_path)]
    subprocess.run(train, check=True, capture_output=True)

    rows = np.load(sample.with_suffix(".npy"))
    reference = Reference(rows[:, :-1], rows[:, -1].astype(np.int8), Refusals())
    differences = {
        file.stem: imported(file, rows=reference, python=trainer).training["max_difference"]
        for file in sorted(tmp_path.glob("*.joblib"))
    }
    assert len(differences) == 10
    assert differences.pop("isolation") <= 1e-12
    assert set(differences.values()) == {0}


def python_of(version: str) -> str | None:
    """A Python of this version: of pyenv, which has several side by side, or on the PATH."""
    versions = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    return str(versions[-1]) if versions else shutil.which(f"python{version}")
