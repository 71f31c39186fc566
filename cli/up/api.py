"""`riskline api`."""

from riskline.cli.installation import installation_settings
from riskline.cli.options import DataOption, HostOption, PortOption, ProcessesOption
from riskline.cli.up.api_probe import free_port
from riskline.ingest.main import run


def api(
    *, port: PortOption = None, host: HostOption = None, processes: ProcessesOption = None, data: DataOption = None
) -> None:
    """Serve HTTP in this terminal, with the Redis of REDIS_URL or of the `riskline up` on the same data."""
    settings = installation_settings(port=port, host=host, processes=processes, data=data)
    # the server would say so, too, but in its own words
    free_port(settings.host, settings.port)
    run(settings)
