"""A model version on disk: a directory of arrays and JSON, no code in it, checked whenever it is read.

trees.npz        the ensemble as flat arrays of numbers (see trees.py and untrusted.py)
manifest.json    what it is: format, sha256 of the other files, features, scoring, thresholds, training, metrics
reference.json   quantiles of features and scores on the training rows, for drift, and a sketch of these rows
"""

import errno
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.policy import Thresholds
from riskline.shared.errors import BundleError
from riskline.shared.model.engine import Engine
from riskline.shared.model.reasons import ValueWording, quantiles_problem
from riskline.shared.model.trees import FLOATS, MAX_NODES, MAX_WIDTH, Scoring, Trees
from riskline.shared.model.untrusted import arrays_of, json_of, open_regular, printable

FORMAT = 1
TREES, MANIFEST, REFERENCE = "trees.npz", "manifest.json", "reference.json"
MAX_JSON_BYTES = 10_000_000
MAX_ARRAY_BYTES = 8 * MAX_NODES + 1024
MAX_BYTES = {TREES: len(fields(Trees)) * MAX_ARRAY_BYTES, MANIFEST: MAX_JSON_BYTES, REFERENCE: MAX_JSON_BYTES}
"""The largest files that are read."""

RESTORE = "restore it from a copy, or train or import the model again"

KINDS = {field.name: np.float64 if field.name in FLOATS else np.int32 for field in fields(Trees)}


def _shown(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has characters that cannot be shown")
    return text


Word = Annotated[str, Field(max_length=200), AfterValidator(_shown)]
"""A short text that messages and lists show."""


class Manifest(BaseModel):
    """The manifest of a bundle."""

    model_config = ConfigDict(frozen=True)

    format: int
    version: Word
    created_at: Word
    sha256: dict[str, str]
    estimator: Word
    libraries: dict[Word, Word]
    features: tuple[Word, ...] = Field(max_length=MAX_WIDTH)
    scoring: Scoring
    thresholds: Thresholds
    training: dict[str, Any]
    metrics: dict[str, Any]


class ServingModel:
    """A model version that can serve: `riskline.shared.domain.assessment.Model` over the kernel."""

    def __init__(self, manifest: Manifest, trees: Trees, reference: dict[str, Any]) -> None:
        words = ValueWording(reference.get("features", {}))
        engine = Engine(trees, manifest.scoring, width=len(manifest.features))
        self.manifest = manifest
        self.version = manifest.version
        self.thresholds = manifest.thresholds
        self.feature_names = manifest.features
        self.scoring = manifest.scoring
        self.base = manifest.scoring.base
        self.score_one = engine.score_one
        self.score = engine.score
        self.explain = engine.explain
        self.words = words.of
        self.usual = words.usual
        self.common = words.common
        self.rows_sketch = reference.get("rows_sketch")
        """The sketch by which evaluation finds training rows; None in a bundle of an older release."""


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

    Its name is its time of creation (UTC) and the first 8 digits of the sha256 of its content.

    Raises:
        BundleError: the trees cannot be scored with these features, or the version is there already.
        OSError: the directory cannot be written to.
    """
    problem = trees.problem(len(features)) or scoring.problem(trees)
    if problem is not None:
        raise BundleError(f"the model cannot be written as a bundle: {problem}")
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **asdict(trees))
    contents = {TREES: arrays.getvalue(), REFERENCE: orjson.dumps(reference)}
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    unnamed = Manifest(
        format=FORMAT,
        version="",
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
    return _write_named(models_dir, unnamed, contents)


def write_with_thresholds(directory: Path, *, thresholds: Thresholds, created_at: str) -> Manifest:
    """Writes beside a bundle a new version that differs in its thresholds only; its manifest names the first.

    Raises:
        BundleError: the bundle cannot serve, or has these thresholds.
        OSError: the directory cannot be written to.
    """
    origin = load_model(directory).manifest
    if origin.thresholds == thresholds:
        raise BundleError(f"model {origin.version} has these thresholds already")
    contents = {}
    for name in (TREES, REFERENCE):
        with _opened(directory, name, origin) as file:
            contents[name] = file.read()
    note = {"version": origin.version, "thresholds": origin.thresholds.model_dump()}
    changes = {"created_at": created_at, "thresholds": thresholds, "training": {**origin.training, "made_of": note}}
    return _write_named(directory.parent, origin.model_copy(update=changes), contents)


def _write_named(models_dir: Path, unnamed: Manifest, contents: dict[str, bytes]) -> Manifest:
    """Writes a bundle of these files and its manifest, named by its time of creation and its content."""
    moment = unnamed.created_at[:19].replace("-", "").replace(":", "")
    manifest = unnamed.model_copy(update={"version": f"{moment}-{_digest(unnamed.model_dump())}"})
    contents[MANIFEST] = orjson.dumps(manifest.model_dump(), option=orjson.OPT_INDENT_2)
    for name, content in contents.items():
        if len(content) > MAX_BYTES[name]:
            raise BundleError(f"the model cannot be written as a bundle: {name} would have {len(content)} bytes")
    _write_directory(models_dir / manifest.version, contents)
    return manifest


def load_model(directory: Path) -> ServingModel:
    """Reads a bundle, checks all of it, and makes it ready to score.

    Raises:
        BundleError: it is missing, truncated, altered, of a newer format, or no model; names bundle and file.
    """
    manifest, said = _manifest(directory)
    with _opened(directory, REFERENCE, manifest) as file:
        reference = _checked(json_of(file.read()))
    with _opened(directory, TREES, manifest) as file:
        trees = Trees(**arrays_of(file, KINDS, most_bytes=MAX_ARRAY_BYTES))
        problem = trees.problem(len(manifest.features)) or manifest.scoring.problem(trees)
        if problem is not None:
            raise ValueError(problem)
    # older versions are named by their trees
    if directory.name.rpartition("-")[2] not in (_digest(said), manifest.sha256[TREES][:8]):
        raise _refused(directory, MANIFEST, "was altered: it does not say what the version was named by")
    return ServingModel(manifest, trees, reference)


def read_manifest(directory: Path) -> Manifest:
    """Reads the manifest of a bundle.

    Raises:
        BundleError: there is no readable manifest, or it is of a newer format, or of another version.
    """
    return _manifest(directory)[0]


def _manifest(directory: Path) -> tuple[Manifest, dict[str, Any]]:
    with _opened(directory, MANIFEST) as file:
        raw = json_of(file.read())
    newer = isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT
    if newer:
        raise BundleError(
            f"model bundle {directory}: {MANIFEST} has format {raw['format']}, this Riskline reads up to {FORMAT}; "
            "upgrade Riskline, or activate an older version"
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        wrong = sorted({".".join(map(str, each["loc"])) for each in problems})
        raise _refused(directory, MANIFEST, f"does not say what it must in: {', '.join(wrong[:9])}") from None
    if manifest.format != FORMAT:
        raise _refused(directory, MANIFEST, f"has format {manifest.format}, which there never was")
    if manifest.version != directory.name:
        raise _refused(directory, MANIFEST, f"is of version {manifest.version}: the directory was renamed or mixed up")
    return manifest, raw


def _digest(said: dict[str, Any]) -> str:
    """The part of a version's name that is a digest of its manifest."""
    return hashlib.sha256(orjson.dumps({**said, "version": ""})).hexdigest()[:8]


@contextmanager
def _opened(directory: Path, name: str, manifest: Manifest | None = None) -> Iterator[BufferedReader]:
    """Opens a file of a bundle, verified by the manifest; errors name the bundle and the file."""
    try:
        with open_regular(directory / name, MAX_BYTES[name]) as file:
            if manifest is not None:
                _check_sha256(file, manifest.sha256.get(name))
            yield file
    except FileNotFoundError:
        if directory.is_dir():
            raise _refused(directory, name, "is missing") from None
        raise BundleError(f"model bundle {directory}: not there; `riskline models list` shows those that are") from None
    except OSError as error:
        problem = (
            "is a link, which a bundle never has"
            if error.errno == errno.ELOOP
            else f"cannot be read ({error.strerror})"
        )
        raise _refused(directory, name, problem) from None
    except ValueError as error:
        raise _refused(directory, name, str(error)) from None


def _check_sha256(file: BufferedReader, expected: str | None) -> None:
    # a large file is not held in memory beside its arrays
    if hashlib.file_digest(file, "sha256").hexdigest() != expected:
        raise ValueError("was altered or truncated: its sha256 is not the one in the manifest")
    file.seek(0)


def _checked(reference: Any) -> dict[str, Any]:
    problem = quantiles_problem(reference)
    if problem is not None:
        raise ValueError(problem)
    checked: dict[str, Any] = reference
    return checked


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
    """Syncs a directory, so that a rename in it outlives a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(directory: Path, name: str, problem: str) -> BundleError:
    return BundleError(f"model bundle {directory}: {name} {printable(problem)}; {RESTORE}")


def quantiles(values: Rows) -> list[float]:
    """The 0th, 1st, … 100th percentile."""
    result: list[float] = np.quantile(values, np.linspace(0, 1, 101)).tolist()
    return result
