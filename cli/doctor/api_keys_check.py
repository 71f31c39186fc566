"""`riskline doctor`: the API keys, and those that end soon."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from riskline.cli.doctor.finding import Finding, Verdict
from riskline.cli.operate.api_keys import known_keys
from riskline.shared.access.api_keys import ApiKey, check_distinct
from riskline.shared.access.key_file import KeyFile
from riskline.shared.errors import InstallationError
from riskline.shared.settings import Settings

CHECK = "keys"

ANY = "*"
"""The setting that lets an open API be called by any name."""

SOON = timedelta(days=14)
"""The time that a caller needs to replace a key."""

OTHERS_MAY_WRITE = 0o022


def check_keys(settings: Settings) -> Iterator[Finding]:
    """Checks that the API asks for keys, and that its keys are distinct and last."""
    if settings.auth == "off":
        by_any_name = ANY in settings.hosts
        verdict = Verdict.OK if settings.is_loopback and not by_any_name else Verdict.WARN
        also = "; so may a page of any site in a browser (RISKLINE_ALLOWED_HOSTS=*)" if by_any_name else ""
        yield Finding(CHECK, verdict, f"off: whoever reaches {settings.host} may call (RISKLINE_AUTH=off){also}")
        return
    file = KeyFile(settings.keys_file)
    try:
        keys = [key for key, _ in known_keys(settings)]
        check_distinct(keys)
        there = file.stamp() is not None
        if file.is_missing:
            raise file.missing_error()
    except InstallationError as error:
        yield Finding(CHECK, Verdict.FAIL, str(error))
        return
    except ValueError as error:
        yield Finding(CHECK, Verdict.FAIL, f"RISKLINE_API_KEYS and {file.path} are at odds: {error}")
        return
    if settings.api_keys_file is not None and not there:
        yield Finding(CHECK, Verdict.FAIL, f"RISKLINE_API_KEYS_FILE: {settings.api_keys_file} is not there")
    elif not keys and not there and settings.is_loopback:
        yield Finding(CHECK, Verdict.OK, "none: open to this machine, which is all that reaches it")
    else:
        yield _judged(keys, datetime.now(UTC))
    if there and file.path.stat().st_mode & OTHERS_MAY_WRITE:
        yield Finding(CHECK, Verdict.WARN, f"others may write {file.path}: `chmod 600` it")


def _judged(keys: list[ApiKey], now: datetime) -> Finding:
    valid = [key for key in keys if not key.has_expired(now)]
    expired = [key for key in keys if key.has_expired(now)]
    ending = [key for key in valid if key.has_expired(now + SOON)]
    said = [f"{len(valid)} valid"]
    if expired:
        said.append("expired: " + ", ".join(key.name for key in expired))
    if ending:
        ends = ", ".join(f"{key.name} ({key.expires_at:%Y-%m-%d})" for key in ending)
        said.append(f"to be replaced within {SOON.days} days: {ends}")
    if not valid:
        said.append("nobody gets in: `riskline keys new --name NAME --scope SCOPE` makes one")
        return Finding(CHECK, Verdict.FAIL, "; ".join(said))
    return Finding(CHECK, Verdict.WARN if ending else Verdict.OK, "; ".join(said))
