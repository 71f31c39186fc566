"""What people call a model version, and why it was made: kept beside its bundle, which stays as it is."""

from pathlib import Path
from typing import NamedTuple

import orjson

from riskline.shared.errors import BundleError
from riskline.shared.model.untrusted import opened

FILE = "description.json"

MOST_NAME, MOST_NOTE = 60, 500
"""Characters: a name stands in headings and lists, a note is a sentence or two."""

MAX_BYTES = 10_000


class Description(NamedTuple):
    """A name and a note; each may be empty."""

    name: str = ""
    note: str = ""

    def problem(self) -> str | None:
        """Why this cannot be kept; None where it can."""
        for what, text, most in (("name", self.name, MOST_NAME), ("note", self.note, MOST_NOTE)):
            if len(text) > most:
                return f"the {what} has {len(text)} characters; {most} are allowed"
            if not all(each.isprintable() for each in text):
                return f"the {what} may have no line breaks and no control characters"
        return None


def describe(directory: Path, description: Description) -> None:
    """Keeps it with a version, in place of what was kept.

    Raises:
        BundleError: it cannot be kept, or not written.
    """
    if problem := description.problem():
        raise BundleError(problem)
    made = directory / f".{FILE}.new"
    try:
        made.write_bytes(orjson.dumps(description._asdict()))
        made.replace(directory / FILE)
    except OSError as error:
        raise BundleError(f"{directory / FILE} cannot be written: {error}") from error


def description_in(directory: Path) -> Description:
    """What is kept with a version; nothing where that is not as it was written, as it decides nothing."""
    try:
        with opened(directory / FILE, MAX_BYTES) as file:
            kept = orjson.loads(file.read())
    except (OSError, ValueError):
        return Description()
    if not isinstance(kept, dict):
        return Description()
    texts = [kept.get(name) for name in Description._fields]
    found = Description(*(text if isinstance(text, str) else "" for text in texts))
    return found if found.problem() is None else Description()
