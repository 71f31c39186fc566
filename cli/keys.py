"""`riskline keys`: makes the secrets that Riskline shares with others, and reads those that are set."""

import json
from typing import Annotated

import typer

from shared.errors import SettingsError
from shared.settings import load_settings
from shared.webhooks import HOW_TO_GET_ONE, new_secret

WHAT_TO_DO = (
    "set it as RISKLINE_CALLBACK_SECRET for the API and the workers, and give it to whoever receives callbacks; "
    "to replace one, put the new one first and keep the old one behind a comma until every receiver has the new one"
)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Keys and secrets.", no_args_is_help=True)
    group.command("new")(new)
    app.add_typer(group, name="keys")


def new(
    *,
    webhook: Annotated[bool, typer.Option("--webhook", help="A secret that signs callbacks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Make a secret; it is printed once and kept nowhere."""
    if not webhook:
        raise typer.BadParameter("say what it is for: there is only --webhook", param_hint="--webhook")
    secret = new_secret()
    if as_json:
        typer.echo(json.dumps({"secret": secret}))
        return
    typer.echo(secret)
    typer.echo(WHAT_TO_DO, err=True)


def configured_secrets() -> tuple[str, ...]:
    """The secrets that sign callbacks, by the settings.

    Raises:
        SettingsError: there is none, or one that cannot be used.
    """
    secrets = load_settings().callback_secrets
    if not secrets:
        raise SettingsError(
            f"RISKLINE_CALLBACK_SECRET is not set: give it the secret that the workers sign with; {HOW_TO_GET_ONE}"
        )
    return secrets
