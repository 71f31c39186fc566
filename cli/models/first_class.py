"""`riskline class`: a first transaction class from a file."""

from pathlib import Path
from typing import Annotated

import typer

from riskline.cli.options import KeyOption
from riskline.cli.terminal import stderr
from riskline.worker.training.data.dataset import ENDINGS
from riskline.worker.training.data.first_class import Written, from_names, from_rows


def first_class(
    *,
    file: Annotated[
        Path,
        typer.Argument(help="Rows (.csv, .csv.gz, .ndjson, .parquet), or a model file that names its columns."),
    ],
    label: Annotated[
        str | None, typer.Option("--label", help="The column that says what is fraud (default: is_fraud, if any).")
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option(
            "--id-column", help="The column of ids (default: transaction_id, if any; else rows are numbered)."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The name of the class.")] = "Payment",
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="Open a model file only if it has this sha256.")
    ] = None,
    key: KeyOption = None,
    python: Annotated[
        str | None, typer.Option("--python", help="A Python with the libraries that wrote a model file.")
    ] = None,
) -> None:
    """Write a first transaction class from a file's columns, or from a model's, ready to edit."""
    if not name.isidentifier():
        raise typer.BadParameter("must be a name that a class can have", param_hint="--name")
    if file.name.endswith(ENDINGS):
        written = from_rows(file, label=label, name=name, id_column=id_column)
    else:
        written = _of_model(file, name=name, sha256=sha256, key=key, python=python)
    for note in written.notes:
        stderr.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    typer.echo(written.source, nl=False)


def _of_model(file: Path, *, name: str, sha256: str | None, key: str | None, python: str | None) -> Written:
    # scikit-learn is slow to import, and rows need none
    from riskline.worker.training.imports.model_process import ModelProcess  # noqa: PLC0415  # as said

    def warn(message: str) -> None:
        stderr.print(f"warning: {message}", markup=False)

    with ModelProcess(file, python=python, sha256=sha256, warn=warn, key=key) as model:
        facts, _ = model.described()
    if facts["names"] is None:
        raise typer.BadParameter(
            f"{file}: it does not know the names of its {facts['width']} columns: write the class from the rows that "
            "it was trained on",
            param_hint="FILE",
        )
    return from_names(facts["names"], of=file.name, name=name)
