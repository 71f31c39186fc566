"""`riskline callbacks verify`: the signature of a callback that was kept, or the reason of its refusal."""

import json
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from riskline.cli.operate.api_keys import configured_secrets
from riskline.cli.options import JsonOption
from riskline.shared.errors import InstallationError, RisklineError
from riskline.shared.webhooks.signing import ID, SignatureCheck, age_text, check

REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/\d")
BOM = b"\xef\xbb\xbf"
END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


def verify(
    *,
    file: Annotated[Path, typer.Argument(help="A request as it came, or JSON with headers and body; - is stdin.")],
    as_json: JsonOption = False,
) -> None:
    """Say which secret signed a callback that was kept, and how old it is; exit 1 where none did."""
    secrets = configured_secrets()
    headers, body = read_request(_content(file))
    checked = _explained(secrets, headers, body, now=datetime.now(UTC))
    if as_json:
        message_id = {name.lower(): value for name, value in headers.items()}.get(ID)
        typer.echo(json.dumps({"webhook_id": message_id, **checked._asdict(), "refusal": checked.refusal}))
    else:
        typer.echo(_verdict_line(checked, len(secrets)))
    if checked.secret is None:
        raise typer.Exit(1)


def _content(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise InstallationError(f"{file} cannot be read: {error.strerror}") from error


def _explained(secrets: tuple[str, ...], headers: dict[str, str], body: bytes, *, now: datetime) -> SignatureCheck:
    checked = check(secrets, headers, body, now=now)
    bare = body.rstrip(b"\r\n")
    if checked.secret is None and bare != body and check(secrets, headers, bare, now=now).secret is not None:
        hint = "it fits without the line break at the end, which the body has not come with"
        return checked._replace(problem=f"{checked.problem}; {hint}")
    return checked


def _verdict_line(checked: SignatureCheck, count: int) -> str:
    if checked.secret is None or checked.age_seconds is None:
        return f"NOT VERIFIED: {checked.problem}"
    signed = f"signed by secret {checked.secret} of {count}, {age_text(checked.age_seconds)}"
    return signed if checked.refusal is None else f"{signed}; a receiver refuses it by now: {checked.refusal}"


def read_request(content: bytes) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a request that was kept: as it came, or as JSON with `headers` and `body`.

    Raises:
        RisklineError: it is neither.
    """
    return _from_json(content) if content.lstrip().startswith(b"{") else _from_http(content)


def _from_json(content: bytes) -> tuple[dict[str, str], bytes]:
    try:
        request = orjson.loads(content)
    except ValueError as error:
        raise RisklineError(f"the request is not JSON: {error}") from None
    headers, body = request.get("headers"), request.get("body")
    if not isinstance(headers, dict) or not isinstance(body, str):
        raise RisklineError('the request has no "headers" or its "body" is not a string: the body is to be as it came')
    if not all(isinstance(value, str) for value in headers.values()):
        raise RisklineError("the request has a header that is not a string")
    return headers, body.encode()


def _from_http(content: bytes) -> tuple[dict[str, str], bytes]:
    end = END_OF_HEAD.search(content)
    if end is None:
        raise RisklineError("the request has no blank line, which ends its headers")
    lines = content[: end.start()].removeprefix(BOM).splitlines()
    if lines and REQUEST_LINE.match(lines[0]):
        lines = lines[1:]
    pairs = []
    for number, line in enumerate(lines, 1):
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise RisklineError(f"the request has no header in line {number}; each is a line of its own, `name: value`")
        pairs.append((name.strip(), value.strip()))
    return joined(pairs), content[end.end() :]


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers of which one that comes again is added to the first, as receivers do it (RFC 9110, 5.3)."""
    headers = dict[str, str]()
    for name, value in pairs:
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers
