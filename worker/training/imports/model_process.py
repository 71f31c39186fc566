"""Opens a model file from elsewhere, in a child process.

Unpickling runs whatever code the file names. The child has a minimal environment, a time limit, and where the system
allows it no network and no sight of other processes; but it is a process of the same user. It runs `unpickle.py`.
Its answers may come from the file's code, so all of them are checked, and nothing waits for them longer
than the limit.
"""

import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import ValidationError

from riskline.shared.errors import BundleError
from riskline.shared.model.untrusted import array_in, open_regular, printable
from riskline.worker.training.imports import unpickle
from riskline.worker.training.imports.convert import ChildMessage
from riskline.worker.training.imports.model_file import (
    MAX_ARRAYS_BYTES,
    NO_SPACE,
    arrays_in,
    copy_checked,
    missing,
    of_another_version,
    of_other_releases,
    of_the_system,
)
from riskline.worker.training.imports.sandbox import (
    PR_SET_PDEATHSIG,
    confinement,
    environment_hidden,
    prctl,
    signals_held_back,
)

MEMORY_BYTES = 16 * 1024**3
TIMEOUT_SECONDS = 900.0
MAX_ANSWER_BYTES = 10_000_000

REFIT = "`pip install 'numpy<2'` there, where its scikit-learn is older than 1.4"

KEPT_NAMES = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"})
KEPT_PREFIXES = ("LC_", "OPENBLAS_")
"""The environment variables that the child needs to start; none has credentials."""


class ModelProcess:
    """A model in a child process; a context manager that ends the process."""

    def __init__(
        self,
        file: Path,
        *,
        python: str | None,
        sha256: str | None,
        warn: Callable[[str], None],
        key: str | None = None,
        fraud_class: str | None = None,
    ) -> None:
        """`key` names the model in a dict, `fraud_class` the label that is fraud."""
        self._file, self._python = file, python
        self._asked = {"key": key, "fraud_class": fraud_class}
        self._named = python or "this Python"
        self._process: subprocess.Popen[bytes] | None = None
        self._received = b""
        self._deadline = time.monotonic() + TIMEOUT_SECONDS
        self._cleanup = ExitStack()
        try:
            self._work = Path(tempfile.mkdtemp(prefix="riskline-import-"))
            self._cleanup.callback(shutil.rmtree, self._work, ignore_errors=True)
            self.looked = copy_checked(file, self._work / "model", wanted_sha256=sha256)
            self._start(warn)
        except OSError as error:
            self.close()
            raise BundleError(f"{file}: {of_the_system(error.errno, str(error))}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process and its children, and removes its files; signals are held back until then."""
        with signals_held_back():
            self._cleanup.close()

    def described(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The facts of the model by `unpickle.describe`.

        Raises:
            BundleError: it cannot be opened or is not supported.
        """
        facts = self._answer().facts
        problem = "no facts" if facts is None else facts.problem()
        if facts is None or problem is not None:
            raise BundleError(f"{self._file}: the process that opened it gave no answer that can be read ({problem})")
        try:
            arrays = arrays_in(self._work / "arrays.npz")
        except Exception as error:  # the file's own code may have made anything of it
            raise BundleError(self._not_given("arrays", error)) from error
        if ("text" in arrays) == (facts.library == "sklearn"):
            raise BundleError(f"{self._file}: the process that opened it gave back the arrays of another model")
        return facts.model_dump(), arrays

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """The estimator's own scores of these rows.

        Raises:
            BundleError: it could not score them.
        """
        name = f"rows-{secrets.token_hex(8)}.npy"
        try:
            with (self._work / name).open("xb") as file:
                np.save(file, rows)
        except OSError as error:
            raise BundleError(f"{self._file}: {of_the_system(error.errno, str(error))}") from error
        stdin = self._running().stdin
        with suppress(BrokenPipeError):  # it ended: what it has to say of that is in its answer
            if stdin is not None:
                stdin.write(f"{name}\n".encode())
                stdin.flush()
        self._answer()
        size = 1_000 + 8 * len(rows)
        try:
            with open_regular(self._work / "scores.npy", size) as file:
                scores = array_in(file, float, size)
        except Exception as error:  # same
            raise BundleError(self._not_given("scores", error)) from error
        if scores.shape != (len(rows),) or not np.isfinite(scores).all():
            raise BundleError(f"{self._file}: it does not give one finite score for each row")
        return scores

    def _not_given(self, what: str, error: Exception) -> str:
        said = printable(f"{type(error).__name__}: {error}")
        return f"{self._file}: the process that opened it gave back no {what} that can be read ({said})"

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("the process was never started")
        return self._process

    def _start(self, warn: Callable[[str], None]) -> None:
        kept = {name: os.environ[name] for name in os.environ if name in KEPT_NAMES or name.startswith(KEPT_PREFIXES)}
        request = {"kind": self.looked.kind, "sklearn": self.looked.sklearn, "memory": MEMORY_BYTES, **self._asked}
        request["file"] = MAX_ARRAYS_BYTES
        (self._work / "request.json").write_text(json.dumps(request))
        python = sys.executable if self._python is None else shutil.which(self._python)
        if python is None:
            raise BundleError(f"{self._python} is no program: --python takes the path of a Python")
        # an absolute path, since the process starts in another directory; links stay: their target is outside the venv
        python = str(Path(python).absolute())
        self._check_version()
        words, how = confinement(self._work, python)
        if self.looked.kind == "pickle":
            warn(
                f"opening {self._file} runs the code in it (sha256 {self.looked.sha256}): import only what comes from "
                f"people you trust. It runs in a process of its own, without this environment, {how}."
            )
        # a copy: Riskline's own directory is not visible
        program = Path(shutil.copy(unpickle.__file__, self._work / "unpickle.py"))
        self._cleanup.enter_context(environment_hidden())
        self._errors = self._cleanup.enter_context((self._work / "stderr").open("w+b"))
        control = prctl()
        self._process = subprocess.Popen(
            [*words, python, "-I", str(program), str(self._work)],
            cwd=self._work,
            # one thread: the order of a sum, and so its last bit, must be fixed
            env={**kept, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            preexec_fn=None if control is None else partial(control, PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0),  # noqa: PLW1509  # one call into the C library, looked up before
        )
        self._cleanup.callback(self._end)

    def _check_version(self) -> None:
        """Warns of another library version; not for a file that this Python cannot open, nor for another Python."""
        if self._python is None:
            installed = version("scikit-learn")
            other = [each for each in self.looked.sklearn if each.split(".")[:2] != installed.split(".")[:2]]
            if other:
                raise BundleError(f"{self._file} {of_another_version(other[0], installed, self._named)}")

    def _end(self) -> None:
        process = self._running()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        process.wait()

    def _answer(self) -> ChildMessage:
        line = self._line()
        try:
            answer = ChildMessage.model_validate_json(line)
        except (ValidationError, RecursionError) as error:
            raise BundleError(f"{self._file}: the process that opened it gave no answer that can be read") from error
        if answer.version is not None:
            raise BundleError(f"{self._file} {of_another_version(answer.version, answer.installed, self._named)}")
        if answer.error == "MemoryError":
            raise BundleError(f"{self._file} takes more memory than there is (or than {MEMORY_BYTES:,} bytes)")
        if answer.error is not None:
            raise BundleError(f"{self._file} {self._failed(answer, answer.error)}")
        if answer.problem is not None:
            raise BundleError(f"{self._file} {printable(answer.problem, 1_000)}")
        return answer

    def _line(self) -> bytes:
        """The child's next line; does not wait for other processes that hold its pipe."""
        process = self._running()
        stdout = -1 if process.stdout is None else process.stdout.fileno()
        ready = select.poll()
        ready.register(stdout, select.POLLIN)
        pieces = [self._received]
        while b"\n" not in pieces[-1]:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise BundleError(
                    f"{self._file}: the process that opened it was ended after {TIMEOUT_SECONDS:g} seconds"
                )
            ended = process.poll() is not None
            if not ready.poll(0 if ended else min(left, 0.2) * 1000):
                if ended:
                    raise BundleError(self._ended())
                continue
            piece = os.read(stdout, 1 << 16)
            if not piece:
                raise BundleError(self._ended())
            pieces.append(piece)
            if sum(map(len, pieces)) > MAX_ANSWER_BYTES:
                raise BundleError(f"{self._file}: the process that opened it gave no answer that can be read")
        line, _, self._received = b"".join(pieces).partition(b"\n")
        return line

    def _failed(self, answer: ChildMessage, error: str) -> str:
        said = f"{error}: {printable(answer.said)}"
        if error == "ModuleNotFoundError":
            return missing(answer.module or "", self._named)
        if "binary incompatibility" in said:
            return f"cannot be opened: the packages of {self._named} do not fit each other ({said}); {REFIT}"
        known = of_other_releases(error, said, self._named)
        if known is not None:
            return known
        if answer.errno in NO_SPACE:
            return f"cannot be opened: {of_the_system(answer.errno, said)}"
        if answer.scoring:
            return f"was opened, but its estimator cannot score the rows of the reference ({said})"
        return f"cannot be used ({said}): it is truncated, damaged or no model; dump it again"

    def _ended(self) -> str:
        try:
            code = self._running().wait(timeout=5)
        except subprocess.TimeoutExpired:
            return f"{self._file}: the process that opened it gave no answer"
        errors = self._errors.fileno()
        # from the start, not from the present offset, which is the process's write offset
        content = os.pread(errors, 2_000, max(0, os.fstat(errors).st_size - 2_000))
        said = content.decode(errors="replace").strip().splitlines()
        ended = f"{self._file}: the process that opened it ended with {code} before it answered"
        why = f" ({printable(said[-1])})" if said else ""
        # a library in C++ may crash on an incomplete file
        return f"{ended}{why}{': it is truncated, damaged or no model; save it again' if code < 0 else ''}"
