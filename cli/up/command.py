"""`riskline up`."""

from typing import Annotated

import typer

from riskline.cli.options import DataOption, HostOption, PortOption, ProcessesOption
from riskline.cli.up.startup import pin_bundle, run_up
from riskline.shared.settings import load_settings


def up(
    *,
    port: PortOption = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Scoring workers.")] = 1,
    processes: ProcessesOption = None,
    data: DataOption = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Serve this version, or this bundle's directory, and no other.")
    ] = None,
    host: HostOption = None,
) -> None:
    """Run everything in this terminal: Redis (unless REDIS_URL names one), the API and the workers."""
    overrides = {"port": port, "processes": processes, "data": data, "host": host, **pin_bundle(model)}
    run_up(load_settings(**overrides), workers=workers)
