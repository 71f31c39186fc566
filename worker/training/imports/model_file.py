"""Untrusted model files: recognised without running any code of theirs; and arrays from the child process."""

import bz2
import errno
import gzip
import hashlib
import lzma
import os
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from riskline.shared.errors import BundleError
from riskline.shared.model.trees import MAX_NODES
from riskline.shared.model.untrusted import array_in, open_regular, printable
from riskline.worker.training.imports.file_kinds import BEGINNING_BYTES, NO_TREES, obstacle, packed, pickled_elsewhere

MAX_FILE_BYTES = 4 * 1024**3
MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_ARRAYS_BYTES = 4 * 1024**3
"""More than the arrays of the largest trees that a bundle holds (`MAX_NODES`)."""

MAX_NODE_BYTES = 8 * MAX_NODES + 1024
MAX_TEXT_BYTES = 1024**3
"""The largest file of XGBoost's and LightGBM's own formats: ten million nodes. Reading takes many times the memory."""

MOST_BYTES = {"text": MAX_TEXT_BYTES}
"""The largest array that is not one number for each node."""

PIECE = 1 << 20

NODES = {"feature": np.int64, "threshold": float, "left": np.int64, "right": np.int64, "value": float, "weight": float}
KINDS = {"text": np.uint8, "weights": float, "sizes": np.int64, **NODES}
"""The arrays of `unpickle.describe`: a text alone, weights alone, or the sizes of trees and their nodes."""

VERSION = re.compile(rb"_sklearn_version(?:\x94|q.|r.{4}|\np\d+\n)?(?:\x8c(.)|X(.{4})|V)", re.DOTALL)
"""The place of scikit-learn's version in a pickle: after this name and the opcode of a string.

The pickle's own operations cannot be followed instead: joblib writes the bytes of arrays between them.
"""

OVERLAP = 128
"""More than the longest such place, which may lie across two pieces."""

PACKAGE = re.compile(r"[A-Za-z0-9_.-]+")
RELEASE = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
"""The release names that a shown command may contain: people paste such commands."""

NEWEST_PYTHON = ((8, "0.23"), (9, "0.24"), (10, "1.0"), (11, "1.2"), (12, "1.4"), (13, "1.6"))
"""The minor version of the last Python for which the releases of scikit-learn up to this one have wheels."""

OLD_NUMPY = (((0, 24), " 'numpy<1.24'"), ((1, 4), " 'numpy<2'"))
"""Releases before these do not run with a newer numpy, and the oldest do not declare it to pip."""

INSTALLED_AS = {"imblearn": "imbalanced-learn", "sklearn": "scikit-learn", "feature_engine": "feature-engine"}
"""Packages whose names differ between `pip` and `import`."""

SAMPLERS = "; a sampler (SMOTE) does nothing when it scores, so a Pipeline of the other steps alone is the same model"
OWN_CODE = "; where that is your own code, dump the estimator alone"

NOT_THERE = re.compile(r"Can't get attribute '([^']{1,100})' on <module '([\w.]{1,100})'")
"""pickle's message for a class that is not where the file names it."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

MODEL_ENDINGS = (".joblib", ".pkl", ".pickle", ".json", ".ubj", ".txt")

LIBRARIES = (b"sklearn", b"xgboost", b"lightgbm")


@dataclass(frozen=True)
class ModelFileInfo:
    """The kind of a model file, found without opening it as a model."""

    name: str
    kind: str
    sha256: str
    sklearn: tuple[str, ...]


def copy_checked(file: Path, copy: Path, *, wanted_sha256: str | None = None) -> ModelFileInfo:
    """Copies a file, so that the checked bytes are the opened ones, and recognises its kind.

    Raises:
        BundleError: it is not there, too large, no model, damaged, or not the file that was wanted.
    """
    digest, size = hashlib.sha256(), 0
    if not file.is_file():
        raise BundleError(_no_file(file))
    with file.open("rb") as source, copy.open("wb") as target:
        while piece := source.read(PIECE):
            size += len(piece)
            if size > MAX_FILE_BYTES:
                raise BundleError(f"{file} is larger than {MAX_FILE_BYTES:,} bytes")
            digest.update(piece)
            target.write(piece)
    found = digest.hexdigest()
    if wanted_sha256 is not None and wanted_sha256.lower() != found:
        raise BundleError(f"{file} has the sha256 {found}, not {wanted_sha256}: it is another file, and was not opened")
    with copy.open("rb") as source:
        beginning = source.read(BEGINNING_BYTES)
    # a file name need not be text
    name = printable(os.fsencode(file.name).decode(errors="replace"))
    told = obstacle(file.name.lower(), beginning)
    if told is not None:
        raise BundleError(f"{file} {told}")
    if beginning.startswith(b"tree\n"):
        return ModelFileInfo(name, "lightgbm", found, ())
    if beginning.startswith(b"{"):
        return ModelFileInfo(name, "xgboost", found, ())
    return ModelFileInfo(name, "pickle", found, _pickled_versions(file, copy, beginning))


def _no_file(file: Path) -> str:
    if not file.is_dir():
        return f"{file}: there is no such file" if not file.exists() else f"{file} is no file: name a model file"
    if (file / "saved_model.pb").exists():
        return f"{file} is a directory of TensorFlow's, {NO_TREES}"
    within = sorted(each.name for each in file.iterdir() if each.name.endswith(MODEL_ENDINGS))[:3]
    told = f", such as {file / within[0]}" if within else ""
    return f"{file} is a directory: name the model file that is in it{told}"


def _pickled_versions(file: Path, copy: Path, beginning: bytes) -> tuple[str, ...]:
    versions: dict[str, None] = {}
    libraries: set[bytes] = set()
    size, kept, unpacked = 0, b"", b""
    try:
        for piece in _unpacked(copy, beginning):
            unpacked = unpacked or piece[:BEGINNING_BYTES]
            size += len(piece)
            if size > MAX_UNPACKED_BYTES:
                raise BundleError(f"{file} unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")
            window = kept + piece
            versions.update(dict.fromkeys(_versions(window)))
            libraries.update(library for library in LIBRARIES if library in window)
            kept = window[-OVERLAP:]
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BundleError(f"{file} is truncated or damaged ({error}): copy it again") from error
    if not versions and not libraries & {b"xgboost", b"lightgbm"}:
        told = packed(unpacked) or obstacle(file.name.lower(), unpacked) or pickled_elsewhere(unpacked)
        if told is not None:
            raise BundleError(f"{file} {told}")
        raise BundleError(
            f"{file} is no model of scikit-learn, XGBoost or LightGBM, and was not opened: it must be what joblib.dump "
            "or pickle.dump wrote of an estimator, XGBoost's .json or .ubj, or LightGBM's .txt"
        )
    return tuple(versions)


def _versions(window: bytes) -> Iterator[str]:
    for found in VERSION.finditer(window):
        short, long = found.groups()
        start = found.end()
        length = int.from_bytes(short or long, "little") if short or long else window.find(b"\n", start) - start
        # a match that is cut off is found again in the next piece
        if 0 < length < OVERLAP and start + length <= len(window):
            yield window[start : start + length].decode(errors="replace")


def _unpacked(copy: Path, beginning: bytes) -> Iterator[bytes]:
    """The bytes of the pickle in pieces, for each of joblib's compressors."""
    if beginning[:1] == b"\x78":
        unpack = zlib.decompressobj()
        with copy.open("rb") as file:
            while piece := file.read(PIECE):
                # a megabyte at a time: a small file may unpack to a very large one
                while piece:
                    yield unpack.decompress(piece, PIECE)
                    piece = unpack.unconsumed_tail
        if not unpack.eof:
            raise EOFError("it ends too early")
        return
    with _stream(copy, beginning) as stream:
        while piece := stream.read(PIECE):
            yield piece


def _stream(copy: Path, beginning: bytes) -> BufferedIOBase:
    if beginning.startswith(b"\x1f\x8b"):
        return gzip.open(copy)
    if beginning.startswith(b"BZh"):
        return bz2.open(copy)
    if beginning.startswith((b"\xfd7zXZ", b"\x5d\x00")):
        return lzma.open(copy)
    return copy.open("rb")


def arrays_in(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz by `unpickle`, or by code that pretends to be it.

    Raises:
        OSError, ValueError: it is no such file, or one that is too large.
    """
    with open_regular(file, MAX_ARRAYS_BYTES) as content, zipfile.ZipFile(content) as packed:
        members = packed.infolist()
        names = [member.filename.removesuffix(".npy") for member in members]
        if set(names) not in ({"text"}, {"weights"}, {"sizes", *NODES}) or len(names) != len(set(names)):
            raise ValueError("its arrays have other names")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("its arrays are packed")
        if any(
            member.file_size > MOST_BYTES.get(name, MAX_NODE_BYTES) for name, member in zip(names, members, strict=True)
        ):
            raise ValueError(f"it has more than {MAX_NODES:,} nodes, or a text of more than {MAX_TEXT_BYTES:,} bytes")
        arrays = {}
        for name, member in zip(names, members, strict=True):
            with packed.open(member) as piece:
                arrays[name] = array_in(piece, KINDS[name], member.file_size)
    if "sizes" in arrays:
        sizes, nodes = arrays["sizes"], len(arrays["feature"])
        if any(len(arrays[name]) != nodes for name in NODES) or sizes.min() < 1 or sizes.max() > nodes:
            raise ValueError("its arrays do not belong together")
        if sizes.sum() != nodes:
            raise ValueError("its trees have more nodes, or fewer, than its arrays")
    return arrays


def of_another_version(written: str, installed: str, python: str) -> str:
    """The reason that a file of this scikit-learn release is not opened, and the commands that open it."""
    release = ".".join(written.split(".")[:2])
    here = f"scikit-learn {installed}" if installed else "no scikit-learn"
    said = f"was written by scikit-learn {written}, and {python} has {here}; it was not opened. "
    if not RELEASE.fullmatch(release):
        return (
            f"{said}Train or dump it again with the one that is here, or name with --python a Python that has the other"
        )
    numpy = next((words for before, words in OLD_NUMPY if _numbers(release) < before), "")
    words = f"'scikit-learn=={release}.*'{numpy}"
    return (
        f"{said}Run `{_python_for(release)} -m venv old && old/bin/pip install {words}`, then this command again with "
        "--python old/bin/python; or train it again with the one that is here"
    )


def _python_for(release: str) -> str:
    """A Python for which that release of scikit-learn can be installed without a compiler."""
    newest = next(
        (minor for minor, last in NEWEST_PYTHON if _numbers(release) <= _numbers(last)), sys.version_info.minor
    )
    return f"python3.{min(newest, sys.version_info.minor)}"


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


def missing(module: str, python: str) -> str:
    """The missing package of a file, and the remedy."""
    package, _, inner = module.partition(".")
    if inner:
        return (
            f"needs {module}, which the {package} of {python} has not: name with --python a Python with the packages "
            "that wrote it, or dump it again with those that are here"
        )
    if not PACKAGE.fullmatch(package):
        return f"needs the package {package!r}, which {python} has not: name with --python a Python that has it"
    return (
        f"needs the package {package}, which {python} has not: `pip install {INSTALLED_AS.get(package, package)}` (or "
        f"name with --python a Python that has it){SAMPLERS if package == 'imblearn' else OWN_CODE}"
    )


def of_other_releases(error: str, said: str, python: str) -> str | None:
    """The remedy for a file that needs a missing class or function, or another XGBoost; None for other errors."""
    if error == "XGBoostError":
        why = said.partition(" Stack trace")[0]
        return (
            f"cannot be opened by the XGBoost of {python} ({why}): it is damaged or of another release; name "
            "with --python a Python with the XGBoost that wrote it, or save it there again by save_model('team.json')"
        )
    found = NOT_THERE.search(said)
    if found is None:
        return None
    name, module = found.groups()
    if module == "__main__":
        return (
            f"needs {name}, which was defined in the script or notebook that dumped it (__main__) and is not in the "
            f"file: dump the estimator alone, without {name} around it; what {name} does to the columns is for your "
            "transaction class"
        )
    return (
        f"needs {name} of {module}, which {python} has not: name with --python a Python with the releases that wrote "
        "it, or dump it again with those that are here"
    )


def of_the_system(number: int | None, said: str) -> str:
    """An error of the system, with the remedy where the disk is full."""
    if number in NO_SPACE:
        return f"there is no space left in {tempfile.gettempdir()}: free some, or name another directory in TMPDIR"
    return said
