"""The address of the console, and a link that signs in once, for the user of `riskline up`."""

import secrets
import sys
from pathlib import Path

from riskline.cli.up.first_key import written_secret
from riskline.ingest.console.frame.sessions import digest_of_token
from riskline.shared.errors import InstallationError, StoreUnavailableError
from riskline.shared.store.connect.connection import connect
from riskline.shared.store.console import offer_link

SECONDS = 900
"""The life of a link: long enough to find the terminal again, too short for a forgotten link to be of use."""

TOKEN_BYTES = 32

REDIS_SECONDS = 2.0

FILE = "console_link"


def console_lines(url: str, *, redis_url: str, asks_for_keys: bool, data: Path) -> str:
    """The lines of the banner about the console; without a terminal the link goes into a file."""
    address = f"  console  {url}/console"
    link = _offered(url, redis_url) if asks_for_keys else None
    if link is None:
        return address
    minutes = SECONDS // 60
    if sys.stdout.isatty():
        return f"{address}\n           {link}\n           signs you in once, within {minutes} minutes"
    try:
        file = written_secret(link, data / FILE)
    except InstallationError:
        # a key signs in as well
        return address
    return f"{address}\n           the link in {file} signs you in once, within {minutes} minutes"


def _offered(url: str, redis_url: str) -> str | None:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    redis = connect(redis_url, timeout_seconds=REDIS_SECONDS, retries=0)
    try:
        offer_link(redis, digest_of_token(token), seconds=SECONDS)
    except StoreUnavailableError:
        # it went since API and workers were ready, and they say so
        return None
    finally:
        redis.close()
    return f"{url}/console/sign-in?link={token}"
