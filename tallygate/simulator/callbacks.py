"""Sends signed callbacks to the production address and brings back what was answered."""

import secrets
import ssl
from collections.abc import Mapping
from time import perf_counter
from typing import Final, NamedTuple, NotRequired, TypedDict

import anyio
import httpx

from .checks import Reply
from .clock import Clock
from .errors import BadRequest
from .kit_calls import SignedSync
from .tampering import SignedCallback, signed_callback
from .v1_calls import SignedCall, signed_call

MAX_REPLY: Final = 1_048_576
_HEADERS: Final = {
    "content-type": "application/json;charset=utf8",
    "accept": "application/json",
}
Call = SignedCallback | SignedCall | SignedSync
"""Anything that is sent to a merchant."""


class _Request(TypedDict):
    """What httpx is asked to send."""

    method: str
    url: httpx.URL
    content: NotRequired[bytes]
    headers: NotRequired[dict[str, str]]


def new_nonce() -> str:
    """64 upper-case hex digits, as in the vendor's examples (§2.2)."""
    return secrets.token_hex(32).upper()


def check_url(url: str) -> str:
    """The address itself when callbacks can be sent there; raises BadRequest."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        raise BadRequest(f"{url!r} is not a URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or "%" in parsed.host:
        raise BadRequest(f"{url!r} must begin with http:// or https:// and name a host")
    return url


class Callbacks:
    """One seller's callbacks, over `transport` where one is given. `close` when done."""

    def __init__(
        self,
        access_key: str,
        clock: Clock,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._key = access_key
        self._clock = clock
        self._timeout = timeout
        # Redirects are not followed: the marketplace wants 200 from the address itself. Proxy
        # variables are not read: the address under test is meant literally.
        self._client = httpx.AsyncClient(
            headers=_HEADERS, timeout=timeout, trust_env=False, transport=transport
        )

    async def close(self) -> None:
        await self._client.aclose()

    def sign(self, content: bytes, tamper: str = "none") -> SignedCallback:
        """Signs with a fresh nonce at the present time."""
        return signed_callback(self._key, content, new_nonce(), self._clock.now_ms(), tamper)

    def sign_v1(self, parameters: Mapping[str, str], tamper: str = "none") -> SignedCall:
        """A V1.0 call at the present time."""
        return signed_call(self._key, parameters, self._clock.now_ms(), tamper)

    async def deliver(self, url: str, call: Call) -> Reply:
        """POSTs it, or GETs a V1.0 call; a network failure is a Reply without status."""
        began = perf_counter()
        try:
            with anyio.fail_after(self._timeout):
                said = await self._send(call, httpx.URL(url))
        except TimeoutError:
            return _no_reply(began, f"time-out {self._timeout:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            return _no_reply(began, f"{type(error).__name__}: {error}"[:200])
        media_type = next((v for n, v in said.headers if n.lower() == "content-type"), "")
        return Reply(
            said.status, media_type, said.content, _elapsed_ms(began), headers=said.headers
        )

    async def _send(self, call: Call, url: httpx.URL) -> "_Said":
        received = bytearray()
        async with self._client.stream(**_request(call, url)) as response:
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > MAX_REPLY:
                    raise httpx.DecodingError("the reply is longer than 1 MiB")
            raw = response.headers.raw  # spelt as they came
            headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)
            return _Said(response.status_code, tuple(headers), bytes(received))


class _Said(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]
    content: bytes


def _request(call: Call, url: httpx.URL) -> _Request:
    if isinstance(call, SignedCall):
        own = url.query.decode("ascii")
        query = f"{own}&{call.query}".lstrip("&").encode()
        return {"method": "GET", "url": url.copy_with(query=query)}
    if isinstance(call, SignedSync):
        target = url.copy_with(path=url.path.rstrip("/") + call.path)
        headers = dict(call.headers)
        return {"method": "POST", "url": target, "content": call.content, "headers": headers}
    target = url.copy_merge_params(dict(call.params))
    return {"method": "POST", "url": target, "content": call.content}


def _elapsed_ms(began: float) -> int:
    return round((perf_counter() - began) * 1000)


def _no_reply(began: float, why: str) -> Reply:
    return Reply(None, "", b"", _elapsed_ms(began), why)
