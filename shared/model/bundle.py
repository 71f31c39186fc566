"""A model version on disk: a directory of arrays and JSON, no code in it, checked whenever it is read.

trees.npz        the ensemble as flat arrays of numbers (see trees.py and untrusted.py)
twin.npz         of a model with history that has a twin: the ensemble that decides without history
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
from copy import copy
from dataclasses import asdict, dataclass, fields
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from riskline.shared.domain.assessment import Rows
from riskline.shared.domain.history.plan import History
from riskline.shared.domain.policy import Thresholds
from riskline.shared.errors import BundleError
from riskline.shared.model.engine import Engine
from riskline.shared.model.reasons import ValueWording, quantiles_problem
from riskline.shared.model.trees import FLOATS, MAX_NODES, MAX_WIDTH, Scoring, Trees
from riskline.shared.model.untrusted import arrays_of, json_of, open_regular, printable

FORMAT, NEWEST_FORMAT = 1, 2
"""The formats of a bundle, and of one with history or weights: releases that know neither refuse the second."""

TREES, TWIN, MANIFEST, REFERENCE = "trees.npz", "twin.npz", "manifest.json", "reference.json"
MAX_JSON_BYTES = 10_000_000
MAX_ARRAY_BYTES = 8 * MAX_NODES + 1024
MAX_TREES_BYTES = len(fields(Trees)) * MAX_ARRAY_BYTES
MAX_BYTES = {TREES: MAX_TREES_BYTES, TWIN: MAX_TREES_BYTES, MANIFEST: MAX_JSON_BYTES, REFERENCE: MAX_JSON_BYTES}
"""The largest files that are read."""

RESTORE = "restore it from a copy, or train or import the model again"

KINDS = {field.name: np.float64 if field.name in FLOATS else np.int32 for field in fields(Trees)}


def _shown(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has characters that cannot be shown")
    return text


Word = Annotated[str, Field(max_length=200), AfterValidator(_shown)]
"""A short text that messages and lists show."""

Sentence = Annotated[str, Field(max_length=2_000), AfterValidator(_shown)]


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """A tree ensemble, with its columns and what is known of it."""

    trees: Trees
    scoring: Scoring
    features: Sequence[str]
    thresholds: Thresholds
    estimator: str
    metrics: dict[str, Any]
    reference: dict[str, Any]
    """Its part of reference.json."""

    def problem(self) -> str | None:
        """The reason that it cannot be scored; None where it can."""
        return self.trees.problem(len(self.features)) or self.scoring.problem(self.trees, len(self.features))

    def archive(self) -> bytes:
        """Its trees as a file."""
        arrays = io.BytesIO()
        np.savez_compressed(arrays, **asdict(self.trees))
        return arrays.getvalue()


class TwinManifest(BaseModel):
    """What a manifest says of the twin."""

    model_config = ConfigDict(frozen=True)

    estimator: Word
    features: tuple[Word, ...] = Field(max_length=MAX_WIDTH)
    scoring: Scoring
    thresholds: Thresholds
    metrics: dict[str, Any]


class HistoryManifest(BaseModel):
    """What a manifest says of the history that the columns were made of."""

    model_config = ConfigDict(frozen=True)

    fingerprint: Word
    columns: dict[Word, Sentence] = Field(max_length=MAX_WIDTH)
    """What each column says, for messages."""


def _is_none(value: object) -> bool:
    return value is None


class Manifest(BaseModel):
    """The manifest of a bundle; `history` and `twin` are members only where they are set."""

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
    history: HistoryManifest | None = Field(default=None, exclude_if=_is_none)
    twin: TwinManifest | None = Field(default=None, exclude_if=_is_none)

    @property
    def needed_format(self) -> int:
        """The least format that has what this says."""
        weighed = self.scoring.linear is not None or (self.twin is not None and self.twin.scoring.linear is not None)
        return NEWEST_FORMAT if weighed or self.history is not None else FORMAT

    @property
    def files(self) -> tuple[str, ...]:
        """The files beside the manifest."""
        return (TREES, REFERENCE) if self.twin is None else (TREES, TWIN, REFERENCE)


class ServingModel:
    """A model version that can serve: `riskline.shared.domain.assessment.Model` over the kernel."""

    def __init__(
        self,
        manifest: Manifest,
        trees: Trees,
        reference: dict[str, Any],
        *,
        part: TwinManifest | None = None,
        twin: "ServingModel | None" = None,
    ) -> None:
        """`part` says what the trees are, where they are not the manifest's own."""
        said = manifest if part is None else part
        words = ValueWording(reference.get("features", {}))
        engine = Engine(trees, said.scoring, width=len(said.features))
        self.manifest = manifest
        self.version = manifest.version
        self.thresholds = said.thresholds
        self.feature_names = said.features
        self.scoring = said.scoring
        self.base = said.scoring.base
        self.twin = twin
        self.score_one = engine.score_one
        self.score = engine.score
        self.explain = engine.explain
        self.words = words.of
        self.usual = words.usual
        self.common = words.common
        self.rows_sketch = reference.get("rows_sketch")
        """The sketch by which evaluation finds training rows; None in a bundle of an older release."""

    def without_twin(self) -> "ServingModel":
        """The same model, which decides no transaction without its history."""
        alone = copy(self)
        alone.twin = None
        return alone


def write_bundle(
    models_dir: Path,
    model: Ensemble,
    *,
    libraries: dict[str, str],
    created_at: str,
    training: dict[str, Any],
    history: History | None = None,
    twin: Ensemble | None = None,
) -> Manifest:
    """Writes a new version below `models_dir`, whole or not at all.

    Its name is its time of creation (UTC) and the first 8 digits of the sha256 of its content.
    `history` is that of the transaction class; `twin` decides transactions that lack theirs.

    Raises:
        BundleError: the trees cannot be scored with their features, or the version is there already.
        OSError: the directory cannot be written to.
    """
    for each, name in ((model, "the model"), (twin, "the twin")):
        if each is not None and (problem := each.problem()) is not None:
            raise BundleError(f"{name} cannot be written as a bundle: {problem}")
    contents = {TREES: model.archive()}
    reference = model.reference
    if twin is not None:
        contents[TWIN] = twin.archive()
        reference = {**reference, "twin": twin.reference}
    contents[REFERENCE] = orjson.dumps(reference)
    unnamed = Manifest(
        format=FORMAT,
        version="",
        created_at=created_at,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        estimator=model.estimator,
        libraries=libraries,
        features=tuple(model.features),
        scoring=model.scoring,
        thresholds=model.thresholds,
        training=training,
        metrics=model.metrics,
        history=_described_history(history),
        twin=_described_twin(twin),
    )
    return _write_named(models_dir, unnamed.model_copy(update={"format": unnamed.needed_format}), contents)


def _described_history(history: History | None) -> HistoryManifest | None:
    return None if history is None else HistoryManifest(fingerprint=history.fingerprint, columns=history.definitions)


def _described_twin(twin: Ensemble | None) -> TwinManifest | None:
    if twin is None:
        return None
    return TwinManifest(
        estimator=twin.estimator,
        features=tuple(twin.features),
        scoring=twin.scoring,
        thresholds=twin.thresholds,
        metrics=twin.metrics,
    )


def write_with_thresholds(
    directory: Path, *, thresholds: Thresholds, created_at: str, of_twin: bool = False
) -> Manifest:
    """Writes beside a bundle a new version that differs in its thresholds only, or in its twin's where `of_twin`.

    Its manifest names the first.

    Raises:
        BundleError: the bundle cannot serve, has these thresholds, or has no twin.
        OSError: the directory cannot be written to.
    """
    origin = load_model(directory).manifest
    part = origin.twin if of_twin else origin
    if part is None:
        raise no_twin(origin)
    if part.thresholds == thresholds:
        raise BundleError(f"{'the twin of ' if of_twin else ''}model {origin.version} has these thresholds already")
    contents = {}
    for name in origin.files:
        with _opened(directory, name, origin) as file:
            contents[name] = file.read()
    note: dict[str, Any] = {"version": origin.version, "thresholds": part.thresholds.model_dump()}
    changed: dict[str, Any] = {"thresholds": thresholds}
    if of_twin:
        note["twin"] = True
        changed = {"twin": part.model_copy(update=changed)}
    changes = {"created_at": created_at, "training": {**origin.training, "made_of": note}, **changed}
    return _write_named(directory.parent, origin.model_copy(update=changes), contents)


def no_twin(manifest: Manifest) -> BundleError:
    """The error for a version whose twin is asked for, and that has none."""
    return BundleError(f"model {manifest.version} has no twin that decides without history")


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
        twin_reference = _checked(reference.get("twin", {})) if manifest.twin else {}
    trees = _trees(directory, TREES, manifest, manifest)
    # older versions are named by their trees
    if directory.name.rpartition("-")[2] not in (_digest(said), manifest.sha256[TREES][:8]):
        raise _refused(directory, MANIFEST, "was altered: it does not say what the version was named by")
    twin = None
    if manifest.twin is not None:
        twin_trees = _trees(directory, TWIN, manifest, manifest.twin)
        twin = ServingModel(manifest, twin_trees, twin_reference, part=manifest.twin)
    return ServingModel(manifest, trees, reference, twin=twin)


def _trees(directory: Path, name: str, manifest: Manifest, part: Manifest | TwinManifest) -> Trees:
    """The trees of a file, checked against what the manifest says of them."""
    with _opened(directory, name, manifest) as file:
        trees = Trees(**arrays_of(file, KINDS, most_bytes=MAX_ARRAY_BYTES))
        problem = trees.problem(len(part.features)) or part.scoring.problem(trees, len(part.features))
        if problem is not None:
            raise ValueError(problem)
    return trees


def read_manifest(directory: Path) -> Manifest:
    """Reads the manifest of a bundle.

    Raises:
        BundleError: there is no readable manifest, or it is of a newer format, or of another version.
    """
    return _manifest(directory)[0]


def _manifest(directory: Path) -> tuple[Manifest, dict[str, Any]]:
    with _opened(directory, MANIFEST) as file:
        raw = json_of(file.read())
    newer = isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > NEWEST_FORMAT
    if newer:
        raise BundleError(
            f"model bundle {directory}: {MANIFEST} has format {raw['format']}, this Riskline reads up to "
            f"{NEWEST_FORMAT}; upgrade Riskline, or activate an older version"
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        wrong = sorted({".".join(map(str, each["loc"])) for each in problems})
        raise _refused(directory, MANIFEST, f"does not say what it must in: {', '.join(wrong[:9])}") from None
    if manifest.format not in (FORMAT, NEWEST_FORMAT):
        raise _refused(directory, MANIFEST, f"has format {manifest.format}, which there never was")
    if manifest.format != manifest.needed_format:
        raise _refused(
            directory, MANIFEST, f"has format {manifest.format}, and says what format {manifest.needed_format} has"
        )
    if manifest.twin is not None and manifest.history is None:
        raise _refused(directory, MANIFEST, "says of a twin, and not of the history that it lacks")
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
