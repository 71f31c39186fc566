"""The conditions of a filter one by one, each with a link that removes it."""

from riskline.ingest.console.decisions.columns import OF_COLUMN
from riskline.ingest.console.decisions.filters import LEAST, MOST, OF_FIELD, Filter

WORDS = {
    "action": "action {}",
    "score_min": "score from {}",
    "score_max": "score to {}",
    "since": "since {} UTC",
    "until": "until {} UTC",
    "version": "version {}",
    "id": "id {}",
}


def chips_of(wanted: Filter) -> list[tuple[str, str]]:
    """Each condition in words, and the query of the filter without it."""
    return [
        (_in_words(name, value), wanted.query(**{name: "", "before": ""}))
        for name, value in wanted.given.items()
        if name != "before" and not name.startswith(OF_COLUMN)
    ]


def _in_words(name: str, value: str) -> str:
    if name in WORDS:
        return WORDS[name].format(value)
    bare = name.removeprefix(OF_FIELD)
    for end, words in ((LEAST, "from"), (MOST, "to")):
        if bare.endswith(end):
            return f"{bare.removesuffix(end)} {words} {value}"
    return f"{bare} is {value}"
