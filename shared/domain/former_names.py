"""The module names of the previous release, from which a team's class may still import.

They are `riskline` now. This file, and its use in `load_transaction_class`, end with the next release.
"""

import sys
import warnings
from importlib import import_module
from types import ModuleType

FORMER_PACKAGE = "shared"

FORMER_NAMES = {
    "shared.transaction": "riskline.shared.domain.transaction",
    "shared.features": "riskline.shared.domain.features",
}


def import_with_former_names(module_name: str) -> ModuleType:
    """Imports a module; a missing name of the previous release gets today's module.

    A package `shared` of the team's own stays what it is.

    Raises:
        Exception: whatever the module raises.
    """
    for _ in range(1 + 1 + len(FORMER_NAMES)):
        try:
            return import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != FORMER_PACKAGE and error.name not in FORMER_NAMES:
                raise
            missing = error
        if missing.name in sys.modules:
            raise missing
        _provide(str(missing.name))
    raise missing


def _provide(name: str) -> None:
    if name == FORMER_PACKAGE:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = []
        return
    # shown by default, unlike a DeprecationWarning: it is meant for operators
    warnings.warn(
        f"{name} is a name of the release before: write `from riskline import …`", FutureWarning, stacklevel=4
    )
    sys.modules[name] = import_module(FORMER_NAMES[name])
