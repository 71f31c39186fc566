"""A model version on disk: a directory of arrays and JSON, no code in it, checked whenever it is read.

trees.npz        the ensemble as flat arrays (see trees.py), read with allow_pickle=False
manifest.json    what it is: format, sha256 of the other files, features, scoring, thresholds, training, metrics
reference.json   quantiles of features and scores on the training rows, for drift
"""

import hashlib
import io
import os
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.assessment import Rows
from shared.errors import BundleError
from shared.model.engine import Engine
from shared.model.trees import MAX_NODES, Scoring, Trees
from shared.policy import Thresholds

FORMAT = 1
TREES, MANIFEST, REFERENCE = "trees.npz", "manifest.json", "reference.json"
MAX_JSON_BYTES = 10_000_000
MAX_ARRAY_BYTES = 8 * MAX_NODES + 1024
MAX_BYTES = {TREES: len(fields(Trees)) * MAX_ARRAY_BYTES, MANIFEST: MAX_JSON_BYTES, REFERENCE: MAX_JSON_BYTES}
"""The largest files that are read at all."""

RESTORE = "restore it from a copy, or train or import the model again"

UNREADABLE = (
    *(ValueError, OSError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError),
    *(TypeError, OverflowError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What numpy and zipfile raise on a file that only looks like an archive of arrays."""


class Manifest(BaseModel):
    """What a bundle says of itself."""

    model_config = ConfigDict(frozen=True)

    format: int
    version: str
    created_at: str
    sha256: dict[str, str]
    estimator: str
    libraries: dict[str, str]
    features: tuple[str, ...]
    scoring: Scoring
    thresholds: Thresholds
    training: dict[str, Any]
    metrics: dict[str, Any]


class ServingModel:
    """A model version that can serve: `shared.assessment.Model` over the kernel."""

    def __init__(self, manifest: Manifest, trees: Trees) -> None:
        engine = Engine(trees, manifest.scoring, width=len(manifest.features))
        self.manifest = manifest
        self.version = manifest.version
        self.thresholds = manifest.thresholds
        self.feature_names = manifest.features
        self.base = manifest.scoring.base
        self.score_one = engine.score_one
        self.score = engine.score
        self.explain = engine.explain


def write_bundle(
    models_dir: Path,
    *,
    trees: Trees,
    scoring: Scoring,
    features: Sequence[str],
    thresholds: Thresholds,
    estimator: str,
    libraries: dict[str, str],
    created_at: str,
    training: dict[str, Any],
    metrics: dict[str, Any],
    reference: dict[str, Any],
) -> Manifest:
    """Writes a new version below `models_dir`, whole or not at all.

    Its name is the time it was made (UTC) and the first 8 digits of the sha256 of its trees.

    Raises:
        BundleError: the trees cannot be scored with these features, or the version is there already.
        OSError: the directory cannot be written to.
    """
    problem = trees.problem(len(features)) or scoring.problem(trees)
    if problem is not None:
        raise BundleError(f"the model cannot be written as a bundle: {problem}")
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **asdict(trees))
    contents = {TREES: arrays.getvalue(), REFERENCE: orjson.dumps(reference, option=orjson.OPT_INDENT_2)}
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    version = f"{created_at[:19].replace('-', '').replace(':', '')}-{sha256[TREES][:8]}"
    manifest = Manifest(
        format=FORMAT,
        version=version,
        created_at=created_at,
        sha256=sha256,
        estimator=estimator,
        libraries=libraries,
        features=tuple(features),
        scoring=scoring,
        thresholds=thresholds,
        training=training,
        metrics=metrics,
    )
    contents[MANIFEST] = orjson.dumps(manifest.model_dump(), option=orjson.OPT_INDENT_2)
    _write_directory(models_dir / version, contents)
    return manifest


def load_model(directory: Path) -> ServingModel:
    """Reads a bundle, checks all of it, and makes it ready to score.

    Raises:
        BundleError: it is missing, truncated, altered, of a newer format, or no model; names bundle and file.
    """
    manifest = read_manifest(directory)
    contents = {name: _read_file(directory, name) for name in (TREES, REFERENCE)}
    for name, content in contents.items():
        if manifest.sha256.get(name) != hashlib.sha256(content).hexdigest():
            raise _refused(directory, name, "was altered or truncated: its sha256 is not the one in the manifest")
    trees = _read_trees(directory, contents[TREES])
    problem = trees.problem(len(manifest.features)) or manifest.scoring.problem(trees)
    if problem is not None:
        raise _refused(directory, TREES, problem)
    return ServingModel(manifest, trees)


def read_manifest(directory: Path) -> Manifest:
    """Reads what a bundle says of itself.

    Raises:
        BundleError: there is no readable manifest, or it is of a newer format, or of another version.
    """
    if not directory.is_dir():
        raise BundleError(f"model bundle {directory}: not there; `riskline models list` shows those that are")
    content = _read_file(directory, MANIFEST)
    try:
        raw = orjson.loads(content)
        newer = isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT
    except orjson.JSONDecodeError:
        raise _refused(directory, MANIFEST, "is not JSON: it was truncated or altered") from None
    if newer:
        raise BundleError(
            f"model bundle {directory}: {MANIFEST} has format {raw['format']}, this Riskline reads up to {FORMAT}; "
            "upgrade Riskline, or activate an older version"
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        wrong = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
        raise _refused(directory, MANIFEST, f"does not say what it must in: {wrong}") from None
    if manifest.format != FORMAT:
        raise _refused(directory, MANIFEST, f"has format {manifest.format}, which there never was")
    if manifest.version != directory.name:
        raise _refused(directory, MANIFEST, f"is of version {manifest.version}: the directory was renamed or mixed up")
    return manifest


def _read_file(directory: Path, name: str) -> bytes:
    path = directory / name
    if path.is_symlink():
        raise _refused(directory, name, "is a link, which a bundle never has")
    try:
        if path.stat().st_size > MAX_BYTES[name]:
            raise _refused(directory, name, f"is larger than {MAX_BYTES[name]} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise _refused(directory, name, "is missing") from None
    except OSError as error:
        raise _refused(directory, name, f"cannot be read ({error.strerror})") from None


def _read_trees(directory: Path, content: bytes) -> Trees:
    names = {field.name for field in fields(Trees)}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {member.filename: member.file_size for member in archive.infolist()}
        if set(members) != {f"{name}.npy" for name in names} or len(members) != len(names):
            raise _refused(directory, TREES, f"has not the arrays {', '.join(sorted(names))}")
        if max(members.values()) > MAX_ARRAY_BYTES:
            raise _refused(directory, TREES, f"has an array of more than {MAX_ARRAY_BYTES} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return Trees(**{name: arrays[name] for name in names})
    except UNREADABLE as error:
        raise _refused(directory, TREES, f"is not a file of arrays ({error})") from None


def _write_directory(directory: Path, contents: dict[str, bytes]) -> None:
    if directory.exists():
        raise BundleError(f"model bundle {directory}: there is one of this version already")
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=directory.parent))
    try:
        for name, content in contents.items():
            with (unfinished / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        unfinished.chmod(0o755)
        unfinished.rename(directory)
        sync_directory(directory.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def sync_directory(directory: Path) -> None:
    """Makes what was renamed into a directory outlive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(directory: Path, name: str, problem: str) -> BundleError:
    return BundleError(f"model bundle {directory}: {name} {problem}; {RESTORE}")


def quantiles(values: Rows) -> list[float]:
    """The 0th, 1st, … 100th percentile."""
    result: list[float] = np.quantile(values, np.linspace(0, 1, 101)).tolist()
    return result
