"""Opens a model file from elsewhere, in a child process.

Unpickling runs whatever code the file asks for. The child has no environment to speak of, no network where the system
allows that, and an end; but it is a process of the same user. `unpickle.py` is what runs there.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from shared.errors import BundleError
from worker.training import unpickle
from worker.training.modelfile import copied

MEMORY_BYTES = 16 * 1024**3
TIMEOUT_SECONDS = 900.0
MAX_ANSWER_BYTES = 10_000_000

KEPT_NAMES = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"})
KEPT_PREFIXES = ("LC_", "OPENBLAS_")
"""What the child needs of the environment to start at all; there are no credentials in it."""


class Foreign:
    """A model that lives in a child process; used in a `with`, at whose end that process is gone."""

    def __init__(
        self,
        file: Path,
        *,
        python: str | None,
        sha256: str | None,
        warn: Callable[[str], None],
    ) -> None:
        self._work = Path(tempfile.mkdtemp(prefix="riskline-import-"))
        self._file, self._python = file, python
        self._named = python or "this Python"
        self._process: subprocess.Popen[bytes] | None = None
        self._timed_out = False
        try:
            self.looked = copied(file, self._work / "model", wanted_sha256=sha256)
            self._start(warn)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process and what it started, and removes its files."""
        if self._process is not None:
            self._timer.cancel()
            self._end()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            self._process.wait()
        shutil.rmtree(self._work, ignore_errors=True)

    def described(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What `unpickle.describe` says of the model.

        Raises:
            BundleError: it cannot be opened or is not supported.
        """
        facts = self._answer()
        try:
            with np.load(self._work / "arrays.npz", allow_pickle=False) as arrays:
                return facts, {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError) as error:
            raise BundleError(f"{self._file}: the process that opened it gave back no arrays ({error})") from error

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """What the estimator itself says of these rows.

        Raises:
            BundleError: it could not score them.
        """
        np.save(self._work / "rows.npy", rows)
        stdin = self._running().stdin
        with suppress(BrokenPipeError):  # it ended: what it has to say of that is in its answer
            if stdin is not None:
                stdin.write(b"rows.npy\n")
                stdin.flush()
        self._answer()
        try:
            scores: np.ndarray = np.load(self._work / "scores.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BundleError(f"{self._file}: the process that opened it gave back no scores ({error})") from error
        if scores.shape != (len(rows),) or not np.isfinite(scores).all():
            raise BundleError(f"{self._file}: it does not give one finite score for each row")
        return scores

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("the process was never started")
        return self._process

    def _start(self, warn: Callable[[str], None]) -> None:
        kept = {name: os.environ[name] for name in os.environ if name in KEPT_NAMES or name.startswith(KEPT_PREFIXES)}
        request = {"kind": self.looked.kind, "sklearn": self.looked.sklearn, "memory": MEMORY_BYTES}
        (self._work / "request.json").write_text(json.dumps(request))
        python = sys.executable if self._python is None else shutil.which(self._python)
        if python is None:
            raise BundleError(f"{self._python} is no program: --python takes the path of a Python")
        # the process starts in another directory; where a link leads is not looked up, it would leave the venv
        python = str(Path(python).absolute())
        offline = _offline()
        if self.looked.kind == "pickle":
            where = "without network" if offline else "WITH network, which this system does not let us take away"
            warn(
                f"opening {self._file} runs the code in it (sha256 {self.looked.sha256}): import only what comes from "
                f"people you trust. It runs in a process of its own, without this environment, {where}."
            )
        with (self._work / "stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                [*offline, python, "-I", unpickle.__file__, str(self._work)],
                cwd=self._work,
                # one thread: the order of a sum, and so its last bit, is not left to chance
                env={**kept, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._timer = threading.Timer(TIMEOUT_SECONDS, self._give_up)
        self._timer.daemon = True
        self._timer.start()

    def _give_up(self) -> None:
        self._timed_out = True
        self._end()

    def _end(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._running().pid, signal.SIGKILL)

    def _answer(self) -> dict[str, Any]:
        stdout = self._running().stdout
        line = b"" if stdout is None else stdout.readline(MAX_ANSWER_BYTES)
        if not line.endswith(b"\n"):
            raise BundleError(self._ended())
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise BundleError(f"{self._file}: the process that opened it gave no answer that can be read") from error
        if not isinstance(answer, dict):
            raise BundleError(f"{self._file}: the process that opened it gave no answer that can be read")
        problem = self._problem(answer)
        if problem is not None:
            raise BundleError(f"{self._file} {problem}")
        return answer

    def _problem(self, answer: dict[str, Any]) -> str | None:
        if "installed" in answer:
            return self._of_another_version(answer["version"], answer["installed"])
        if answer.get("error") == "ModuleNotFoundError":
            return self._missing(str(answer.get("module") or ""))
        if answer.get("error") == "MemoryError":
            return f"takes more memory than there is (or than {MEMORY_BYTES:,} bytes)"
        if "error" in answer:
            said = " ".join(str(answer.get("said")).split())
            return f"cannot be used ({answer['error']}: {said}): it is truncated, damaged or no model; dump it again"
        return str(answer["problem"]) if answer.get("problem") else None

    def _of_another_version(self, written: str, installed: str | None) -> str:
        release = ".".join(written.split(".")[:2])
        here = f"scikit-learn {installed}" if installed else "no scikit-learn"
        return (
            f"was written by scikit-learn {written}, and {self._named} has {here}; it was not opened. Train or dump it "
            "again with the one that is here, or name with --python a Python that has the other: `python3 -m venv old "
            f"&& old/bin/pip install 'scikit-learn=={release}.*'`, then --python old/bin/python"
        )

    def _missing(self, module: str) -> str:
        package, _, inner = module.partition(".")
        if inner:
            return (
                f"needs {module}, which the {package} of {self._named} has not: name with --python a Python with the "
                "packages that wrote it, or dump it again with those that are here"
            )
        return (
            f"needs the package {package}, which {self._named} has not: `pip install {package}` (or name with --python "
            "a Python that has it)"
        )

    def _ended(self) -> str:
        if self._timed_out:
            return f"{self._file}: the process that opened it was ended after {TIMEOUT_SECONDS:g} seconds"
        try:
            code = self._running().wait(timeout=5)
        except subprocess.TimeoutExpired:
            return f"{self._file}: the process that opened it gave no answer"
        with suppress(OSError):
            said = (self._work / "stderr").read_bytes()[-2000:].decode(errors="replace").strip().splitlines()
            ended = f"{self._file}: the process that opened it ended with {code} before it answered"
            return f"{ended} ({said[-1]})" if said else ended
        return f"{self._file}: the process that opened it ended with {code}"


def _offline() -> list[str]:
    """Words before a command that take its network away; none where the system does not allow it."""
    unshare = shutil.which("unshare")
    words = [] if unshare is None else [unshare, "--map-root-user", "--net", "--"]
    if words and subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0:
        return words
    return []
