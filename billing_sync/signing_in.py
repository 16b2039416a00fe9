"""Signs tenants' users in and out, through their tenant's authentication centre (spec §5).

What somebody may see is looked up anew with each request: a deletion by authSync holds from the next
request on, whatever the session says. Nothing of a sign-in need survive a crash: a code that was spent
for nothing, or a session whose cookie was lost on the way, means signing in once more.
"""

import hashlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

import anyio
import msgspec
from cryptography.exceptions import InvalidTag
from sqlmodel import Session

from billing_sync import pending_sign_in
from billing_sync.errors import SignInAway, SignInRefused
from billing_sync.koogallery import oauth
from billing_sync.koogallery.oauth import Client, Tokens
from billing_sync.koogallery.oauth_client import OAuthClient
from billing_sync.pending_sign_in import Pending
from billing_sync.people_models import PersonSession
from billing_sync.people_settings import SignInSettings
from billing_sync.store import kit_access
from billing_sync.store import person_sessions as store
from billing_sync.store.kit_access import KitApplication
from billing_sync.store.person_sessions import Present
from billing_sync.store.worker import SqlWorker
from metering import keys
from metering.clock import Clock

_log = logging.getLogger(__name__)

SESSION_PURPOSE: Final = "tallygate sign-in session id"
TOKENS_PURPOSE: Final = "tallygate sealed sign-in tokens"
_TOKEN_BYTES: Final = 32
_TOUCH_MS: Final = 60_000  # how exactly it is known when somebody was here
_EARLY_MS: Final = 60_000  # so long before an access token ends another one is asked for
_AGAIN_MS: Final = 60_000  # after a centre did not answer
_MOST_CODE: Final = 1024
_MOST_RESTARTS: Final = 2


class Begun(NamedTuple):
    """Where the browser is sent, and the cookie it takes along."""

    url: str
    cookie: str


class Kept(msgspec.Struct):
    """A session's tokens, and the instance as whose client they were given."""

    instance_id: str
    access: str
    refresh: str = ""


@dataclass
class SignIn:
    """`callback` is our own address, the only one a centre is told. `loopback`: centres on this
    machine need no TLS."""

    sql: SqlWorker
    secret: bytes = field(repr=False)
    oauth: OAuthClient
    settings: SignInSettings
    callback: str
    clock: Clock
    randomness: Callable[[int], bytes]
    loopback: bool = False

    def __post_init__(self) -> None:
        self._ids = keys.derive(self.secret, SESSION_PURPOSE)
        self._renewing: dict[str, anyio.Lock] = {}

    async def begin(self, tenant_id: str, *, restarts: int = 0) -> Begun:
        """A sign-in at the tenant's centre. Raises SignInRefused for a tenant that nobody told of."""
        if restarts > _MOST_RESTARTS:
            raise SignInRefused("the centre hands no state back")
        for application in await self._applications(tenant_id):
            client = self._client_or_none(application)
            if client is not None:
                return self._begun(application, client, restarts)
        raise SignInRefused("no application of this tenant can be signed in to")

    async def finish(self, cookie: str, state: str, code: str) -> str:
        """What the browser holds from now on. Raises SignInRefused, or SignInAway for a silent centre."""
        pending = pending_sign_in.opened(self.secret, cookie, self.clock.now_ms())
        if not hmac.compare_digest(pending.state.encode(), state.encode()):
            raise SignInRefused("the state is not that of this browser")
        if not 0 < len(code) <= _MOST_CODE:
            raise SignInRefused("there is no code")
        client = await self._client(pending.tenant_id, pending.instance_id, pending.app_id)
        tokens = await self.oauth.exchange(client, code, self.callback, pending.verifier)
        person = await self.oauth.somebody(client, tokens.access_token)
        token = self.randomness(_TOKEN_BYTES).hex()
        now_ms = self.clock.now_ms()
        row = PersonSession(
            id=self.id_of(token),
            tenant_id=pending.tenant_id,
            app_id=pending.app_id,
            user_name=person.user_name,
            created=now_ms,
            seen=now_ms,
            ends=now_ms + self.settings.longest_ms,
            sealed=self._sealed(pending.instance_id, tokens, ""),
            renew_at=_renew_at(tokens, now_ms),
        )
        if not await self.sql.write(partial(_open_if_known, row=row, now_ms=now_ms)):
            raise SignInRefused("the person is not authorized for this application")
        _log.info("a person of tenant %s signed in", pending.tenant_id)
        return token

    async def present(self, token: str) -> Present | None:
        """Who holds this, and what he may see now; None for nobody, whose session is gone then.

        Asks the centre for new tokens when the old ones end: who was signed out there is out here.
        """
        if not token or len(token) != 2 * _TOKEN_BYTES:
            return None
        session_id, now_ms = self.id_of(token), self.clock.now_ms()
        found = await self._found(session_id, now_ms)
        if found is None:
            await self._forget(session_id)
            return None
        if found.row.renew_at <= now_ms:
            found = await self._renewed(session_id)
        if found is not None and now_ms - found.row.seen >= _TOUCH_MS:
            await self.sql.write(partial(store.touch, session_id=session_id, now_ms=now_ms))
        return found

    async def _forget(self, session_id: str) -> None:
        """Strangers cost no write."""
        if await self.sql.read(partial(store.exists, session_id=session_id)):
            await self.sql.write(partial(_closed, session_id=session_id))

    async def leave(self, token: str, back: str) -> str | None:
        """End the session; where the browser ends that at the centre, coming `back` from there."""
        row = await self.sql.write(partial(store.close, session_id=self.id_of(token)))
        if row is None:
            return None
        try:
            kept = self._kept(row)
            client = await self._client(row.tenant_id, kept.instance_id, row.app_id)
        except SignInRefused:
            return None
        return oauth.logout_url(client.centre, back)

    def id_of(self, token: str) -> str:
        """What of it stands in SQL."""
        return hmac.new(self._ids, token.encode(), hashlib.sha256).hexdigest()

    def _begun(self, application: KitApplication, client: Client, restarts: int) -> Begun:
        pending = Pending(
            state=self.randomness(16).hex(),
            verifier=self.randomness(32).hex() if self.settings.pkce else "",
            tenant_id=application.tenant_id,
            instance_id=application.instance_id,
            app_id=application.app_id,
            ends=self.clock.now_ms() + pending_sign_in.LIFE_MS,
            restarts=restarts,
        )
        url = oauth.authorize_url(client, self.callback, pending.state, pending.verifier)
        return Begun(url, pending_sign_in.sealed(self.secret, pending, self.randomness(12)))

    async def _found(self, session_id: str, now_ms: int) -> Present | None:
        job = partial(store.present, session_id=session_id, now_ms=now_ms)
        return await self.sql.read(partial(job, idle_ms=self.settings.idle_ms))

    async def _renewed(self, session_id: str) -> Present | None:
        """One at a time for a session: a centre may take a refresh token only once."""
        lock = self._renewing.setdefault(session_id, anyio.Lock())
        try:
            async with lock:
                now_ms = self.clock.now_ms()
                found = await self._found(session_id, now_ms)
                if found is None or found.row.renew_at > now_ms:
                    return found
                return found if await self._renew(found.row) else None
        finally:
            if not lock.locked():
                self._renewing.pop(session_id, None)

    async def _renew(self, row: PersonSession) -> bool:
        """Whether the session goes on. A centre that is away ends none: authSync still holds."""
        now_ms = self.clock.now_ms()
        try:
            kept = self._kept(row)
            client = await self._client(row.tenant_id, kept.instance_id, row.app_id)
            tokens = await self._refreshed(client, kept)
        except SignInAway as reason:
            _log.warning("tokens of a person of tenant %s: %s", row.tenant_id, reason)
            sealed, at = row.sealed, now_ms + _AGAIN_MS
        except SignInRefused as reason:
            _log.info("a person of tenant %s is signed out: %s", row.tenant_id, reason)
            stale = partial(store.close_stale, session_id=row.id, sealed=row.sealed)
            return not await self.sql.write(stale)
        else:
            sealed = self._sealed(kept.instance_id, tokens, kept.refresh)
            at = _renew_at(tokens, now_ms)
        await self.sql.write(partial(store.renew, session_id=row.id, sealed=sealed, renew_at=at))
        return True

    async def _refreshed(self, client: Client, kept: Kept) -> Tokens:
        if not kept.refresh:
            raise SignInRefused("the tokens are over")
        return await self.oauth.refresh(client, kept.refresh)

    async def _client(self, tenant_id: str, instance_id: str, app_id: str) -> Client:
        """Raises SignInRefused for an application that is there no more."""
        for application in await self._applications(tenant_id):
            if (application.instance_id, application.app_id) == (instance_id, app_id):
                return self._client_of(application)
        raise SignInRefused("the application is there no more")

    def _client_or_none(self, application: KitApplication) -> Client | None:
        try:
            return self._client_of(application)
        except SignInRefused as reason:
            _log.warning("tenant %s: %s", application.tenant_id, reason)
            return None

    def _client_of(self, application: KitApplication) -> Client:
        centre = oauth.centre_of(application.domain_name, loopback=self.loopback)
        return Client(centre, application.client_id, application.client_secret)

    async def _applications(self, tenant_id: str) -> list[KitApplication]:
        try:
            return await self.sql.read(
                lambda session: kit_access.applications(session, self.secret, tenant_id)
            )
        except (InvalidTag, ValueError):
            raise SignInRefused("client secrets were sealed with another secret_key") from None

    def _sealed(self, instance_id: str, tokens: Tokens, refresh_before: str) -> str:
        kept = Kept(instance_id, tokens.access_token, tokens.refresh_token or refresh_before)
        text = msgspec.json.encode(kept).decode()
        return keys.seal(self.secret, text, self.randomness(12), TOKENS_PURPOSE)

    def _kept(self, row: PersonSession) -> Kept:
        try:
            text = keys.unseal(self.secret, row.sealed, TOKENS_PURPOSE)
            return msgspec.json.decode(text, type=Kept)
        except (InvalidTag, ValueError):
            raise SignInRefused("tokens were sealed with another secret_key") from None


def _renew_at(tokens: Tokens, now_ms: int) -> int:
    return now_ms + max(tokens.life_s * 1000 - _EARLY_MS, _AGAIN_MS)


def _open_if_known(session: Session, row: PersonSession, now_ms: int) -> bool:
    store.hold(session, row.tenant_id)
    access = kit_access.access_of(session, row.tenant_id, row.app_id, row.user_name)
    if access is None or not access.enabled:
        return False
    store.open_(session, row, now_ms)
    return True


def _closed(session: Session, session_id: str) -> None:
    store.close(session, session_id)
