"""Compiles the scoring kernel: `python -m riskline.shared.model.build`, once for each installation.

The fold of history is in the same library.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from riskline.shared.errors import InstallationError

SOURCES = tuple(Path(__file__).with_name(name) for name in ("kernel.c", "history.c"))
LIBRARY = Path(__file__).with_name("_kernel.so")
FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC")
"""No -march=native: an image is built on one machine and runs on another; no fused operations: the same bits."""

COMPILERS = ("cc", "gcc", "clang")


def compiler() -> list[str]:
    """The C compiler of this machine: $CC, the system's, else the one inside the ziglang wheel.

    Raises:
        InstallationError: no compiler was found.
    """
    named = os.environ.get("CC")
    if named:
        return shlex.split(named)
    for name in COMPILERS:
        found = shutil.which(name)
        if found:
            return [found]
    if find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise InstallationError("no C compiler for the scoring kernel: install gcc or clang, or `pip install ziglang`")


def build(*, sources: Sequence[Path] = SOURCES, library: Path = LIBRARY) -> bool:
    """Compiles the library unless these sources were compiled already; True where it compiled.

    Raises:
        InstallationError: there is no compiler, or it failed; has the compiler's message.
    """
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    stamp = library.with_suffix(".sha256")
    if library.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return False
    unfinished = library.with_name(f"{library.name}.{os.getpid()}")
    command = [*compiler(), *FLAGS, "-o", str(unfinished), *map(str, sources), "-lm"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InstallationError(f"the C compiler {command[0]} does not start ({error.strerror}): set CC") from error
    if result.returncode != 0:
        unfinished.unlink(missing_ok=True)
        raise InstallationError(f"the scoring kernel does not compile: {' '.join(command)}: {result.stderr.strip()}")
    unfinished.replace(library)
    stamp.write_text(digest, encoding="ascii")
    return True


if __name__ == "__main__":
    try:
        built = build()
    except InstallationError as error:
        sys.exit(f"riskline: {error}")
    print("scoring kernel", "built" if built else "is up to date", file=sys.stderr)  # noqa: T201  # what the command says
