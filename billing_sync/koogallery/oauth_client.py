"""Asks a tenant's authentication centre for tokens and for who somebody is (spec §5).

Redirects are not followed, replies are bounded in bytes and time, and no answer is ever logged.
"""

from collections.abc import Mapping
from typing import Final

import anyio
import httpx

from billing_sync.errors import SignInAway
from billing_sync.koogallery import oauth
from billing_sync.koogallery.client import bounded
from billing_sync.koogallery.oauth import Client, Somebody, Tokens

BUDGET_S: Final = 10.0  # of one call, connecting included
_MAX_REPLY: Final = 65_536
_JSON: Final = {"Accept": "application/json"}


class OAuthClient:
    """Everything raises SignInRefused for a refusal, and SignInAway where nothing sensible comes back."""

    def __init__(self, http: httpx.AsyncClient, budget_s: float = BUDGET_S) -> None:
        self._http = http
        self._budget_s = budget_s

    async def exchange(self, client: Client, code: str, redirect_uri: str, verifier: str) -> Tokens:
        """The tokens for a code, which is good once."""
        form = oauth.code_form(client, code, redirect_uri, verifier)
        return oauth.tokens_of(*await self._call("POST", client, oauth.TOKEN, _JSON, form))

    async def refresh(self, client: Client, refresh_token: str) -> Tokens:
        """New tokens."""
        form = oauth.refresh_form(client, refresh_token)
        return oauth.tokens_of(*await self._call("POST", client, oauth.TOKEN, _JSON, form))

    async def somebody(self, client: Client, access_token: str) -> Somebody:
        """Whose token it is."""
        headers = oauth.bearer(access_token)
        return oauth.somebody_of(*await self._call("GET", client, oauth.USERINFO, headers, None))

    async def _call(
        self,
        method: str,
        client: Client,
        path: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
    ) -> tuple[int, bytes]:
        try:
            with anyio.fail_after(self._budget_s):
                async with self._http.stream(
                    method,
                    client.centre + path,
                    headers=headers,
                    data=form,
                    timeout=self._budget_s,
                    follow_redirects=False,
                ) as reply:
                    return reply.status_code, await bounded(reply, _MAX_REPLY)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as failure:
            raise SignInAway(f"the centre did not answer: {type(failure).__name__}") from None
