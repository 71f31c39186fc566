"""A model version's name and note by its users, in a file beside the unchanged bundle."""

from pathlib import Path
from typing import NamedTuple

import orjson

from riskline.shared.errors import BundleError
from riskline.shared.model.untrusted import open_regular

FILE = "description.json"

MOST_NAME, MOST_NOTE = 60, 500
"""Characters: a name stands in headings and lists, a note is a sentence or two."""

MAX_BYTES = 10_000


class Description(NamedTuple):
    """A name and a note; each may be empty."""

    name: str = ""
    note: str = ""

    def problem(self) -> str | None:
        """The reason that this cannot be stored; None where it can."""
        for what, text, most in (("name", self.name, MOST_NAME), ("note", self.note, MOST_NOTE)):
            if len(text) > most:
                return f"the {what} has {len(text)} characters; {most} are allowed"
            if not all(each.isprintable() for each in text):
                return f"the {what} may have no line breaks and no control characters"
        return None


def describe(directory: Path, description: Description) -> None:
    """Stores a version's name and note, in place of earlier ones.

    Raises:
        BundleError: it is not valid, or cannot be written.
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
    """The stored name and note of a version; empty where the file is malformed."""
    try:
        with open_regular(directory / FILE, MAX_BYTES) as file:
            kept = orjson.loads(file.read())
    except (OSError, ValueError):
        return Description()
    if not isinstance(kept, dict):
        return Description()
    texts = [kept.get(name) for name in Description._fields]
    found = Description(*(text if isinstance(text, str) else "" for text in texts))
    return found if found.problem() is None else Description()
