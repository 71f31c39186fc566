"""`make sbom`: the CycloneDX bill of materials of a serving installation: packages, versions, hashes, licences.

The same lock file and the same installed packages give the same bytes.
"""

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Any

SPEC_VERSION = "1.6"

LICENCE_CLASSIFIER = "License :: "

LONGEST_NAME = 60
"""The longest name in the old field `License`; a longer text is the licence itself."""


def bill(cyclonedx: Path, lock: Path, project: Path) -> dict[str, Any]:
    """The bill of materials of a lock file.

    Raises:
        subprocess.CalledProcessError: the command cannot make one; it says why on standard error.
    """
    command = [str(cyclonedx), "requirements", "--output-reproducible", "--spec-version", SPEC_VERSION]
    command += ["--pyproject", str(project), str(lock)]
    # it warns that a lock file does not say which package needs which
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore::UserWarning"}
    made = subprocess.run(command, env=quiet, stdout=subprocess.PIPE, check=True)
    document: dict[str, Any] = json.loads(made.stdout)
    for component in document["components"]:
        # the lock file's own line, which has all the hashes once more
        del component["description"]
        licence = licence_of(component["name"], component["version"])
        if licence is not None:
            component["licenses"] = [licence]
    return document


def licence_of(name: str, locked: str) -> dict[str, Any] | None:
    """The licence that an installed package declares; None where it is not installed here, or says none."""
    try:
        if version(name) != locked:
            return None
        declared = metadata(name)
    except PackageNotFoundError:
        return None
    if "License-Expression" in declared:
        return {"acknowledgement": "declared", "expression": declared["License-Expression"]}
    named = _name(declared)
    return None if named is None else {"license": {"acknowledgement": "declared", "name": named}}


def _name(declared: PackageMetadata) -> str | None:
    """By the metadata of before License-Expression (PEP 639): a classifier, or a short text."""
    classifiers = [word for word in declared.get_all("Classifier") or [] if word.startswith(LICENCE_CLASSIFIER)]
    if classifiers:
        return ", ".join(word.rpartition(" :: ")[2] for word in classifiers)
    text = declared["License"].strip() if "License" in declared else ""
    return text if text and len(text) <= LONGEST_NAME and "\n" not in text else None


def main(words: list[str] | None = None) -> int:
    """Writes the bill."""
    parser = argparse.ArgumentParser(prog="make sbom", description=__doc__.splitlines()[0])
    parser.add_argument("lock", type=Path, metavar="LOCK")
    parser.add_argument("--cyclonedx", type=Path, required=True, help="the command")
    parser.add_argument("--project", type=Path, default=Path("pyproject.toml"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(words)
    try:
        document = bill(given.cyclonedx, given.lock, given.project)
    except subprocess.CalledProcessError as error:
        print(
            f"riskline: {given.cyclonedx} could not read {given.lock} (exit code {error.returncode})", file=sys.stderr
        )
        return 1
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    licensed = sum("licenses" in component for component in document["components"])
    print(f"{given.out}: {len(document['components'])} components, {licensed} with a licence")
    return 0


if __name__ == "__main__":
    sys.exit(main())
