"""Loads what `build` compiled."""

import ctypes
from pathlib import Path

from riskline.shared.errors import InstallationError

HOW = "run `make install`, or `python -m riskline.shared.model.build`"


def load(path: Path, *, layout: str, version: int) -> tuple[ctypes.PyDLL, ctypes.CDLL]:
    """The library twice: its calls hold Python's lock, or release it, which costs as much as a short call.

    `layout` names the number in it that says which structs its calls take: those of another source would read past
    ours.

    Raises:
        InstallationError: it was not built, or from another source.
    """
    try:
        holding, releasing = ctypes.PyDLL(str(path)), ctypes.CDLL(str(path))
    except OSError as error:
        raise InstallationError(f"the scoring kernel cannot be loaded ({error}): {HOW}") from error
    try:
        found = ctypes.c_int32.in_dll(holding, layout).value
    except ValueError:
        found = None
    if found != version:
        raise InstallationError(f"the scoring kernel was built from another version's source: {HOW}")
    return holding, releasing
