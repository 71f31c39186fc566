"""`riskline keys`: makes, lists and revokes API keys, and makes the secrets that sign callbacks."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from riskline.cli.change_log import note_change
from riskline.cli.options import DataOption, JsonOption
from riskline.shared.access.api_keys import (
    NAME,
    NAME_RULE,
    PREFIX,
    ApiKey,
    KeyRate,
    Scope,
    digest_of,
    new_key,
    parse_key_rate,
)
from riskline.shared.access.key_file import KeyFile
from riskline.shared.errors import InstallationError, SettingsError
from riskline.shared.settings import Settings, load_settings
from riskline.shared.webhooks.signing import HOW_TO_GET_ONE, new_secret

WEBHOOK_WHAT_TO_DO = (
    "set it as RISKLINE_CALLBACK_SECRET for the API and the workers, and give it to whoever receives callbacks; "
    "to replace one, put the new one first and keep the old one behind a comma until every receiver has the new one"
)
KEY_WHAT_TO_DO = "give it to its caller now: it is kept nowhere; it is sent as the header Authorization: Bearer KEY"
FIRST_KEY_CLOSES = (
    "it is the first key here: an API that was open until now answers 401 to every call without a key from now on"
)
SETTING_WHAT_TO_DO = "the second line goes into RISKLINE_API_KEYS, or into the file of RISKLINE_API_KEYS_FILE"

PERIOD = re.compile(r"([1-9][0-9]{0,4})([dh])", re.ASCII)
IN_SETTING = "RISKLINE_API_KEYS"


# Typer takes one parameter an option
def new(
    *,
    name: Annotated[str | None, typer.Option("--name", help="The name of the key's caller.")] = None,
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", help="A right of the key; may be given several times.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="The end of the key: 90d, 12h, or a date (default: never).")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate", help="The rate of its requests, like 100/s or unlimited (default: RISKLINE_RATE_LIMIT)."
        ),
    ] = None,
    print_setting: Annotated[
        bool, typer.Option("--print-setting", help="Store nothing; print the line for RISKLINE_API_KEYS, too.")
    ] = False,
    webhook: Annotated[bool, typer.Option("--webhook", help="A secret that signs callbacks instead.")] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Make an API key, or a secret; it is printed once and kept nowhere."""
    if webhook:
        if name is not None or scope or rate is not None:
            raise typer.BadParameter("a secret for callbacks has no --name, --scope or --rate", param_hint="--webhook")
        _print(new_secret(), {}, as_json=as_json, advice=WEBHOOK_WHAT_TO_DO)
        return
    if name is None or not NAME.fullmatch(name):
        raise typer.BadParameter(f"an API key has a name of {NAME_RULE}", param_hint="--name")
    if not scope:
        raise typer.BadParameter(f"say what the key may do: {', '.join(Scope)}", param_hint="--scope")
    now = datetime.now(UTC)
    secret, key = make(
        name, scope, now=now, expires_at=None if expires is None else _end(expires, now), rate=_rate(rate)
    )
    if print_setting:
        _print(secret, {**_shown(key, now), "setting": key.line()}, as_json=as_json, advice=SETTING_WHAT_TO_DO)
        return
    settings = load_settings(data=data)
    is_first = store(key, settings)
    advice = f"{KEY_WHAT_TO_DO}; its hash is in {settings.keys_file}"
    if is_first and settings.auth != "off":
        advice += f"\n{FIRST_KEY_CLOSES}"
    _print(secret, _shown(key, now), as_json=as_json, advice=advice)


def make(
    name: str, scopes: list[Scope], *, now: datetime, expires_at: datetime | None, rate: KeyRate = None
) -> tuple[str, ApiKey]:
    """A new key, and its entry in the file of keys, with times to the second."""
    secret = new_key()
    digest = digest_of(secret)
    assert digest is not None  # noqa: S101  # what we make has the right form
    return secret, ApiKey(
        name=name,
        scopes=frozenset(scopes),
        created_at=now.replace(microsecond=0),
        expires_at=expires_at,
        digest=digest,
        rate=rate,
    )


def store(key: ApiKey, settings: Settings) -> bool:
    """Adds it to the file of keys; a running API has it within two seconds. Answers whether it is the first one.

    Raises:
        InstallationError: the name is taken, or the file cannot be read or written.
    """
    with KeyFile(settings.keys_file).changing() as keys:
        if key.name in {each.name for each in (*keys, *settings.own_keys)}:
            raise InstallationError(
                f"a key is called {key.name} already: choose another name, or `riskline keys revoke {key.name}` first"
            )
        keys.append(key)
        is_first = len(keys) == 1 and not settings.own_keys
    scopes = "+".join(scope.value for scope in Scope if scope in key.scopes)
    note_change(settings.data, "API key made", key=key.name, scopes=scopes, expires=key.expires_at or "never")
    return is_first


def list_keys(*, as_json: JsonOption = False, data: DataOption = None) -> None:
    """List the API keys: their names, scopes and times; never a key or its hash."""
    settings = load_settings(data=data)
    now = datetime.now(UTC)
    shown = [{**_shown(key, now), "kept_in": where} for key, where in known_keys(settings)]
    if as_json:
        typer.echo(json.dumps(shown))
        return
    if not shown:
        typer.echo("there are no API keys; `riskline keys new --name NAME --scope SCOPE` makes one", err=True)
    for each in shown:
        end = "never expires" if each["expires_at"] is None else f"{each['state']}: {each['expires_at']}"
        rate = "" if each["rate"] is None else f"{each['rate']}  "
        typer.echo(
            f"{each['name']:<20}{'+'.join(each['scopes']):<20}{each['created_at']}  {end}  {rate}{each['kept_in']}"
        )


def known_keys(settings: Settings) -> Iterator[tuple[ApiKey, str]]:
    """The keys that the settings and the file have, and where each is kept.

    Raises:
        InstallationError: the file cannot be read, or is damaged.
    """
    yield from ((key, IN_SETTING) for key in settings.own_keys)
    yield from ((key, str(settings.keys_file)) for key in KeyFile(settings.keys_file).read() or ())


def revoke(*, name: Annotated[str, typer.Argument(help="The key's name.")], data: DataOption = None) -> None:
    """Revoke an API key: within two seconds it opens nothing any more."""
    if name.startswith(PREFIX):
        raise InstallationError("that is a key, and a name is wanted: `riskline keys list` has them")
    settings = load_settings(data=data)
    in_setting = f"{name} is in {IN_SETTING}: take its line out there, and restart the API"
    is_set = name in {key.name for key in settings.own_keys}
    file = KeyFile(settings.keys_file)
    if is_set and name not in {key.name for key in file.read() or ()}:
        raise InstallationError(in_setting)
    with file.changing() as keys:
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise InstallationError(f"no key is called {name}: `riskline keys list` has those that there are")
        keys[:] = left
    note_change(settings.data, "API key revoked", key=name)
    if is_set:
        raise InstallationError(f"{name} is out of {file.path}, but {in_setting}")
    typer.echo(f"{name} is revoked" + ("" if left or settings.own_keys else "; no key is left, and nobody gets in"))


def _print(secret: str, about: dict[str, Any], *, as_json: bool, advice: str) -> None:
    if as_json:
        typer.echo(json.dumps({("key" if about else "secret"): secret, **about}))
        return
    typer.echo(secret)
    if "setting" in about:
        typer.echo(about["setting"])
    typer.echo(advice, err=True)


def _shown(key: ApiKey, now: datetime) -> dict[str, Any]:
    return {
        "name": key.name,
        "scopes": [scope.value for scope in Scope if scope in key.scopes],
        "created_at": _time(key.created_at),
        "expires_at": None if key.expires_at is None else _time(key.expires_at),
        "rate": None if key.rate is None else str(key.rate),
        "state": "expired" if key.has_expired(now) else "valid",
    }


def _rate(text: str | None) -> KeyRate:
    try:
        return None if text is None else parse_key_rate(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--rate") from None


def _time(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def _end(text: str, now: datetime) -> datetime:
    period = PERIOD.fullmatch(text)
    if period is not None:
        count = int(period[1])
        return now + (timedelta(days=count) if period[2] == "d" else timedelta(hours=count))
    try:
        end = datetime.fromisoformat(text)
        end = (end if end.tzinfo is not None else end.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            "must be like 90d, 12h, 2027-02-22 or 2027-02-22T03:15:00Z", param_hint="--expires"
        ) from None
    if end <= now:
        raise typer.BadParameter("is in the past", param_hint="--expires")
    return end


def configured_secrets() -> tuple[str, ...]:
    """The secrets that sign callbacks, by the settings.

    Raises:
        SettingsError: there is none, or one that cannot be used.
    """
    secrets = load_settings().callback_secrets
    if not secrets:
        raise SettingsError(
            f"RISKLINE_CALLBACK_SECRET is not set: give it the secret that the workers sign with; {HOW_TO_GET_ONE}"
        )
    return secrets
