"""Pages from templates: escaped, under a strict content security policy, never kept by a browser."""

import hashlib
import math
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import falcon.asgi
import jinja2
from markupsafe import Markup

from riskline.ingest.console.frame.sessions import Session

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    # not "no-referrer": with it a browser says of our own forms that they come from nowhere
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    # a page is for the present session alone
    "Cache-Control": "no-store",
}

UNITS = ((1, 0.001, "ms"), (100, 1, "s"), (6_000, 60, "min"), (math.inf, 3600, "h"))
"""The units of durations: the bound in s below which each is used, and its length in s."""

SPANS = ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h"), (math.inf, 86_400, "days"))
"""The units of ages: the bound in s below which each is used, and its length in s."""

STYLE_SHEET = re.compile(rb"<style>(.*?)</style>", re.DOTALL)

MENU = (
    ("", "Overview"),
    ("/decisions", "Decisions"),
    ("/try", "Try one"),
    ("/failed", "Failed"),
    ("/models", "Models"),
    ("/changes", "Changes"),
)


class Badge(NamedTuple):
    """The number beside a page's name in the navigation, and in words what it counts."""

    number: int
    words: str


Badges = Mapping[str, Badge]
"""Badges by the page's path below the console's."""


def no_badges() -> Badges:
    """The badges of a console that has not been given any."""
    return {}


class Renderer:
    """The templates of the console."""

    def __init__(self, *, badges: Callable[[], Badges] = no_badges) -> None:
        """`badges` is called for each page, so it must do no I/O."""
        self._badges = badges
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("riskline.ingest.console"),
            autoescape=True,
            auto_reload=False,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(number=number, moment=moment, percent=percent, duration=duration)
        self._environment.filters.update(clock=clock, ago=ago)

    def load(self) -> None:
        """Compiles all templates, so that the first page does not wait the tenth of a second that it takes."""
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def text(self, template: str, values: Mapping[str, Any]) -> str:
        """A template filled in."""
        return self._environment.get_template(template).render(values)

    def fragment(self, resp: falcon.asgi.Response, text: str) -> None:
        """Answers with a part of a page."""
        resp.text = text
        resp.content_type = "text/html; charset=utf-8"
        resp.set_headers(HEADERS)

    @staticmethod
    def foreign_page(resp: falcon.asgi.Response, page: bytes) -> None:
        """Answers with a page from a file: with its style sheets, but without scripts or forms."""
        hashes = (b64encode(hashlib.sha256(each).digest()).decode() for each in STYLE_SHEET.findall(page))
        styles = " ".join(f"'sha256-{each}'" for each in hashes) or "'none'"
        policy = f"default-src 'none'; style-src {styles}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        resp.data = page
        resp.content_type = "text/html; charset=utf-8"
        resp.set_headers({**HEADERS, "Content-Security-Policy": f"{policy}; sandbox"})

    def page(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        template: str,
        *,
        session: Session | None = None,
        **values: Any,
    ) -> None:
        """Answers with a page, or with a part of one where the template is that."""
        base = f"{req.root_path}/console"
        badges = self._badges()
        common = {
            "base": base,
            "session": session,
            "menu": [(base + path, name, req.path == f"/console{path}", badges.get(path)) for path, name in MENU],
            "sought": "",
            "here": req.relative_uri,
        }
        resp.text = self.text(template, {**common, **values})
        resp.content_type = "text/html; charset=utf-8"
        resp.set_headers(HEADERS)


def number(value: float | None, digits: int = 0) -> str:
    """A number with a comma between thousands; a dash for none."""
    return "–" if value is None else f"{value:,.{digits}f}"  # noqa: RUF001  # it is read, not computed with


def percent(value: float | None) -> str:
    """A part of a whole."""
    return "–" if value is None else f"{100 * value:.1f} %"  # noqa: RUF001  # same


def duration(seconds: float | None) -> str:
    """A duration in a readable unit: three digits below 1 s, else two."""
    if seconds is None:
        return "–"  # noqa: RUF001  # same
    per_unit, unit = next((per_unit, unit) for below, per_unit, unit in UNITS if seconds < below)
    value = seconds / per_unit
    digits = 0 if value == 0 else (2 if unit == "ms" else 1) - math.floor(math.log10(value))
    return f"{value:,.{min(max(digits, 0), 3)}f} {unit}"


def moment(value: str | float | datetime | None) -> str:
    """A time in UTC to the second, from RFC 3339 or seconds since 1970; a dash for what is none."""
    at = in_utc(value)
    return "–" if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")  # noqa: RUF001  # same


def in_utc(value: str | float | datetime | None) -> datetime | None:
    """A time from RFC 3339 or seconds since 1970; None for anything else, as others may write to Redis."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif isinstance(value, int | float):
            value = datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return value.astimezone(UTC) if isinstance(value, datetime) else None


def clock(value: str | float | datetime | None) -> Markup:
    """The time of day in UTC, with the whole of it as its title; a script adds the reader's own time to that."""
    at = in_utc(value)
    return _timed(at, "–" if at is None else at.strftime("%H:%M:%S"))  # noqa: RUF001  # same


def ago(value: str | float | datetime | None, now: datetime | None = None) -> Markup:
    """The distance of a time from now, with the time itself as its title."""
    at = in_utc(value)
    if at is None:
        return _timed(at, "–")  # noqa: RUF001  # same
    seconds = ((datetime.now(UTC) if now is None else now) - at).total_seconds()
    size, unit = next((size, unit) for below, size, unit in SPANS if abs(seconds) < below)
    span = f"{abs(seconds) / size:.0f} {unit}"
    return _timed(at, f"{span} ago" if seconds >= 0 else f"in {span}")


def _timed(at: datetime | None, text: str) -> Markup:
    if at is None:
        return Markup.escape(text)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), moment(at), text)
