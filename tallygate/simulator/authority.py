"""The authentication centre of the tenants: OAuth 2.0 for their people (spec §5). Pure, bounded.

A code works once, and whoever shows it again ends what it gave. A refresh token is exchanged for a new
one. PKCE (RFC 7636) is checked of those codes that were asked for with it.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

from .directory import Directory, Person
from .signing import same
from .times import DAY_MS, MINUTE_MS

CODE_MS: Final = 5 * MINUTE_MS
ACCESS_S: Final = 7200
REFRESH_MS: Final = 30 * DAY_MS
SESSION_MS: Final = DAY_MS
SCOPE: Final = "get_user_info"
MAX_KEPT: Final = 10_000
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Grant:
    """Who signed in, for which client. `challenge` is PKCE's, with its method; `family` names all that
    one code gave."""

    client_id: str
    tenant_id: str
    user_name: str
    redirect_uri: str
    family: str
    challenge: str = field(default="", repr=False)
    plain: bool = False
    is_used: bool = False


@dataclass(frozen=True)
class Outcome:
    """Status and JSON of a reply."""

    status: int
    body: Mapping[str, object] = field(repr=False)


class Kept(Generic[Thing]):
    """So many things by name, each until its time; the oldest go first."""

    def __init__(self, most: int = MAX_KEPT) -> None:
        self._things: dict[str, tuple[int, Thing]] = {}
        self._most = most

    def __len__(self) -> int:
        return len(self._things)

    def put(self, name: str, thing: Thing, until_ms: int) -> None:
        self._things.pop(name, None)
        while len(self._things) >= self._most:
            del self._things[next(iter(self._things))]
        self._things[name] = (until_ms, thing)

    def get(self, name: str, now_ms: int) -> Thing | None:
        until_ms, thing = self._things.get(name, (0, None))
        return thing if now_ms < until_ms else None

    def drop(self, which: Callable[[Thing], bool]) -> None:
        """Forgets everything that `which` is true of."""
        self._things = {n: kept for n, kept in self._things.items() if not which(kept[1])}


class Authority:
    """Of all tenants of one directory. `new_token` gives a text that cannot be guessed."""

    def __init__(self, directory: Directory, new_token: Callable[[], str]) -> None:
        self._directory = directory
        self._new_token = new_token
        self._codes: Kept[Grant] = Kept()
        self._access: Kept[Grant] = Kept()
        self._refresh: Kept[Grant] = Kept()
        self._sessions: Kept[tuple[str, str]] = Kept()

    # Signing in...

    def sign_in(self, tenant_id: str, user_name: str, now_ms: int) -> str | None:
        """A session of this person at the centre; None for whom the tenant does not know."""
        if self._person(tenant_id, user_name) is None:
            return None
        session = self._new_token()
        self._sessions.put(session, (tenant_id, user_name), now_ms + SESSION_MS)
        return session

    def signed_in(self, session: str, now_ms: int) -> tuple[str, str] | None:
        """Tenant and user name of a session, while the person is there."""
        found = self._sessions.get(session, now_ms)
        return found if found and self._person(*found) else None

    def sign_out(self, session: str, now_ms: int) -> None:
        """Ends the session, and every token of the person."""
        if (found := self._sessions.get(session, now_ms)) is None:
            return
        self._sessions.drop(lambda who: who == found)
        for kept in (self._codes, self._access, self._refresh):
            kept.drop(lambda grant: (grant.tenant_id, grant.user_name) == found)

    def code(self, grant: Grant, now_ms: int) -> str:
        """A fresh code for this grant."""
        code = self._new_token()
        self._codes.put(code, replace(grant, family=code), now_ms + CODE_MS)
        return code

    # Tokens...

    def token(self, form: Mapping[str, str], now_ms: int) -> Outcome:
        """The token endpoint, for both kinds of grant."""
        if (refused := self._client_refused(form)) is not None:
            return refused
        kind = form.get("grant_type")
        if kind == "authorization_code":
            return self._by_code(form, now_ms)
        if kind == "refresh_token":
            return self._by_refresh(form, now_ms)
        return _refusal(400, "unsupported_grant_type", "grant_type is none that is known")

    def userinfo(self, token: str, now_ms: int) -> Outcome:
        """Who holds this access token, by the names of the vendor's page."""
        grant = self._access.get(token, now_ms)
        person = self._person(grant.tenant_id, grant.user_name) if grant else None
        if grant is None or person is None:
            return _refusal(401, "invalid_token", "the token is unknown or over")
        body = {
            "userName": person.user_name,
            "name": person.name,
            "tenant": grant.tenant_id,
            "organizationCode": person.org_code,
            "role": person.role,
        }
        return Outcome(200, body)

    def _client_refused(self, form: Mapping[str, str]) -> Outcome | None:
        found = self._directory.app_of(form.get("client_id", ""))
        if found is None or not same(found[1].client_secret, form.get("client_secret", "")):
            return _refusal(401, "invalid_client", "client_id or client_secret is wrong")
        return None

    def _by_code(self, form: Mapping[str, str], now_ms: int) -> Outcome:
        code = form.get("code", "")
        grant = self._codes.get(code, now_ms)
        if grant is None or grant.client_id != form["client_id"]:
            return _refusal(400, "invalid_grant", "the code is unknown or over")
        if grant.is_used:
            self._end(grant.family)
            return _refusal(400, "invalid_grant", "the code was used before")
        self._codes.put(code, replace(grant, is_used=True), now_ms + CODE_MS)
        if form.get("redirect_uri", grant.redirect_uri) != grant.redirect_uri:
            return _refusal(400, "invalid_grant", "redirect_uri is not that of the code")
        if grant.challenge and not _proves(form.get("code_verifier", ""), grant):
            return _refusal(400, "invalid_grant", "code_verifier does not fit")
        return self._given(grant, now_ms)

    def _by_refresh(self, form: Mapping[str, str], now_ms: int) -> Outcome:
        token = form.get("refresh_token", "")
        grant = self._refresh.get(token, now_ms)
        if grant is None or grant.client_id != form["client_id"]:
            return _refusal(400, "invalid_grant", "the refresh token is unknown or over")
        if self._person(grant.tenant_id, grant.user_name) is None:
            return _refusal(400, "invalid_grant", "the person is not there any more")
        self._end(grant.family)
        return self._given(grant, now_ms)

    def _given(self, grant: Grant, now_ms: int) -> Outcome:
        access, refresh = self._new_token(), self._new_token()
        self._access.put(access, grant, now_ms + ACCESS_S * 1000)
        self._refresh.put(refresh, grant, now_ms + REFRESH_MS)
        body = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": ACCESS_S,
            "scope": SCOPE,
            "refresh_token": refresh,
        }
        return Outcome(200, body)

    def _end(self, family: str) -> None:
        for kept in (self._access, self._refresh):
            kept.drop(lambda grant: grant.family == family)

    def _person(self, tenant_id: str, user_name: str) -> Person | None:
        tenant = self._directory.tenants.get(tenant_id)
        person = tenant.people.get(user_name) if tenant else None
        return person if person and person.enabled else None


def _proves(verifier: str, grant: Grant) -> bool:
    if grant.plain:
        return same(grant.challenge, verifier)
    digest = hashlib.sha256(verifier.encode(errors="replace")).digest()
    return same(grant.challenge, urlsafe_b64encode(digest).rstrip(b"=").decode())


def _refusal(status: int, error: str, description: str) -> Outcome:
    return Outcome(status, {"error": error, "error_description": description})
