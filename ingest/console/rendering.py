"""Pages from templates: escaped, under a strict content security policy, never kept by a browser."""

import hashlib
import math
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import falcon.asgi
import jinja2

from ingest.console.sessions import Session

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
    # what is on a page is for who is signed in now
    "Cache-Control": "no-store",
}

UNITS = ((1, 0.001, "ms"), (100, 1, "s"), (6_000, 60, "min"), (math.inf, 3600, "h"))
"""Of times: below how many seconds each is for, and how many seconds it has."""

STYLE_SHEET = re.compile(rb"<style>(.*?)</style>", re.DOTALL)

MENU = (
    ("", "Overview"),
    ("/decisions", "Decisions"),
    ("/try", "Try one"),
    ("/failed", "Failed"),
    ("/models", "Models"),
    ("/changes", "Changes"),
)


class Renderer:
    """The templates of the console."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("ingest.console"),
            autoescape=True,
            auto_reload=False,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(number=number, moment=moment, percent=percent, duration=duration)

    def load(self) -> None:
        """Compiles all templates, which takes a tenth of a second: nobody's first page shall have to wait for that."""
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
        """Answers with a page that lay in a file: with its style sheets, and without leave to do anything."""
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
        common = {
            "base": base,
            "session": session,
            "menu": [(base + path, name, req.path == f"/console{path}") for path, name in MENU],
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
    """A time that something took, in a unit that people read: three digits below a second, else two."""
    if seconds is None:
        return "–"  # noqa: RUF001  # same
    per_unit, unit = next((per_unit, unit) for below, per_unit, unit in UNITS if seconds < below)
    value = seconds / per_unit
    digits = 0 if value == 0 else (2 if unit == "ms" else 1) - math.floor(math.log10(value))
    return f"{value:,.{min(max(digits, 0), 3)}f} {unit}"


def moment(value: str | float | datetime | None) -> str:
    """A time in UTC to the second, from RFC 3339 or seconds since 1970; a dash for what is none."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif isinstance(value, int | float):
            value = datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        # what is in Redis need not be ours
        value = None
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if isinstance(value, datetime) else "–"  # noqa: RUF001  # same
