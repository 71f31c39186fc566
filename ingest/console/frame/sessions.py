"""The console's sessions: opened by an API key or a link that works once; none is needed where no key is asked for."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import falcon.asgi
import orjson

from riskline.ingest.auth.authentication import Authenticator
from riskline.shared.access.api_keys import ApiKey, Scope, identity_of
from riskline.shared.errors import StoreUnavailableError

COOKIE = "riskline_console"

IDLE_SECONDS = 1800
ABSOLUTE = timedelta(hours=12)
"""The lifetimes of OWASP's session guidance: half an hour idle, a working day in all."""

EPOCH = datetime.fromtimestamp(0, UTC)

KEEP_AGAIN = timedelta(minutes=1)
"""The least time between two writes of a session's use to Redis."""

BELIEVED = timedelta(minutes=5)
"""The time for which a known session stays valid while Redis is away, when the console is needed most."""

PATIENCE_SECONDS = 0.5
"""The time to wait for Redis, which may hang, where a known session would be valid without it."""

LINK = "a sign-in link"
ANYBODY = "anybody"


class SessionStore(Protocol):
    """The sessions in Redis; every method raises StoreUnavailableError where Redis fails."""

    async def open_session(self, digest: str, session: str, *, idle_seconds: int) -> None:
        """Keeps a session until it has been idle for this time."""

    async def session(self, digest: str) -> str | None:
        """The session as it was kept; None where it has ended or never was."""

    async def keep_session(self, digest: str, *, idle_seconds: int) -> None:
        """Begins its idle time anew."""

    async def close_session(self, digest: str) -> None:
        """Forgets it."""

    async def take_link(self, digest: str) -> bool:
        """Removes a link; True where there was one."""


def digest_of_token(token: str) -> str:
    """The digest that is kept in place of a session's or a link's token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True)
class Session:
    """A viewer of the console."""

    who: str
    """The name of the key, or its substitute."""
    may_change: bool
    token: str
    until: datetime
    key_created_at: str | None = None
    """The creation time of the key, as keys can share a name over time; None without a key."""
    vouched_by: tuple[str, ...] = ()
    """The identities of the keys that were valid when its link was used. With the last of them the session ends."""

    @property
    def sender(self) -> str | None:
        """The identity of its key, by which a submission knows its sender; None where it has no key."""
        return None if self.key_created_at is None else identity_of(self.who, self.key_created_at)

    @property
    def csrf(self) -> str:
        """The token of this session's forms, which no other site can guess."""
        return hmac.digest(self.token.encode(), b"form", "sha256").hex()

    def is_from(self, form_token: str) -> bool:
        """True where a form was made for this session."""
        return hmac.compare_digest(self.csrf.encode(), form_token.encode())

    def signature(self, *words: object) -> str:
        """The signature of these words for this session. A link that somebody else made has none."""
        text = "\0".join(map(str, words))
        return hmac.digest(self.token.encode(), f"signed\0{text}".encode(), "sha256").hex()

    def has_signed(self, signature: str, *words: object) -> bool:
        """True where this is the signature of these words for this session."""
        return hmac.compare_digest(self.signature(*words).encode(), signature.encode())

    def kept(self) -> str:
        """The session as Redis keeps it, without its token."""
        fields: dict[str, object] = {"who": self.who, "may_change": self.may_change, "until": self.until.isoformat()}
        fields |= {"key_created_at": self.key_created_at, "vouched_by": self.vouched_by}
        return orjson.dumps(fields).decode()

    @classmethod
    def restored(cls, kept: str, token: str) -> "Session":
        """The session from what Redis kept."""
        fields = orjson.loads(kept)
        return cls(
            who=fields["who"],
            may_change=fields["may_change"],
            token=token,
            until=datetime.fromisoformat(fields["until"]),
            key_created_at=fields["key_created_at"],
            # one of an earlier release has none, and so ends
            vouched_by=tuple(fields.get("vouched_by", ())),
        )


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class _KnownSession:
    """A session that this process has seen, when that was, and when Redis was last told that it is used."""

    session: Session
    kept_at: datetime
    at: datetime


class Sessions:
    """Opens, finds and ends sessions; a key that is revoked or has expired ends its sessions, too."""

    def __init__(self, gate: Authenticator, store: SessionStore, *, now: Callable[[], datetime] = _now) -> None:
        self._gate = gate
        self._store = store
        self._now = now
        self._seen: dict[str, _KnownSession] = {}

    @property
    def are_needed(self) -> bool:
        """True where one has to sign in."""
        return self._gate.asks

    async def sign_in(self, key: str) -> Session | None:
        """A session for an API key that may look at the console; None where there is no such key.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        known = self._gate.holder(f"Bearer {key}")
        if known is None or not known.has_any((Scope.READ,)):
            return None
        created_at = known.created_at.isoformat()
        return await self._open(known.name, may_change=Scope.ADMIN in known.scopes, key_created_at=created_at)

    async def redeem(self, link: str) -> Session | None:
        """A session for a link that was not used yet; None as well while no key is valid, with which it could end.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        vouching = tuple(key.identity for key in self._vouching())
        if not vouching or not await self._store.take_link(digest_of_token(link)):
            return None
        return await self._open(LINK, may_change=True, vouched_by=vouching)

    def _vouching(self) -> tuple[ApiKey, ...]:
        """The keys for whose holders a link stands: it may change all, as `admin` may; any where none has that."""
        valid = self._gate.valid
        return tuple(key for key in valid if Scope.ADMIN in key.scopes) or valid

    async def _open(
        self, who: str, *, may_change: bool, key_created_at: str | None = None, vouched_by: tuple[str, ...] = ()
    ) -> Session:
        session = Session(
            who=who,
            may_change=may_change,
            token=secrets.token_urlsafe(32),
            until=self._now() + ABSOLUTE,
            key_created_at=key_created_at,
            vouched_by=vouched_by,
        )
        await self._store.open_session(digest_of_token(session.token), session.kept(), idle_seconds=IDLE_SECONDS)
        return session

    async def of(self, req: falcon.asgi.Request, *, is_used: bool = True) -> Session | None:
        """The session of a request; None where nobody is signed in. A page's own polling does not prolong a session.

        Raises:
            StoreUnavailableError: Redis failed, and the session was not seen in the last minutes.
        """
        token = (req.get_cookie_values(COOKIE) or [""])[0]
        if not token.isascii():
            token = ""
        if not self.are_needed:
            return Session(
                who=ANYBODY, may_change=True, token=token or secrets.token_urlsafe(32), until=self._now() + ABSOLUTE
            )
        if not token:
            return None
        session = await self._found(token, is_used=is_used)
        return session if session is not None and self.is_good(session) else None

    async def _found(self, token: str, *, is_used: bool) -> Session | None:
        digest, now = digest_of_token(token), self._now()
        seen = self._seen.get(digest)
        is_believed = seen is not None and now - seen.at <= BELIEVED
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if is_believed else None):
                kept = await self._store.session(digest)
        except (StoreUnavailableError, TimeoutError):
            if seen is None or not is_believed:
                raise
            return seen.session
        if kept is None:
            self._seen.pop(digest, None)
            return None
        if seen is None:
            seen = _KnownSession(Session.restored(kept, token), kept_at=EPOCH, at=now)
            self._seen = {each: found for each, found in self._seen.items() if found.session.until > now}
            self._seen[digest] = seen
        if is_used and now - seen.kept_at > KEEP_AGAIN:
            await self._store.keep_session(digest, idle_seconds=IDLE_SECONDS)
            seen.kept_at = now
        seen.at = now
        return seen.session

    def is_good(self, session: Session) -> bool:
        """True until its end, while its key, or one that vouched for its link, is valid."""
        if session.until <= self._now():
            return False
        if not self.are_needed:
            return True
        if session.key_created_at is None:
            return not {key.identity for key in self._gate.valid}.isdisjoint(session.vouched_by)
        key = self._gate.named(session.who)
        return key is not None and self._still_allows(key, session)

    @staticmethod
    def _still_allows(key: ApiKey, session: Session) -> bool:
        needed = Scope.ADMIN if session.may_change else Scope.READ
        return key.created_at.isoformat() == session.key_created_at and key.has_any((needed,))

    async def end(self, session: Session) -> None:
        """Signs out.

        Raises:
            StoreUnavailableError: Redis failed.
        """
        digest = digest_of_token(session.token)
        self._seen.pop(digest, None)
        await self._store.close_session(digest)
