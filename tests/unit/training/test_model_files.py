"""Model files that are damaged, of another version, or hostile."""

import errno
import hashlib
import io
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
import zipfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import riskline
from riskline.cli.main import run
from riskline.shared.errors import BundleError
from riskline.worker.training.data.simulate import simulate
from riskline.worker.training.imports import model_process
from riskline.worker.training.imports import sandbox as keeping
from riskline.worker.training.imports.jail import MOST_PROCESSES
from riskline.worker.training.imports.model_file import KINDS, MOST_BYTES, NODES, arrays_in, copy_checked
from riskline.worker.training.imports.sandbox import PR_GET_DUMPABLE, prctl
from tests.integration.running import PATIENCE_SECONDS, eventually
from tests.support.foreign_models import dumped, forest, imported

RELEASE = version("scikit-learn")


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
@pytest.mark.parametrize("protocol", [2, 5])
def test_the_version_that_wrote_a_file_is_found_without_opening_it(
    tmp_path: Path, compress: Any, protocol: int
) -> None:
    looked = copy_checked(dumped(forest(), tmp_path / "a", compress=compress, protocol=protocol), tmp_path / "b")

    assert looked.sklearn == (RELEASE,)
    assert looked.sha256 == hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()


def text(value: str) -> bytes:
    """A short text as pickle has it: with its length."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            "0.9.1",
            "python3.8 -m venv old && old/bin/pip install 'scikit-learn==0.9.*' 'numpy<1.24'`, then this command",
        ),
        ("0.24.2", "python3.9 -m venv old && old/bin/pip install 'scikit-learn==0.24.*' 'numpy<2'`, then this command"),
        ("1.2.2", "python3.11 -m venv old && old/bin/pip install 'scikit-learn==1.2.*' 'numpy<2'`, then this command"),
        (
            "1.4.2",
            "-m venv old && old/bin/pip install 'scikit-learn==1.4.*'`, then this command again with --python old",
        ),
        ("1;x.0", "name with --python a Python that has the other"),
    ],
)
def test_a_file_of_another_version_is_not_opened_and_says_how_it_can_be(
    tmp_path: Path, written: str, told: str
) -> None:
    warnings: list[str] = []
    content = pickle.dumps((Evil("raise ValueError('it was opened')"), forest()))
    file = tmp_path / "team.pkl"
    file.write_bytes(content.replace(text(RELEASE), text(written)))

    with pytest.raises(BundleError) as refused:
        imported(file, warn=warnings.append)

    assert f"was written by scikit-learn {written}, and this Python has scikit-learn {RELEASE}" in str(refused.value)
    assert told in str(refused.value)
    assert not warnings
    with pytest.raises(BundleError, match=f"and {sys.executable} has scikit-learn {RELEASE}; it was not opened"):
        imported(file, python=sys.executable)


class Evil:
    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> Any:
        return exec, (self.code,)


def evil(path: Path, code: str) -> Path:
    """A pickle that passes for a model of scikit-learn until it is opened."""
    path.write_bytes(pickle.dumps((Evil(code), "_sklearn_version", RELEASE)))
    return path


LOOK_AROUND = """
import json, os, socket
with open("seen.json", "w") as file:
    json.dump([dict(os.environ), socket.if_nameindex(), os.getcwd()], file)
print('{"estimator": "RandomForestClassifier"}', flush=True)
"""


def test_code_in_a_file_sees_no_credentials_and_what_it_prints_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RISKLINE_KEYS", "REDIS_URL", "AWS_SECRET_ACCESS_KEY", "DATABASE_PASSWORD", "PYTHONPATH"):
        monkeypatch.setenv(name, "secret")
    warnings: list[str] = []
    file = evil(tmp_path / "team.pkl", LOOK_AROUND)

    with model_process.ModelProcess(file, python=None, sha256=None, warn=warnings.append) as model:
        with pytest.raises(BundleError, match=r"is a tuple with '0' .NoneType., '1' .str., '2' .str., no model"):
            model.described()
        environment, interfaces, where = orjson.loads((model._work / "seen.json").read_bytes())

    assert "secret" not in environment.values()
    assert set(environment) <= {*model_process.KEPT_NAMES, "OMP_NUM_THREADS", "LC_CTYPE"} | {
        # the last ones are set by what is imported there
        name
        for name in environment
        if name.startswith((*model_process.KEPT_PREFIXES, "KMP_"))
    }
    assert not Path(where).exists()
    (warning,) = warnings
    assert hashlib.sha256(file.read_bytes()).hexdigest() in warning
    if "without network" in warning:
        assert [name for _, name in interfaces] == ["lo"]
        assert len(socket.if_nameindex()) >= 1
    else:
        assert "WITH network" in warning


def test_a_file_of_another_sha256_never_runs(tmp_path: Path) -> None:
    file = evil(tmp_path / "team.pkl", "raise ValueError('it ran')")

    with pytest.raises(BundleError, match="it is another file, and was not opened"):
        imported(file, sha256="0" * 64)

    with pytest.raises(BundleError, match="it ran"):
        imported(file, sha256=hashlib.sha256(file.read_bytes()).hexdigest().upper())


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os._exit(3)", "ended with 3 before it answered"),
        ("import ctypes; ctypes.string_at(0)", "ended with -11 before it answered"),
        ("raise MemoryError", "takes more memory than there is"),
        ("bytearray(1 << 45)", "takes more memory than there is"),
        ("raise SystemExit(0)", "cannot be used .SystemExit: 0."),
        ("import acme_features", "needs the package acme_features, which this Python has not"),
        ("raise ModuleNotFoundError('', name='numpy.new')", "needs numpy.new, which the numpy of this Python has not"),
        ("raise ModuleNotFoundError('', name='a; b')", "needs the package 'a; b', which this Python has not: name"),
        (
            "raise ValueError('\\x1b[2J\\nriskline: fine' + 'x' * 999)",
            r"cannot be used .ValueError: \[2J riskline: fine",
        ),
        ("raise OSError(28, 'No space left on device')", "there is no space left in .*TMPDIR"),
        ("raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')", "do not fit each other"),
    ],
)
def test_a_file_that_brings_its_process_down_is_one_line(tmp_path: Path, code: str, said: str) -> None:
    with pytest.raises(BundleError, match=said) as refused:
        imported(evil(tmp_path / "team.pkl", code))

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1_000


FORGED = """
import os, time
import numpy as np
{making}
os.write(3, {answer!r} + b"\\n")
time.sleep(9)
"""

FACTS = {
    "estimator": "RandomForestClassifier",
    "library": "sklearn",
    "width": 5,
    "names": None,
    "scaling": [],
    "libraries": {},
}


@pytest.mark.parametrize(
    ("making", "answer", "said"),
    [
        ("", b"{}", "gave no answer that can be read"),
        ("", b"[" * 200_000, "gave no answer that can be read"),
        ("", b'{"version": 3, "installed": 1}', "gave no answer that can be read"),
        ("", orjson.dumps({"facts": {**FACTS, "width": "5"}}), "gave no answer that can be read"),
        ("", orjson.dumps({"facts": {**FACTS, "names": ["a"]}}), "it has 5 columns, and names of 1"),
        ("", orjson.dumps({"problem": "is\nriskline: fine"}), "is riskline: fine$"),
        ("os.mkfifo('arrays.npz')", None, "gave back no arrays .*is no file"),
        ("open('arrays.npz', 'w')", None, "gave back no arrays"),
    ],
)
def test_an_answer_that_the_code_in_a_file_made_up_is_one_line(
    tmp_path: Path, making: str, answer: bytes | None, said: str
) -> None:
    content = orjson.dumps({"facts": FACTS}) if answer is None else answer

    with pytest.raises(BundleError, match=said) as refused:
        imported(evil(tmp_path / "team.pkl", FORGED.format(making=making, answer=content)))

    assert str(refused.value).isprintable()


def test_arrays_are_looked_at_before_they_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, nodes = tmp_path / "arrays.npz", np.zeros(3, np.int64)
    arrays = {"feature": nodes, "left": nodes, "right": nodes, **dict.fromkeys(("threshold", "value", "weight"), nodes)}
    arrays = {name: array.astype(KINDS[name]) for name, array in arrays.items()}
    np.savez(file, sizes=nodes + 1, **arrays)
    assert set(arrays_in(file)) == {"sizes", *NODES}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40,)})
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"a": nodes}, "other names"),
        ({"text": nodes}, "is not a row of"),
        ({"text": np.zeros((2, 2), np.uint8)}, "is not a row of"),
        ({"sizes": nodes + (1 << 60), **arrays}, "do not belong together"),
        ({"sizes": nodes[:2] + 1, **arrays}, "more nodes, or fewer"),
    ]
    for members, said in wrong:
        np.savez(file, **members)
        with pytest.raises(ValueError, match=said):
            arrays_in(file)
    monkeypatch.setattr("riskline.worker.training.imports.model_file.MAX_NODE_BYTES", 100)
    monkeypatch.setitem(MOST_BYTES, "text", 1_000)
    for large, said in (({"sizes": nodes + 1, **arrays}, "more than"), ({"text": np.zeros(1_000, np.uint8)}, "a text")):
        np.savez(file, **large)
        with pytest.raises(ValueError, match=said):
            arrays_in(file)
    monkeypatch.undo()
    for packing, said in ((zipfile.ZIP_STORED, "is not a row of"), (zipfile.ZIP_DEFLATED, "are packed")):
        with zipfile.ZipFile(file, "w", packing) as packed:
            packed.writestr("text.npy", header.getvalue() + b"0" * 1_000)
        with pytest.raises(ValueError, match=said):
            arrays_in(file)
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(OSError, match="link"):
        arrays_in(tmp_path / "link")


OUTLIVING = """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep({seconds})
    os._exit(0)
{outer}
"""
LONGEST_SECONDS = 4 * PATIENCE_SECONDS
"""Longer than a test may take: whoever waits for it fails."""


@pytest.mark.parametrize(
    ("confined", "outer", "said"),
    [
        (True, "while True: pass", r"was ended after 0\.6 seconds"),
        (True, "os._exit(1)", "ended with 1 before"),
        (False, "os._exit(1)", "ended with 1 before"),
    ],
)
def test_a_process_that_a_file_leaves_behind_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outer: str, said: str, *, confined: bool
) -> None:
    limit = 0.6 if outer.startswith("while") else PATIENCE_SECONDS
    monkeypatch.setattr(model_process, "TIMEOUT_SECONDS", limit)
    if not confined:
        monkeypatch.setattr(keeping, "CONFINED", ())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    with pytest.raises(BundleError, match=said):
        imported(evil(tmp_path / "team.pkl", OUTLIVING.format(seconds=LONGEST_SECONDS, outer=outer)))

    if confined and keeping.confinement(scratch, sys.executable).words:
        eventually(lambda: not at_work_in(scratch))
    else:
        left = at_work_in(scratch)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert left


def at_work_in(directory: Path) -> list[int]:
    """The processes of this machine whose command names something in there."""
    commands = [each for each in Path("/proc").glob("[0-9]*/cmdline") if each.parent.name != str(os.getpid())]
    found = []
    for each in commands:
        with suppress(OSError):
            found += [int(each.parent.name)] if os.fsencode(directory) in each.read_bytes() else []
    return found


def found_by(code: str, tmp_path: Path) -> Any:
    """What code in a file finds out, where it can be jailed; it puts that into `found`."""
    whole = f"{code}\nimport json; json.dump(found, open('found.json', 'w')); raise ValueError('done')"
    warnings: list[str] = []
    with model_process.ModelProcess(
        evil(tmp_path / "team.pkl", f"exec({whole!r}, {{}})"), python=None, sha256=None, warn=warnings.append
    ) as model:
        if keeping.JAILED not in warnings[0]:
            pytest.skip("this system does not allow a jail")
        with pytest.raises(BundleError, match="done"):
            model.described()
        return orjson.loads((model._work / "found.json").read_bytes())


def test_code_in_a_file_reaches_no_socket_that_is_a_file(tmp_path: Path) -> None:
    """One of an installation's own Redis is such, and whoever can write to that could do anything with it."""
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "run" / "redis.sock"))
        listening.listen()
        code = f"""
import glob, os, socket
found = [os.path.exists({str(tmp_path)!r})]
for path in ({str(tmp_path / "run" / "redis.sock")!r}, "\\0abstract"):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except OSError as error:
        found.append(type(error).__name__)
"""
        assert found_by(code, tmp_path) == [False, "FileNotFoundError", "ConnectionRefusedError"]


def test_code_in_a_file_sees_a_python_and_the_system_and_changes_neither(tmp_path: Path) -> None:
    secret = Path(riskline.__file__).parents[2] / "pyproject.toml"
    code = f"""
import os, sys, sysconfig
found = dict(top=sorted(os.listdir("/")), tmp=os.listdir("/tmp"), installation=os.path.exists({str(secret)!r}))
found["etc"] = os.listdir("/etc")
found["refused"] = []
for path in (sysconfig.get_paths()["purelib"] + "/evil.pth", "/usr/evil", sys.prefix + "/evil", os.__file__):
    try:
        open(path, "a")
    except OSError as error:
        found["refused"].append(error.errno)
"""
    found = found_by(code, tmp_path)

    assert found["installation"] is False
    # the way to this Python, where that is in the temporary folder
    to_python = {path.parts[2] for path in map(Path, (sys.prefix, sys.base_prefix)) if path.parts[1] == "tmp"}
    assert all(each.startswith("riskline-import-") for each in {*found["tmp"]} - to_python)
    assert "passwd" not in found["etc"]
    assert found["refused"] == [errno.EROFS] * 4
    assert "run" not in found["top"]
    assert "var" not in found["top"]


def test_code_in_a_file_finds_no_other_process_whatever_it_takes_off(tmp_path: Path) -> None:
    """As the only user of its own namespace it could take off what is mounted over the machine's own /proc."""
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
found = dict(before=[each for each in os.listdir("/proc") if each.isdigit()])
found["off"] = [libc.umount2(each, flag) for each in (b"/proc", b"/", b"/usr") for flag in (0, 2)]
found["on"] = libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)
found["after"] = [each for each in os.listdir("/proc") if each.isdigit()]
found["rights"] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")]
"""
    found = found_by(code, tmp_path)

    assert found["before"] == found["after"] == ["1"]
    assert set(found["off"]) == {-1}
    assert found["on"] == -1
    assert set(found["rights"]) == {"0" * 16}


def test_code_in_a_file_that_root_imports_sets_nothing_of_the_kernel(tmp_path: Path) -> None:
    """The kernel asks for no right there, but who is root: a `core_pattern` is a program that it runs as root."""
    code = """
import ctypes, os
found = []
def attempt():
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/comm"):
        try:
            os.close(os.open(path, os.O_WRONLY))
        except OSError as error:
            found.append(type(error).__name__)
        else:
            found.append("opened " + path)
attempt()
libc = ctypes.CDLL(None, use_errno=True)
# a user namespace of its own gives rights anew, and a /proc of its own could be writable
if libc.unshare(0x10000000 | 0x00020000) == 0:
    libc.mount(b"none", b"/", None, 16384 | 1 << 18, None)
    found.append("mounted" if libc.mount(b"proc", b"/proc", b"proc", 0, None) == 0 else "refused")
    found.append("remounted" if libc.mount(b"none", b"/proc", None, 32 | 4096, None) == 0 else "refused")
    found.append("remounted" if libc.mount(b"none", b"/usr", None, 32 | 4096, None) == 0 else "refused")
    found.append("taken off" if libc.umount2(b"/proc", 2) == 0 else "refused")
    attempt()
"""
    found = found_by(code, tmp_path)

    assert set(found) <= {"refused", "OSError", "PermissionError", "FileNotFoundError"}


def test_code_in_a_file_has_bounds_on_its_memory_its_files_and_its_processes(tmp_path: Path) -> None:
    code = """
import resource
found = [resource.getrlimit(getattr(resource, "RLIMIT_" + name))[1] for name in ("AS", "FSIZE", "NPROC", "CORE")]
"""
    memory, file, processes, core = found_by(code, tmp_path)

    assert (memory, file, core) == (model_process.MEMORY_BYTES, model_process.MAX_ARRAYS_BYTES, 0)
    assert MOST_PROCESSES <= processes < 100_000


def test_a_file_that_is_written_beyond_the_bound_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_process, "MAX_ARRAYS_BYTES", 1_000_000)

    with pytest.raises(BundleError, match=r"cannot be used .OSError: \[Errno 27\] File too large"):
        imported(evil(tmp_path / "team.pkl", "f = open('big', 'wb', 0); f.seek(999_999); f.write(b'1'); f.write(b'2')"))


def test_code_in_a_file_that_cannot_be_confined_does_not_read_this_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "CONFINED", ())
    control, warnings = prctl(), []
    if control is None or control(PR_GET_DUMPABLE, 0, 0, 0, 0) != 1:
        pytest.skip("this system cannot hide a process's environment")

    with model_process.ModelProcess(evil(tmp_path / "a", "1"), python=None, sha256=None, warn=warnings.append):
        assert control(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0

    assert "WITH network" in warnings[0]
    assert control(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1


def test_a_signal_ends_an_import_and_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(rows=50, seed=5).write_csv(tmp_path / "sample.csv")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("RISKLINE_DATA", str(tmp_path / "data"))
    file = evil(tmp_path / "team.pkl", "import time; open('started', 'w'); time.sleep(1_000)")

    def end() -> None:
        eventually(lambda: list(scratch.glob("*/started")))
        os.kill(os.getpid(), signal.SIGTERM)

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(SystemExit) as ended:
        run(["models", "import", str(file), "--reference", str(tmp_path / "sample.csv")])
    ending.join()

    assert ended.value.code == 128 + signal.SIGTERM
    assert list(scratch.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    whole = dumped(forest(), tmp_path / "whole").read_bytes()
    packed = dumped(forest(), tmp_path / "packed", compress=3).read_bytes()
    flat = pickle.dumps({"weights": [1, 2, 3]})
    damages = {
        "half": (whole[: len(whole) // 2], r"cannot be used .*truncated, damaged or no model"),
        "half packed": (packed[: len(packed) // 2], "is truncated or damaged"),
        "altered": (packed[:300] + b"0123" + packed[304:], "is truncated or damaged"),
        "empty": (b"", "is empty: copy it again"),
        "words": (b"a,b,c\n1,2,3\n", "is no model of scikit-learn"),
        "no model": (flat, "is no model of scikit-learn, XGBoost or LightGBM, and was not opened"),
    }
    for name, (content, said) in damages.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BundleError, match=said):
            imported(tmp_path / name)
    with pytest.raises(BundleError, match="there is no such file"):
        imported(tmp_path / "gone.pkl")
    with pytest.raises(BundleError, match="is no program"):
        imported(tmp_path / "whole", python=str(tmp_path / "gone"))


def test_a_file_that_is_too_large_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskline.worker.training.imports.model_file.MAX_FILE_BYTES", 1_000)
    with pytest.raises(BundleError, match="is larger than 1,000 bytes"):
        imported(dumped(forest(), tmp_path / "team.joblib"))

    monkeypatch.setattr("riskline.worker.training.imports.model_file.MAX_UNPACKED_BYTES", 100_000)
    with pytest.raises(BundleError, match=r"unpacks to more than 100,000 bytes|is larger"):
        imported(dumped("_" * 10_000_000, tmp_path / "bomb", compress=9))
