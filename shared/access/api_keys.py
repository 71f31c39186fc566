"""The keys of the API: their form, their stored line, and their scopes.

A key is `rk_`, 256 random bits and a checksum of both, in base64url. The stored line has its hash, not the key:

    NAME:SCOPES:CREATED:EXPIRES:SHA256[:RATE]      shop:score+submit:20261124T031500Z:20270222T031500Z:9f86d081884c7d65…

An ordinary hash is enough: 256 random bits cannot be guessed, so guessing need not be slow.
"""

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from secrets import token_bytes
from typing import Literal

from riskline.shared.access.rate import FORM_RULE, UNLIMITED, Rate, parse_rate

PREFIX = "rk_"
KEY = re.compile(r"rk_[A-Za-z0-9_-]{43}[A-Za-z0-9_-]{6}", re.ASCII)
CHECKSUM_CHARACTERS = 6
RANDOM_BYTES = 32

NAME = re.compile(r"(?!rk_)[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
NAME_RULE = f"1 to 64 of A-Z a-z 0-9 . _ - that begin with a letter or digit, and not with {PREFIX}"
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
TIME_FORMAT = "%Y%m%dT%H%M%SZ"
NEVER = "never"

COMMENT = "#"
SEPARATORS = re.compile(r"[,\s]+")
FORM = "NAME:SCOPES:CREATED:EXPIRES:SHA256[:RATE]"
PARTS = 5
HOW_TO_GET_ONE = "`riskline keys new --print-setting` prints one"


KeyRate = Rate | Literal["unlimited"] | None


class Scope(StrEnum):
    """A permission of a key."""

    SCORE = "score"
    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True)
class ApiKey:
    """A key's data, without the key."""

    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    digest: bytes = field(repr=False)
    rate: KeyRate = None
    """The key's own rate; None for the rate of all keys."""

    @property
    def identity(self) -> str:
        """An identifier of this key among all that ever had its name; it does not reveal the key."""
        return identity_of(self.name, self.created_at.isoformat())

    def has_expired(self, now: datetime) -> bool:
        """True where the key has expired."""
        return self.expires_at is not None and self.expires_at <= now

    def has_any(self, scopes: Iterable[Scope]) -> bool:
        """True where the key has one of the scopes; `admin` includes all."""
        return Scope.ADMIN in self.scopes or not self.scopes.isdisjoint(scopes)

    def line(self) -> str:
        """The stored line, without blanks."""
        scopes = "+".join(scope for scope in Scope if scope in self.scopes)
        expires = NEVER if self.expires_at is None else _written(self.expires_at)
        rate = () if self.rate is None else (str(self.rate),)
        return ":".join((self.name, scopes, _written(self.created_at), expires, self.digest.hex(), *rate))


def identity_of(name: str, created_at: str) -> str:
    """The identity of the key that got this name at this time (ISO 8601)."""
    return f"{name} {created_at}"


def new_key() -> str:
    """A new random key."""
    return _with_checksum(PREFIX + base64.urlsafe_b64encode(token_bytes(RANDOM_BYTES)).decode().rstrip("="))


def digest_of(key: str) -> bytes | None:
    """The hash of a key; None where the text is not a key."""
    if not KEY.fullmatch(key) or not hmac.compare_digest(_with_checksum(key[:-CHECKSUM_CHARACTERS]), key):
        return None
    return hashlib.sha256(key.encode()).digest()


def _with_checksum(text: str) -> str:
    """The key with its checksum: typing errors are found, and scanners recognise keys, without the API."""
    checksum = zlib.crc32(text.encode()).to_bytes(4, "big")
    return text + base64.urlsafe_b64encode(checksum).decode().rstrip("=")


def key_with_digest(digest: bytes, keys: Iterable[ApiKey]) -> ApiKey | None:
    """The key of this hash, None where there is none; takes the same time in each case."""
    match = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            match = key
    return match


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """The keys of such lines, separated by commas or whitespace; a line that begins with `#` is a comment.

    Raises:
        ValueError: a line is malformed; the message never has a part of it.
    """
    lines = (line for line in text.splitlines() if not line.lstrip().startswith(COMMENT))
    entries = [entry for line in lines for entry in SEPARATORS.split(line) if entry]
    keys = tuple(_parse(entry, f"entry {number} of {len(entries)}") for number, entry in enumerate(entries, 1))
    check_distinct(keys)
    return keys


def check_distinct(keys: Iterable[ApiKey]) -> None:
    """Checks that each name has one key and each key one name: else revoking one would leave the other.

    Raises:
        ValueError: a name or a key occurs twice; the message has names only.
    """
    names: set[str] = set()
    by_digest: dict[bytes, str] = {}
    for key in keys:
        if key.name in names:
            raise ValueError(f"two keys are called {key.name}")
        if key.digest in by_digest:
            raise ValueError(f"{by_digest[key.digest]} and {key.name} are the same key")
        names.add(key.name)
        by_digest[key.digest] = key.name


def _parse(entry: str, which: str) -> ApiKey:
    if entry.startswith(PREFIX):
        raise ValueError(f"{which} is a key itself, where only its line may be kept: {HOW_TO_GET_ONE}")
    parts = entry.split(":")
    if len(parts) not in (PARTS, PARTS + 1):
        raise ValueError(f"{which} is not of the form {FORM}: {HOW_TO_GET_ONE}")
    name, scopes, created, expires, digest = parts[:PARTS]
    if not NAME.fullmatch(name):
        raise ValueError(f"{which} has a name that is not of {NAME_RULE}")
    if not set(scopes.split("+")) <= set(Scope):
        raise ValueError(f"{which} has a scope that is none of {', '.join(Scope)} (several are joined by +)")
    if not SHA256.fullmatch(digest):
        raise ValueError(f"{which} has no SHA-256 in 64 hexadecimal digits: {HOW_TO_GET_ONE}")
    return ApiKey(
        name=name,
        scopes=frozenset(map(Scope, scopes.split("+"))),
        created_at=_time(created, which),
        expires_at=None if expires == NEVER else _time(expires, which),
        digest=bytes.fromhex(digest),
        rate=_rate(parts[PARTS], which) if len(parts) > PARTS else None,
    )


def _rate(text: str, which: str) -> KeyRate:
    try:
        return parse_key_rate(text)
    except ValueError as error:
        raise ValueError(f"{which} has a rate that {error}") from None


def parse_key_rate(text: str) -> KeyRate:
    """The rate of a key's line.

    Raises:
        ValueError: the text is no rate.
    """
    if text == UNLIMITED:
        return UNLIMITED
    try:
        return parse_rate(text)
    except ValueError:
        raise ValueError(f"must be {FORM_RULE}, or {UNLIMITED}") from None


def _time(text: str, which: str) -> datetime:
    try:
        if TIME.fullmatch(text):
            return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise ValueError(f"{which} has a time that is not like 20261124T031500Z, or {NEVER} for its end")


def _written(time: datetime) -> str:
    return time.astimezone(UTC).strftime(TIME_FORMAT)
