"""`riskline up`, `api` and `worker`: what serves."""

from enum import StrEnum
from typing import Annotated

import typer

from riskline.cli.installation import DataOption, installation_settings

PortOption = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="The API's port; 0 picks a free one (RISKLINE_PORT, default 8000)."),
]
HostOption = Annotated[
    str | None, typer.Option("--host", help="The address it listens on (RISKLINE_HOST, default 127.0.0.1).")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option("--processes", min=1, help="API processes that share the port (RISKLINE_PROCESSES, default 1)."),
]


class QueueName(StrEnum):
    """A queue that a worker can serve."""

    SCORING = "scoring"
    CALLBACKS = "callbacks"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("up")(up)
    app.command("api")(api)
    app.command("worker")(worker)
    app.command("demo-model", hidden=True)(demo_model)


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
    from riskline.cli.up.up import pin_bundle, run_up  # noqa: PLC0415  # imports redis; `riskline --help` shall not wait for it
    from riskline.shared.settings import load_settings  # noqa: PLC0415  # same

    overrides = {"port": port, "processes": processes, "data": data, "host": host, **pin_bundle(model)}
    run_up(load_settings(**overrides), workers=workers)


def api(
    *, port: PortOption = None, host: HostOption = None, processes: ProcessesOption = None, data: DataOption = None
) -> None:
    """Serve HTTP in this terminal, with the Redis of REDIS_URL or of the `riskline up` on the same data."""
    from riskline.cli.up.up import free_port  # noqa: PLC0415  # imports redis; `riskline --help` shall not wait for it
    from riskline.ingest.main import run  # noqa: PLC0415  # imports the server, same

    settings = installation_settings(port=port, host=host, processes=processes, data=data)
    # the server would say so, too, but in its own words
    free_port(settings.host, settings.port)
    run(settings)


def worker(
    *,
    queue: Annotated[QueueName, typer.Option("--queue", help="What it works on.")] = QueueName.SCORING,
    data: DataOption = None,
) -> None:
    """Decide queued transactions, or deliver callbacks, in this terminal, with the same Redis as the API."""
    from riskline.worker.main import run  # noqa: PLC0415  # imports RQ; `riskline --help` shall not wait for it

    run(installation_settings(data=data), queue=queue.value)


def demo_model(*, data: DataOption = None) -> None:
    """Make a model from simulated transactions where there is none; for a container that prepares a volume."""
    from riskline.cli.up.demo import ensure_model  # noqa: PLC0415  # imports numpy; `riskline --help` shall not wait for it

    ensure_model(installation_settings(data=data), say=lambda message: typer.echo(f"riskline: {message}", err=True))
