"""The demo of a first start: a model of simulated transactions, and a request to try."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import typer

import riskline
from riskline.cli.installation import installation_settings
from riskline.cli.options import DataOption
from riskline.cli.up.supervisor import TETHER
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.features import first_example
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.transaction import Transaction, TransactionModel
from riskline.shared.errors import InstallationError
from riskline.shared.model.registry import Registry
from riskline.shared.settings import Settings
from riskline.shared.wording import install_command

DEMO_REVIEW_THRESHOLD = 0.5
"""More likely fraud than not, and not sure enough to decline: the demo shows all three actions."""

TRAINING_PACKAGES = ("sklearn", "joblib", "matplotlib", "polars")


def cli_command(*words: str) -> list[str]:
    """The command line of another `riskline` process; never takes modules from the current directory."""
    return [sys.executable, "-P", "-m", "riskline.cli", *words]


def cli_environment(settings: Settings) -> dict[str, str]:
    """The environment in which it has these settings and finds the code that runs here."""
    root = str(Path(riskline.__file__).parent.parent)
    search_path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, **settings.environment(), "PYTHONPATH": search_path}


def ensure_model(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Makes and activates a model from simulated transactions where the installation has none at all.

    Raises:
        InstallationError: packages for training are missing, or it failed.
    """
    if settings.model_version is not None or Registry(settings.models_dir).versions():
        return
    if load_transaction_class(settings.transaction) is not Transaction:
        raise InstallationError(
            f"no model in {settings.models_dir}, and the demo model knows the built-in transaction only: "
            "make one for yours by `riskline train FILE`"
        )
    missing = [name for name in TRAINING_PACKAGES if find_spec(name) is None]
    if missing:
        raise InstallationError(
            f"no model in {settings.models_dir}, and none can be trained here without {', '.join(missing)}: "
            f"{install_command('train,files')}, or copy a bundle there and `riskline models activate` it"
        )
    say(f"no model in {settings.models_dir}: making one from simulated transactions, once")
    environment = cli_environment(settings)
    with tempfile.TemporaryDirectory(prefix="riskline-demo-") as directory:
        sample = str(Path(directory) / "transactions.csv.gz")
        for words in (("data", sample), ("train", sample, "--review-threshold", str(DEMO_REVIEW_THRESHOLD))):
            _run_to_its_end(words, environment)


def require_model(settings: Settings, transaction_class: type[TransactionModel]) -> None:
    """Loads the model that would serve, so that a damaged one is named once, before anything runs.

    Raises:
        BundleError: none is active, or it cannot serve.
    """
    Registry(settings.models_dir, pinned_version=settings.model_version).load_active(inputs_of(transaction_class))


def _run_to_its_end(words: tuple[str, ...], environment: dict[str, str]) -> None:
    tether = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), "15"]
    status = subprocess.run([*tether, *cli_command(*words)], env=environment, check=False).returncode
    if status != 0:
        raise InstallationError(f"`riskline {words[0]}` failed (exit code {status}); its own message stands above")


def example_body(transaction_class: type[TransactionModel]) -> dict[str, object]:
    """A transaction made of the examples of its fields."""
    fields = transaction_class.model_fields
    examples = {name: first_example(field) for name, field in fields.items()}
    return {name: 1 if example is None else example for name, example in examples.items()}


def example_call(base_url: str, transaction_class: type[TransactionModel], *, with_key: bool = False) -> str:
    """A request to paste into a shell."""
    key = ' -H "Authorization: Bearer $RISKLINE_KEY"' if with_key else ""
    body = shlex.quote(json.dumps(example_body(transaction_class)))
    return (
        f"curl -sw '\\n' '{base_url}/score-transaction?explain=true' -H 'Content-Type: application/json'{key} -d {body}"
    )


def demo_model(*, data: DataOption = None) -> None:
    """Make a model from simulated transactions where there is none; for a container that prepares a volume."""
    ensure_model(installation_settings(data=data), say=lambda message: typer.echo(f"riskline: {message}", err=True))
