"""The reason that a model version cannot decide the transactions of a class, in a sentence that says what to do."""

from collections.abc import Sequence

from riskline.shared.domain.inputs import Inputs
from riskline.shared.model.bundle import Manifest

ANOTHER = "activate another version"
TRAIN = f"train a version of this class by `riskline train FILE`, or {ANOTHER}"

MOST_NAMED = 5
"""Columns in a message: it is one line."""


def mismatch(manifest: Manifest, inputs: Inputs) -> str | None:
    """The reason that a version does not fit these inputs; None where it does."""
    version = f"model {manifest.version}"
    if manifest.features != inputs.features:
        return (
            f"{version} was made for the features {', '.join(manifest.features)}, the transaction class has "
            f"{', '.join(inputs.features)}; set RISKLINE_TRANSACTION to its class, or {ANOTHER}"
        )
    if (history := _other_history(manifest, inputs)) is not None:
        return f"{version} {history}; {TRAIN}"
    if manifest.twin is not None and manifest.twin.features != inputs.twin_features:
        return (
            f"the twin of {version} was made for the features {', '.join(manifest.twin.features)}, the transaction "
            f"class has {', '.join(inputs.twin_features)} without history; {TRAIN}"
        )
    return None


def _other_history(manifest: Manifest, inputs: Inputs) -> str | None:
    made, now = manifest.history, inputs.history
    if made is None:
        return None if now is None else f"was made of {_listed(list(now.definitions))} as sent, not as history"
    if now is None:
        return f"was made of {_listed(list(made.columns))} as history, which the transaction class takes as sent"
    if made.fingerprint == now.fingerprint:
        return None
    definitions = now.definitions
    changed = [
        f"{name} was {said} and is {definitions.get(name, 'no history')}"
        for name, said in made.columns.items()
        if definitions.get(name) != said
    ]
    changed += [f"{name} is {said} and was as sent" for name, said in definitions.items() if name not in made.columns]
    return f"was made with other history than the transaction class has: {_listed(changed) or ELSE}"


ELSE = "its event time, how long it keeps entities, or which values it ignores has changed"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
