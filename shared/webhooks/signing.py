"""Standard Webhooks 1.0: the secrets that sign callbacks, the headers of a request, and whether they fit one."""

import base64
import binascii
import hmac
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from typing import NamedTuple

from standardwebhooks import Webhook

PREFIX = "whsec_"
NEW_SECRET_BYTES = 32
SECRET_BYTES = range(24, 65)
"""The specification's limits."""

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

VERSION = "v1"

TOLERANCE_SECONDS = 300
"""The clock difference that receivers allow, and so the time in which a request can be replayed."""

UNIX_TIME = re.compile(r"[1-9][0-9]{0,10}")

HOW_TO_GET_ONE = "`riskline keys new --webhook` makes one"


def new_secret() -> str:
    """A new random secret."""
    return PREFIX + base64.b64encode(token_bytes(NEW_SECRET_BYTES)).decode()


def parse_secrets(text: str) -> tuple[str, ...]:
    """The secrets of a list separated by commas; skips blank entries.

    Raises:
        ValueError: a secret is not valid, or there is none. The message never has a part of a secret.
    """
    given = [each.strip() for each in text.split(",") if each.strip()]
    if not given:
        raise ValueError(f"must have a secret: {HOW_TO_GET_ONE}")
    known = dict[bytes, int]()
    for number, secret in enumerate(given, 1):
        which = "" if len(given) == 1 else f"secret {number} of {len(given)} "
        if not secret.startswith(PREFIX):
            raise ValueError(f"{which}must begin with {PREFIX}: {HOW_TO_GET_ONE}")
        key = _key(secret)
        if key is None:
            raise ValueError(f"{which}must be base64 after {PREFIX}: {HOW_TO_GET_ONE}")
        if len(key) not in SECRET_BYTES:
            sizes = f"{SECRET_BYTES.start} to {SECRET_BYTES.stop - 1} bytes"
            raise ValueError(f"{which}must be of {sizes}, and is of {len(key)}: {HOW_TO_GET_ONE}")
        if key in known:
            raise ValueError(f"{which}is the same as secret {known[key]}")
        known[key] = number
    return tuple(given)


def _key(secret: str) -> bytes | None:
    text = secret.removeprefix(PREFIX)
    try:
        # the libraries of receivers take a secret without its padding, too
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


class Signer:
    """Signs with every secret, in order: receivers may have any of them while one is replaced."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._webhooks = [Webhook(each) for each in secrets]

    def headers(self, message_id: str, *, sent_at: datetime, body: bytes) -> dict[str, str]:
        """The headers that a request with this body needs."""
        sent_at = sent_at.astimezone(UTC)  # the library takes the clock face of whatever zone for UTC
        text = body.decode()
        signatures = [each.sign(message_id, sent_at, text) for each in self._webhooks]
        return {ID: message_id, TIMESTAMP: str(int(sent_at.timestamp())), SIGNATURE: " ".join(signatures)}


class SignatureCheck(NamedTuple):
    """The result of a check: the signing secret, counted from 1, or the problem; and the request's age."""

    secret: int | None
    problem: str | None
    age_seconds: float | None

    @property
    def refusal(self) -> str | None:
        """The reason that a receiver refuses the request now; None where it accepts it."""
        if self.problem is not None or self.age_seconds is None:
            return self.problem
        if abs(self.age_seconds) <= TOLERANCE_SECONDS:
            return None
        how = "sent" if self.age_seconds > 0 else "dated"
        return f"{how} {age_text(self.age_seconds)}, and {TOLERANCE_SECONDS} s are allowed"


def age_text(seconds: float) -> str:
    """An age for people: `12 s ago`, `1:00:00 ago`, `12 s in the future`."""
    size = math.ceil(abs(seconds))  # rounded up, so that a request that is too old never looks younger
    text = f"{size} s" if size <= TOLERANCE_SECONDS else str(timedelta(seconds=size))
    return f"{text} {'ago' if seconds >= 0 else 'in the future'}"


def check(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, *, now: datetime) -> SignatureCheck:
    """Checks the request against the secrets; never raises, whatever the request contains."""
    given = {name.lower(): value for name, value in headers.items()}
    timestamp = given.get(TIMESTAMP, "")
    age = now.timestamp() - int(timestamp) if UNIX_TIME.fullmatch(timestamp) else None
    problem = _unreadable(given, body, timed=age is not None)
    if problem is not None:
        return SignatureCheck(None, problem, age)

    text, sent_at = body.decode(), datetime.fromtimestamp(int(timestamp), UTC)
    signatures = [each.encode(errors="replace") for each in given[SIGNATURE].split()]
    for number, secret in enumerate(secrets, 1):
        expected = Webhook(secret).sign(given[ID], sent_at, text).encode()
        if any(hmac.compare_digest(expected, each) for each in signatures):
            return SignatureCheck(number, None, age)
    whose = "the secret" if len(secrets) == 1 else f"any of the {len(secrets)} secrets"
    problem = f"no signature is of {whose}: it has another, or the id, the timestamp or the body was changed"
    return SignatureCheck(None, problem, age)


def _unreadable(given: Mapping[str, str], body: bytes, *, timed: bool) -> str | None:
    """The reason that no signature can be checked."""
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not given.get(name)]
    if missing:
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if not timed:
        return f"{TIMESTAMP} is not a number of seconds"
    if not given[ID].isascii():
        return f"{ID} is not ASCII"
    if not any(each.startswith(f"{VERSION},") for each in given[SIGNATURE].split()):
        return f"{SIGNATURE} has no signature of version {VERSION}"
    try:
        body.decode()
    except UnicodeDecodeError:
        return "the body is not UTF-8"
    return None
