"""Model files that are damaged, of another version, or hostile."""

import hashlib
import pickle
import signal
import socket
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.errors import BundleError
from tests.unit.foreign_models import dumped, forest, imported
from worker.training import foreign
from worker.training.modelfile import copied

RELEASE = version("scikit-learn")


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
@pytest.mark.parametrize("protocol", [2, 5])
def test_the_version_that_wrote_a_file_is_found_without_opening_it(
    tmp_path: Path, compress: Any, protocol: int
) -> None:
    looked = copied(dumped(forest(), tmp_path / "a", compress=compress, protocol=protocol), tmp_path / "b")

    assert looked.sklearn == (RELEASE,)
    assert looked.sha256 == hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()


def test_a_file_of_another_version_is_not_opened_and_says_how_it_can_be(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    content = pickle.dumps((Evil(f"open({str(opened)!r}, 'w')"), forest()))
    file = tmp_path / "team.pkl"
    file.write_bytes(content.replace(b"\x8c\x05" + RELEASE.encode(), b"\x8c\x050.9.1"))

    with pytest.raises(BundleError) as refused:
        imported(file)

    assert f"was written by scikit-learn 0.9.1, and this Python has scikit-learn {RELEASE}" in str(refused.value)
    assert "--python old/bin/python" in str(refused.value)
    assert not opened.exists()


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
with open({seen!r}, "w") as file:
    json.dump([dict(os.environ), socket.if_nameindex(), os.getcwd()], file)
print('{{"estimator": "RandomForestClassifier"}}', flush=True)
"""


def test_code_in_a_file_sees_no_credentials_and_what_it_prints_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RISKLINE_KEYS", "REDIS_URL", "AWS_SECRET_ACCESS_KEY", "DATABASE_PASSWORD", "PYTHONPATH"):
        monkeypatch.setenv(name, "secret")
    seen, warnings = tmp_path / "seen.json", []
    file = evil(tmp_path / "team.pkl", LOOK_AROUND.format(seen=str(seen)))

    with pytest.raises(BundleError, match=r"is a builtins.tuple: supported are"):
        imported(file, warn=warnings.append)

    environment, interfaces, where = orjson.loads(seen.read_bytes())
    assert "secret" not in environment.values()
    assert set(environment) <= {*foreign.KEPT_NAMES, "OMP_NUM_THREADS", "LC_CTYPE"} | {
        # the last ones are set by what is imported there
        name
        for name in environment
        if name.startswith((*foreign.KEPT_PREFIXES, "KMP_"))
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
    ran = tmp_path / "ran"
    file = evil(tmp_path / "team.pkl", f"open({str(ran)!r}, 'w')")

    with pytest.raises(BundleError, match="it is another file, and was not opened"):
        imported(file, sha256="0" * 64)
    assert not ran.exists()

    with pytest.raises(BundleError, match=r"is a builtins\.tuple"):
        imported(file, sha256=hashlib.sha256(file.read_bytes()).hexdigest().upper())
    assert ran.exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os._exit(3)", "ended with 3 before it answered"),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})", "ended with -11 before it answered"),
        ("raise MemoryError", "takes more memory than there is"),
        ("bytearray(1 << 45)", "takes more memory than there is"),
        ("raise SystemExit(0)", "cannot be used .SystemExit: 0."),
        ("import acme_features", "needs the package acme_features, which this Python has not"),
        ("raise ModuleNotFoundError('', name='numpy.new')", "needs numpy.new, which the numpy of this Python has not"),
    ],
)
def test_a_file_that_brings_its_process_down_is_one_line(tmp_path: Path, code: str, said: str) -> None:
    with pytest.raises(BundleError, match=said) as refused:
        imported(evil(tmp_path / "team.pkl", code))

    assert "\n" not in str(refused.value)


def test_a_file_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "TIMEOUT_SECONDS", 0.7)

    with pytest.raises(BundleError, match=r"was ended after 0\.7 seconds"):
        imported(evil(tmp_path / "team.pkl", "while True: pass"))


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    whole = dumped(forest(), tmp_path / "whole").read_bytes()
    packed = dumped(forest(), tmp_path / "packed", compress=3).read_bytes()
    flat = pickle.dumps({"weights": [1, 2, 3]})
    damages = {
        "half": (whole[: len(whole) // 2], r"cannot be used .*truncated, damaged or no model"),
        "half packed": (packed[: len(packed) // 2], "is truncated or damaged"),
        "altered": (packed[:300] + b"0123" + packed[304:], "is truncated or damaged"),
        "empty": (b"", "is no model of scikit-learn"),
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
    monkeypatch.setattr("worker.training.modelfile.MAX_FILE_BYTES", 1_000)
    with pytest.raises(BundleError, match="is larger than 1,000 bytes"):
        imported(dumped(forest(), tmp_path / "team.joblib"))

    monkeypatch.setattr("worker.training.modelfile.MAX_UNPACKED_BYTES", 100_000)
    with pytest.raises(BundleError, match=r"unpacks to more than 100,000 bytes|is larger"):
        imported(dumped("_" * 10_000_000, tmp_path / "bomb", compress=9))
