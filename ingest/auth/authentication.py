"""The authentication of requests: the valid API keys, the key of a request, and its rights."""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import falcon.asgi

from riskline.ingest.auth.rate_limits import RateLimiter
from riskline.ingest.auth.scopes import BY_SESSION, OPEN, Access, access_to
from riskline.ingest.problems.problem import HttpProblem, forbidden, key_needed
from riskline.ingest.submission.group_commit import COMMITTED
from riskline.shared.access.api_keys import ApiKey, Scope, check_distinct, digest_of, key_with_digest
from riskline.shared.access.key_file import FileStamp, KeyFile
from riskline.shared.errors import InstallationError, SettingsError
from riskline.shared.log import get_logger
from riskline.shared.settings import Settings

log = get_logger(__name__)

LOOK_SECONDS = 1.0
"""The delay until a new key works, and a revoked or expired one no longer does."""

ANSWER_SECONDS = 0.8
"""The time limit of reading the file, which may hang where it is mounted: keys must expire in time all the same."""

COMPLAIN_AGAIN = timedelta(minutes=1)

SCHEME = "bearer"

Found = tuple[tuple[ApiKey, ...], FileStamp] | None
"""The result of reading the file: its keys, or that nothing has changed."""


def _now() -> datetime:
    return datetime.now(UTC)


class Authenticator:
    """The valid keys, kept up with their file. Caches of earlier verdicts are cleared when a key changes.

    A key is required from the first key or key file on until the process ends. An emptied or missing file does not open
    the API.
    """

    def __init__(
        self,
        *,
        own_keys: tuple[ApiKey, ...] = (),
        file: KeyFile | None = None,
        always: bool = False,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.asks = always or bool(own_keys)
        self._own_keys = self._keys = self._valid = own_keys
        self._file = file
        self._look: FileStamp | None = None
        self._looking: asyncio.Future[Found] | None = None
        self.problem = ""
        self._complained_at = datetime.min.replace(tzinfo=UTC)
        self._now = now
        self._holders: dict[str, ApiKey] = {}
        self._forgetters: list[Callable[[], object]] = [self._holders.clear]

    @property
    def has_read(self) -> bool:
        """True once a file of keys was read."""
        return self._look is not None

    def on_change(self, forget: Callable[[], object]) -> None:
        """Registers a call for when an earlier verdict may no longer hold."""
        self._forgetters.append(forget)

    def read(self) -> None:
        """Reads the file, where there is one.

        Raises:
            InstallationError: it is damaged, or cannot be read; the keys that were known stay.
        """
        if self._file is None:
            return
        if self._file.is_missing:
            raise self._file.missing_error()
        if (loaded := self._file.load()) is not None:
            self._take(self._file, *loaded)

    async def run(self) -> None:
        """Follows changes of the file, and keys that expire, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.follow()

    async def follow(self) -> None:
        """Reads the file once. Where that fails, the keys stay as they are."""
        self._forget_what_changed()
        try:
            if self._file is not None:
                await self._follow(self._file)
                self.problem = ""
        except Exception as error:  # noqa: BLE001  # one bad look must not be the last
            self._complain(str(error) if isinstance(error, InstallationError) else type(error).__name__)
        self._forget_what_changed()

    async def _follow(self, file: KeyFile) -> None:
        if self._looking is None:
            self._looking = _in_background(file, self._look)
        done, _ = await asyncio.wait({self._looking}, timeout=ANSWER_SECONDS)
        if not done:
            raise InstallationError(f"{file.path} does not answer: see whether what it is mounted from is there")
        looking, self._looking = self._looking, None
        if (loaded := looking.result()) is not None:
            self._take(file, *loaded)
            log.info("API keys read", keys=len(self._keys), file=str(file.path))

    def _take(self, file: KeyFile, keys: tuple[ApiKey, ...], look: FileStamp) -> None:
        together = (*self._own_keys, *keys)
        try:
            check_distinct(together)
        except ValueError as error:
            raise InstallationError(
                f"RISKLINE_API_KEYS and {file.path} are at odds ({error}): take it out of one of them"
            ) from None
        file.remember()
        self._keys, self._look, asked = together, look, self.asks
        self.asks = True
        self._forget_what_changed(always=not asked)

    def _complain(self, problem: str) -> None:
        now = self._now()
        if problem != self.problem or now - self._complained_at >= COMPLAIN_AGAIN:
            log.error("API keys not read; those known before stay valid", problem=problem)
            self._complained_at = now
        self.problem = problem

    def _forget_what_changed(self, *, always: bool = False) -> None:
        now = self._now()
        valid = tuple(key for key in self._keys if not key.has_expired(now))
        if always or valid != self._valid:
            self._valid = valid
            for forget in self._forgetters:
                forget()

    def holder(self, authorization: str | None) -> ApiKey | None:
        """The valid key of an Authorization header; None where it has none."""
        if authorization is None:
            return None
        key = self._holders.get(authorization)
        if key is None:
            key = self._find(authorization)
            if key is None:
                return None
            # to hash it again would cost five times as much; a valid key has few spellings, all of them short
            self._holders[authorization] = key
        return None if key.has_expired(self._now()) else key

    def _find(self, authorization: str) -> ApiKey | None:
        scheme, _, token = authorization.partition(" ")
        digest = digest_of(token) if scheme.lower() == SCHEME else None
        return None if digest is None else key_with_digest(digest, self._valid)

    @property
    def valid(self) -> tuple[ApiKey, ...]:
        """The keys that are valid now."""
        now = self._now()
        return tuple(key for key in self._valid if not key.has_expired(now))

    def named(self, name: str) -> ApiKey | None:
        """The key of this name, while it is valid."""
        return next((key for key in self.valid if key.name == name), None)

    def admits(self, authorization: str | None, access: Access) -> bool:
        """True where a request with this header passes."""
        if not self.asks or access is OPEN:
            return True
        key = self.holder(authorization)
        return key is not None and key.has_any(access.scopes)


def _in_background(file: KeyFile, last: FileStamp | None) -> "asyncio.Future[Found]":
    """Reads in a thread of its own: one that hangs blocks neither other threads nor the end of the process."""
    found: Future[Found] = Future()

    def look() -> None:
        try:
            found.set_result(_look_again(file, last))
        except Exception as error:  # noqa: BLE001  # raised where it is awaited
            found.set_exception(error)

    threading.Thread(target=look, name="API keys", daemon=True).start()
    return asyncio.wrap_future(found)


def _look_again(file: KeyFile, last: FileStamp | None) -> Found:
    look = file.stamp()
    if look == last and not (look is None and file.is_missing):
        return None
    loaded = None if look is None else file.load()
    if loaded is None:
        raise file.missing_error()
    return loaded


def sender_of(req: falcon.asgi.Request) -> str | None:
    """The identity of a request's key; None where no key is asked for."""
    key: ApiKey | None = req.context.get("key")
    return None if key is None else key.identity


def sees_callback(req: falcon.asgi.Request, record: Mapping[str, Any]) -> bool:
    """True where a request sees all of a callback: its sender's, one with `admin`, any where no key is asked for."""
    key: ApiKey | None = req.context.get("key")
    return key is None or Scope.ADMIN in key.scopes or record.get("callback_by") == key.identity


class KeyMiddleware:
    """Refuses a request without the right or the rate before its body is read; leaves the key's name for the log."""

    def __init__(self, gate: Authenticator, limiter: RateLimiter) -> None:
        self._gate = gate
        self._limiter = limiter

    async def process_resource(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, resource: object, _params: dict[str, Any]
    ) -> None:
        """Passes the request, or answers 401, 403 or 429.

        Raises:
            HttpProblem: there is no valid key, or it may not do this, or it sends too fast.
        """
        access = access_to(req.method, req.uri_template, resource)
        if access is OPEN or access is BY_SESSION:
            return
        if self._gate.asks:
            self._check(req, resp, access)
        await self._limit(req, resp)

    def _check(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, access: Access) -> None:
        authorization = req.get_header("Authorization")
        key = self._gate.holder(authorization)
        if key is None or not key.has_any(access.scopes):
            _close_where_expected(req, resp)
        if key is None:
            raise key_needed(given=_has_token(authorization))
        req.context.key, req.context.key_name = key, key.name
        if not key.has_any(access.scopes):
            raise forbidden(access.scopes[0])
        req.context.still_admitted = partial(self._gate.admits, authorization, access)

    async def _limit(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        account = self._limiter.account(req.context.get("key"))
        if account is None:
            return
        req.context.account = account
        # the fast path has counted its own commits
        if COMMITTED not in req.scope.get("state", {}):
            try:
                await self._limiter.admit(account)
            except HttpProblem:
                _close_where_expected(req, resp)
                raise

    async def process_response(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        _resource: object,
        succeeded: bool,  # noqa: FBT001
    ) -> None:
        """Adds the RateLimit fields, and withholds the answer to a wait during which the key ended.

        Raises:
            HttpProblem: 401.
        """
        account = req.context.get("account")
        if account is not None:
            resp.set_header("RateLimit-Policy", account.policy)
            resp.set_header("RateLimit", account.standing(self._limiter.clock()))
        if succeeded and (req.method in ("GET", "HEAD") or req.get_header("Prefer")):
            check_still_admitted(req)


def check_still_admitted(req: falcon.asgi.Request, **members: Any) -> None:
    """Checks that the request's key is still valid; `members` are added to the problem where it is not.

    Raises:
        HttpProblem: 401.
    """
    still_admitted = getattr(req.context, "still_admitted", None)
    if still_admitted is not None and not still_admitted():
        raise key_needed(given=True, **members)


def _close_where_expected(req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
    if req.get_header("Expect"):
        # the body may come all the same
        resp.set_header("Connection", "close")


def _has_token(authorization: str | None) -> bool:
    return (authorization or "").partition(" ")[0].lower() == SCHEME


def create_gate(settings: Settings, *, always: bool = False) -> Authenticator:
    """The authenticator of the settings; with `always` a key is needed on loopback, too.

    Raises:
        InstallationError: the file of keys is damaged, cannot be read, or is gone.
        SettingsError: others reach the API, and there is no key; or the file that is named is not there.
    """
    if settings.auth == "off":
        return Authenticator()
    always = always or not settings.is_loopback
    gate = Authenticator(own_keys=settings.own_keys, file=KeyFile(settings.keys_file), always=always)
    if settings.api_keys_file is not None and not os.path.lexists(settings.api_keys_file):
        raise SettingsError(f"RISKLINE_API_KEYS_FILE: {settings.api_keys_file} is not there (default: none)")
    gate.read()
    if always and not settings.own_keys and not gate.has_read:
        reached = (
            "another server runs this application, where nobody knows who reaches it,"
            if settings.is_loopback
            else f"RISKLINE_HOST={settings.host} can be reached from other machines"
        )
        raise SettingsError(
            f"{reached} and there are no API keys: "
            "`riskline keys new --name NAME --scope admin` makes one; or set RISKLINE_AUTH=off if something in front "
            "of it checks who may call"
        )
    return gate
