"""The model versions: a directory of bundles, and a file that names the active one."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from riskline.shared.domain.inputs import Inputs
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import MANIFEST, Manifest, ServingModel, load_model, read_manifest, sync_directory
from riskline.shared.model.description import Description, describe, description_in
from riskline.shared.model.mismatch import mismatch
from riskline.shared.model.untrusted import open_regular

ACTIVE, PREVIOUS = "active", "previous"
"""Files with one version each; replaced by a rename, so that no reader sees half a name."""

REPORT = "report.html"
"""The evaluation report beside the files of a bundle. It may be replaced; the version stays as it is."""

MAX_REPORT_BYTES = 5_000_000

MAX_POINTER_BYTES = 1_000

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)

SECOND = len("20261124T031500")


class Registry:
    """The bundles of an installation. With a pinned version, that one serves whatever is active."""

    def __init__(self, models_dir: Path, *, pinned_version: str | None = None) -> None:
        self._models_dir = models_dir
        self._pinned_version = pinned_version

    def versions(self) -> list[str]:
        """The versions that are here, oldest first."""
        if not self._models_dir.is_dir():
            return []
        made = [path for path in self._models_dir.iterdir() if path.is_dir() and _may_be_version(path.name)]
        return [path.name for path in sorted(made, key=_age)]

    def active_version(self) -> str | None:
        """The version that should serve.

        Raises:
            BundleError: the file that names it says none; to activate one mends it.
        """
        return self._pinned_version if self._pinned_version is not None else self._named(ACTIVE)

    def previous_version(self) -> str | None:
        """The version that a rollback makes active; None if there is none.

        Raises:
            BundleError: the file that names it says none.
        """
        return self._named(PREVIOUS)

    def manifest(self, version: str) -> Manifest:
        """The manifest of a version.

        Raises:
            BundleError: the version does not exist, or its manifest cannot be read.
        """
        return read_manifest(self._directory(version))

    def report_path(self, version: str) -> Path:
        """The path of a version's report, which need not exist.

        Raises:
            BundleError: `version` is no valid name of a version.
        """
        return self._directory(version) / REPORT

    def describe(self, version: str, description: Description) -> None:
        """Stores the name and the note of a version.

        Raises:
            BundleError: the description is not valid, or `version` is no valid name of a version.
        """
        describe(self._directory(version), description)

    def description(self, version: str) -> Description:
        """The name and the note of a version.

        Raises:
            BundleError: `version` is no valid name of a version.
        """
        return description_in(self._directory(version))

    def report(self, version: str) -> bytes | None:
        """The report of a version, HTML; None if there is none.

        Raises:
            BundleError: the report cannot be read, or `version` is no valid name of a version.
        """
        path = self.report_path(version)
        try:
            with open_regular(path, MAX_REPORT_BYTES) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise BundleError(
                f"{path} cannot be read ({error}): have it written anew by `riskline evaluate FILE --model {version} "
                "--keep-report`"
            ) from None

    def load_active(self, inputs: Inputs) -> ServingModel:
        """The model that should serve.

        Raises:
            BundleError: no version is active, or it is damaged, or made for other inputs.
        """
        version = self.active_version()
        if version is None:
            raise BundleError(self._nothing_active())
        return self.load(version, inputs)

    def load(self, version: str, inputs: Inputs | None = None) -> ServingModel:
        """One version, checked.

        Raises:
            BundleError: the version does not exist, is damaged, or was made for other inputs than these.
        """
        model = load_model(self._directory(version))
        if inputs is not None and (problem := mismatch(model.manifest, inputs)) is not None:
            raise BundleError(problem)
        return model

    def activate(self, version: str, inputs: Inputs | None = None) -> None:
        """Makes a version the active one, after its checks.

        Raises:
            BundleError: the version cannot serve; the active one stays.
        """
        self.load(version, inputs)
        active = self._served_until_now()
        if active == version:
            return
        if active is not None:
            self._name(PREVIOUS, active)
        self._name(ACTIVE, version)

    def _served_until_now(self) -> str | None:
        """The active version; None where what names it is damaged, or it is no longer here to go back to."""
        try:
            active = self._named(ACTIVE)
        except BundleError:
            return None
        return active if active is not None and (self._models_dir / active).is_dir() else None

    def rollback(self, inputs: Inputs | None = None) -> str:
        """Makes the previous version active, after its checks; returns it.

        Raises:
            BundleError: there is no previous version, or it cannot serve; the active one stays.
        """
        previous = self.previous_version()
        if previous is None:
            raise BundleError("no version was active before this one: choose one by `riskline models activate VERSION`")
        self.activate(previous, inputs)
        return previous

    def _directory(self, version: str) -> Path:
        if not _may_be_version(version):
            raise BundleError(
                f"{version!r} is not the name of a model version; `riskline models list` shows those here"
            )
        return self._models_dir / version

    def _nothing_active(self) -> str:
        if self.versions():
            return f"no model in {self._models_dir} is active: choose one by `riskline models activate VERSION`"
        return f"no model in {self._models_dir}: make one by `riskline train FILE`"

    def _named(self, pointer: str) -> str | None:
        try:
            with open_regular(self._models_dir / pointer, MAX_POINTER_BYTES) as file:
                version = file.read().decode().strip()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._damaged(pointer, str(error)) from None
        if version and not _may_be_version(version):
            raise self._damaged(pointer, "it names no version")
        return version or None

    def _damaged(self, pointer: str, why: str) -> BundleError:
        return BundleError(f"{self._models_dir / pointer} cannot be read ({why}): activate a version anew")

    def _name(self, pointer: str, version: str) -> None:
        try:
            # a unique name: a process of another container may have the same pid, and write here, too
            with TemporaryDirectory(prefix=f".{pointer}-", dir=self._models_dir) as unfinished:
                self._replace(self._models_dir / pointer, Path(unfinished) / pointer, version)
        except OSError as error:
            remedy = "mend that, and activate the version again"
            if error.errno in READ_ONLY:
                remedy = (
                    "name a version in RISKLINE_MODEL_VERSION where API and workers run, or activate it in a directory "
                    "that can be written to"
                )
            raise BundleError(f"{self._models_dir} cannot be written to ({error.strerror}): {remedy}") from None

    def _replace(self, pointer: Path, unfinished: Path, version: str) -> None:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(version + "\n")
            file.flush()
            os.fsync(file.fileno())
        if pointer.is_dir() and not pointer.is_symlink():
            # not deleted: its content is unknown
            pointer.rename(mkdtemp(prefix=f".{pointer.name}-was-", dir=self._models_dir))
        unfinished.replace(pointer)
        sync_directory(self._models_dir)


def _may_be_version(name: str) -> bool:
    is_one_word = name.isprintable() and name.split() == [name]
    return is_one_word and Path(name).name == name and not name.startswith(".") and name not in (ACTIVE, PREVIOUS)


def _age(directory: Path) -> tuple[str, int, str]:
    """Sorts by the second of creation in a version's name, and within one by the manifest's time."""
    try:
        # the directory's time changes with its report
        written = (directory / MANIFEST).stat().st_mtime_ns
    except OSError:
        written = 0
    return directory.name[:SECOND], written, directory.name
