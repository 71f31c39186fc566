"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="The installation's directory (RISKLINE_DATA, default .riskline).", show_default=False),
]

JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]

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

KeyOption = Annotated[
    str | None, typer.Option("--key", help="The name of the model, where the file is a dict; its place in a list.")
]
FraudClassOption = Annotated[
    str | None,
    typer.Option("--fraud-class", help="The label that is fraud, where labels are not 0 and 1: yes, 2, ...."),
]
