"""Calls upstreams through an httpx transport, and speaks of its failures in the gateway's errors.

A transport and not a client: a client follows redirects, keeps one caller's cookies for the next,
and adds headers of its own.
"""

import itertools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpx

from gateway.dialing import tls_context
from gateway.errors import (
    BadRequest,
    Headers,
    Overloaded,
    UpstreamProtocol,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.passage import UpstreamRequest
from gateway.routing import UNIX, ServedRoute, Upstream

_UNIX: Final = f"{UNIX}://"
_CONNECTIONS: Final = 1024  # open at once, per worker


@dataclass(frozen=True, slots=True)
class Reply:
    """An upstream's reply whose body is still to come. Close it, read or not."""

    status: int
    headers: Headers
    _response: httpx.Response

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it comes in. Raises UpstreamUnavailable when it breaks off."""
        with _translated():
            async for chunk in self._response.aiter_raw():
                yield chunk

    async def aclose(self) -> None:
        """Give the connection back; one whose reply was not read to the end is closed."""
        await self._response.aclose()


class Upstreams:
    """The worker's connections to all upstreams."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport or _transport()
        self._special: dict[tuple[str | None, str | None], httpx.AsyncBaseTransport] = {}
        self._ca_files: dict[str, str | None] = {}  # by origin
        self._turns: dict[tuple[str, tuple[Upstream, ...]], Iterator[Upstream]] = {}

    def pick(self, route: ServedRoute) -> Upstream:
        """Whose turn it is."""
        key = (route.name, route.upstreams)  # which a new configuration may change
        turns = self._turns.setdefault(key, itertools.cycle(route.upstreams))
        upstream = next(turns)
        self._ca_files[upstream.origin] = route.pool.ca_file
        return upstream

    async def send(
        self, request: UpstreamRequest, body: AsyncIterable[bytes] | None, connect: float
    ) -> Reply:
        """Send the request with its own body or else `body`; the reply, once its head is there.

        `connect` limits the connection in seconds; all other waiting is the caller's to bound.
        Raises GatewayError; what `body` raises comes through.
        """
        timeout = {"connect": connect, "pool": connect, "read": None, "write": None}
        uds = request.origin.removeprefix(_UNIX) if request.origin.startswith(_UNIX) else None
        message = httpx.Request(
            request.method,
            request.origin if uds is None else "http://localhost",
            headers=request.headers,
            stream=_stream(request, body),
            extensions={"target": request.target, "timeout": timeout},
        )
        with _translated():
            transport = self._transport_to(uds, self._ca_files.get(request.origin))
            response = await transport.handle_async_request(message)
        headers = [(name.lower(), value) for name, value in response.headers.raw]
        return Reply(response.status_code, headers, response)

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in (self._transport, *self._special.values()):
            await transport.aclose()

    def _transport_to(self, uds: str | None, ca_file: str | None) -> httpx.AsyncBaseTransport:
        """One of its own for a unix socket, and for authorities that a route names."""
        if uds is None and ca_file is None:
            return self._transport
        if (uds, ca_file) not in self._special:
            self._special[uds, ca_file] = _transport(uds, ca_file)
        return self._special[uds, ca_file]


def _transport(uds: str | None = None, ca_file: str | None = None) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(
        verify=tls_context(ca_file),
        retries=0,
        limits=httpx.Limits(
            max_connections=_CONNECTIONS,
            # h11 keeps what an upstream sent behind its reply, and would take it for the reply to
            # the next request, which may be another customer's.
            max_keepalive_connections=0,
        ),
        uds=uds,
    )


class _Streamed(httpx.AsyncByteStream):
    """A body that is fetched piece by piece while it is sent: this is the back-pressure."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            yield piece


def _stream(request: UpstreamRequest, body: AsyncIterable[bytes] | None) -> httpx.AsyncByteStream:
    if request.body is not None or body is None:
        return httpx.ByteStream(request.body or b"")
    return _Streamed(body)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.PoolTimeout as error:
        raise Overloaded from error
    except httpx.TimeoutException as error:
        raise UpstreamTimeout from error
    except httpx.ConnectError as error:
        raise UpstreamUnavailable from error
    except httpx.LocalProtocolError as error:  # our side of it: what the client wanted us to send
        raise BadRequest from error
    except httpx.TransportError as error:
        raise UpstreamProtocol from error
