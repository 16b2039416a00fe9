"""The way to the open APIs over real sockets: fallback, strict TLS, no redirects, one budget."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from billing_sync.koogallery.client import NOT_SENT, Call, OpenApi
from billing_sync.settings import KooGallerySettings
from tallygate.control_plane import http_client
from tests.fakes import FakeClock
from tests.gateway.certificates import Authority

pytestmark = pytest.mark.anyio

CALL = Call("POST", "/push", content=b"{}")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRetry-After: 3\r\nConnection: close\r\n\r\n{}"


class Settings(KooGallerySettings):
    """Of a site whose hosts are on this machine."""

    places: tuple[str, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        return self.places


@dataclass
class Host:
    """Answers everything alike and keeps what it heard."""

    answer: bytes = OK
    heard: list[bytes] = field(default_factory=list)

    async def take(self, stream: ByteStream) -> None:
        async with stream:
            with anyio.move_on_after(5):
                self.heard.append(await stream.receive())
                if self.answer:
                    await stream.send(self.answer)
                else:
                    await anyio.sleep_forever()


@asynccontextmanager
async def listening(host: Host) -> AsyncIterator[str]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, host.take)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        yield f"http://127.0.0.1:{port}"
        group.cancel_scope.cancel()


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def way(http: httpx.AsyncClient, *places: str, clock: FakeClock | None = None) -> OpenApi:
    return OpenApi(http, Settings(places=places), clock or FakeClock(), budget_s=1.0)


async def test_the_fallback_host() -> None:
    """It is asked when the first cannot be reached, and first the next time."""
    host = Host()
    async with listening(host) as there, http_client() as http:
        api = way(http, nobody(), there)
        for _ in range(2):
            reply = await api.call(CALL, None)
            assert (reply.status, reply.body, reply.retry_after_s) == (200, b"{}", 3.0)
        assert api._hosts.in_turn(FakeClock().now_ms())[0] == there
    assert len(host.heard) == 2


async def test_both_away() -> None:
    """What comes is of the kind that says that nothing was sent."""
    async with http_client() as http:
        with pytest.raises(NOT_SENT):
            await way(http, nobody(), nobody()).call(CALL, None)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 500 X\r\n\r\n"])
async def test_what_was_sent_is_sent_to_nobody_else(answer: bytes) -> None:
    """It may have been done; silence, nonsense and errors are for the caller to judge."""
    first, second = Host(answer), Host()
    async with listening(first) as one, listening(second) as other, http_client() as http:
        try:
            reply = await way(http, one, other).call(CALL, None)
        except (TimeoutError, httpx.RemoteProtocolError, httpx.ReadTimeout):
            pass
        else:
            assert reply.status == 500
    assert (len(first.heard), len(second.heard)) == (1, 0)


async def test_a_redirect_is_an_answer() -> None:
    """What is signed for one host goes to no other."""
    elsewhere = Host()
    async with listening(elsewhere) as other:
        head = f"HTTP/1.1 307 X\r\nLocation: {other}/\r\nContent-Length: 0\r\n\r\n"
        async with listening(Host(head.encode())) as there, http_client() as http:
            assert (await way(http, there).call(CALL, None)).status == 307
    assert elsewhere.heard == []


async def test_a_certificate_nobody_signed(tmp_path: Path) -> None:
    """Nothing is sent to who cannot prove its name."""
    authority = Authority(tmp_path)
    pair = authority.certificate("127.0.0.1")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pair)
    host = Host()

    async def take(stream: ByteStream) -> None:
        async with stream:
            with suppress(ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream):
                await host.take(await TLSStream.wrap(stream, ssl_context=server))

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group, http_client() as http:
        group.start_soon(listener.serve, take)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await way(http, f"https://127.0.0.1:{port}").call(CALL, None)
        group.cancel_scope.cancel()
    assert host.heard == []


@pytest.mark.parametrize(
    ("site", "count"), [("cn", 2), ("intl", 2), ("eu", 1)], ids=["cn", "intl", "eu"]
)
def test_hosts_of_each_site(site: str, count: int) -> None:
    """All by https, the site's own first; base_url stands alone."""
    settings = KooGallerySettings.model_validate({"site": site})
    assert len(set(settings.hosts)) == count
    assert settings.host == settings.hosts[0]
    assert all(url.startswith("https://mkt") for url in settings.hosts)
    other = KooGallerySettings.model_validate({"site": site, "base_url": "https://sim/"})
    assert other.hosts == ("https://sim",)
