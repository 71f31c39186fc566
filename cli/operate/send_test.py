"""`riskline callbacks test`: a signed event that is sent now."""

import asyncio
import json

import typer

from riskline.cli.installation import installation_settings
from riskline.cli.operate.api_keys import configured_secrets
from riskline.cli.operate.callbacks import attempt_line
from riskline.cli.options import DataOption, JsonOption
from riskline.worker.delivery.attempt import send_test_event


def try_receiver(url: str, *, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Send a signed event to a URL now, by the rules for all callbacks; exit 1 where it is not received."""
    settings = installation_settings(data=data)
    configured_secrets()
    attempt = asyncio.run(send_test_event(url, settings))
    received = attempt["error"] is None and str(attempt["status"]).startswith("2")
    if as_json:
        typer.echo(json.dumps({"received": received, **attempt}))
    else:
        typer.echo(f"{'received' if received else 'not received'}: {attempt_line(attempt)}")
    if not received:
        raise typer.Exit(1)
