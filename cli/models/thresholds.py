"""`riskline models thresholds`: the same model with other thresholds is a new version."""

from typing import Annotated

import typer

from riskline.cli.change_log import note_change
from riskline.cli.models.cold_history import refuse_cold
from riskline.cli.models.serving import known_living, pinned_note, say_active
from riskline.cli.options import DataOption
from riskline.shared.clock import utc_now
from riskline.shared.domain.class_check import load_transaction_class
from riskline.shared.domain.inputs import inputs_of
from riskline.shared.domain.policy import Thresholds
from riskline.shared.model.bundle import Manifest, no_twin, write_with_thresholds
from riskline.shared.model.registry import Registry
from riskline.shared.settings import load_settings


def thresholds(
    *,
    version: Annotated[str, typer.Argument(help="A model version.")],
    decline: Annotated[float, typer.Option("--decline", min=0, max=1, help="Decline strictly above it.")],
    review: Annotated[
        float | None,
        typer.Option(
            "--review", min=0, max=1, help="Review strictly above it (default: as before).", show_default=False
        ),
    ] = None,
    no_review: Annotated[bool, typer.Option("--no-review", help="Review nothing.")] = False,
    twin: Annotated[
        bool, typer.Option("--twin", help="Change those of its twin, which decides without history.")
    ] = False,
    activate: Annotated[bool, typer.Option("--activate", help="Serve the new version.")] = False,
    data: DataOption = None,
) -> None:
    """Make a new version of a model with other thresholds; the old one stays."""
    if no_review and review is not None:
        raise typer.BadParameter("contradicts --review", param_hint="--no-review")
    settings = load_settings(data=data)
    registry = Registry(settings.models_dir)
    if not no_review and review is None:
        review = _kept(registry.manifest(version), twin=twin).review
    if review is not None and review > decline:
        raise typer.BadParameter(
            f"{review:g} is above the decline threshold: name a lower one, or --no-review", param_hint="--review"
        )
    chosen = Thresholds(decline=decline, review=review)
    made = write_with_thresholds(settings.models_dir / version, thresholds=chosen, created_at=utc_now(), of_twin=twin)
    typer.echo(made.version)
    thresholds_told = f"decline {decline:g}, review {'none' if review is None else f'{review:g}'}"
    if twin:
        thresholds_told += " of its twin"
    note_change(data, "model thresholds changed", version=made.version, of=version, to=thresholds_told)
    if not activate:
        return
    if version != registry.active_version():
        # other thresholds of what serves are no colder than that
        refuse_cold(registry, made.version, data=data, cold=False)
    before = known_living(data=data)
    registry.activate(made.version, inputs_of(load_transaction_class(settings.transaction)))
    note_change(data, "model activated", version=made.version)
    if note := pinned_note(settings, active=made.version):
        typer.echo(note, err=True)
    say_active(made.version, wait=True, before=before, data=data)


def _kept(manifest: Manifest, *, twin: bool) -> Thresholds:
    """The thresholds that the version has now.

    Raises:
        BundleError: it has no twin.
    """
    if not twin:
        return manifest.thresholds
    if manifest.twin is None:
        raise no_twin(manifest)
    return manifest.twin.thresholds
