"""The view of a callback for others than its receiver: without the secrets in its URL."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, unquote_plus, urlsplit, urlunsplit

from riskline.shared.webhooks.event import bare_host

HIDDEN = "…"

LEAST_CHARACTERS = 3
"""The least length of a secret: shorter values occur in ordinary words."""


def bare_url(url: str) -> str:
    """The URL without user, password, query and fragment; a query is hinted at."""
    try:
        scheme, host, path, query, _ = urlsplit(url)
    except ValueError:
        return HIDDEN
    return urlunsplit((scheme, host.rpartition("@")[2], path, "", "")) + (f"?{HIDDEN}" if query else "")


def without_urls(record: Mapping[str, Any]) -> dict[str, Any]:
    """A transaction's record for others than its sender: of its callback's URL only the host."""
    hidden = {name: bare_host(record[name]) for name in ("callback_url", "default_callback_url") if name in record}
    return {**record, **hidden}


def without_secrets(callback: Mapping[str, Any]) -> dict[str, Any]:
    """A callback without the secrets of its URL, also where an error or a receiver's answer repeats the URL."""
    url = callback["url"]
    secrets = sorted(_secrets(url), key=len, reverse=True)
    shown = {**callback, "url": bare_url(url)}
    if "error" in callback:
        shown["error"] = _without(callback["error"], secrets)
    shown["attempts"] = [
        each | {name: _without(each[name], secrets) for name in ("error", "answer") if each.get(name)}
        for each in callback["attempts"]
    ]
    return shown


def _secrets(url: str) -> set[str]:
    try:
        _, host, _, query, _ = urlsplit(url)
    except ValueError:
        return {url} if url else set()
    values = [pair.partition("=")[2] or pair for pair in query.split("&")]
    found = {query, *values, *host.rpartition("@")[0].split(":")}
    found |= {spelled(each) for each in found for spelled in (unquote, unquote_plus)}
    found |= {quote(each, safe="") for each in found}
    return {each for each in found if len(each) >= LEAST_CHARACTERS}


def _without(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    # of an answer the beginning is kept, which may end within one
    cut = next((part for secret in secrets for part in _beginnings(secret) if text.endswith(part)), "")
    return text.removesuffix(cut) + HIDDEN if cut else text


def _beginnings(secret: str) -> Iterator[str]:
    return (secret[:length] for length in range(len(secret) - 1, LEAST_CHARACTERS, -1))
