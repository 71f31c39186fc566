"""`riskline openapi`: the API's OpenAPI document, without a server."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import orjson
import typer

from riskline.ingest.openapi.document import build_openapi
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.errors import InstallationError
from riskline.shared.settings import load_settings

OutOption = Annotated[
    Path | None, typer.Option("--out", help="Write to this file instead of standard output.", dir_okay=False)
]


def openapi(out: OutOption = None) -> None:
    """Print the OpenAPI 3.1 document of the API."""
    transaction_class = load_transaction_class(load_settings().transaction)
    document = build_openapi(transaction_class, version=version("riskline"))
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
    if out is None:
        typer.echo(text)
        return
    try:
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InstallationError(f"{out} cannot be written ({error.strerror}): name another file") from error
