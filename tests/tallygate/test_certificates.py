"""Certificates of TLS listeners, by real handshakes."""

import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.streams.tls import TLSAttribute, TLSStream
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.types import Receive, Scope, Send

from gateway.settings import Tls
from tallygate.addresses import Address
from tallygate.certificates import Certificate, certificate_of
from tallygate.listeners import Listener, address_of, bind, serve
from tallygate.reloading import kept_up
from tallygate.stopping import Stop
from tests.gateway.certificates import Authority


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers nobody; shakes hands."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})


async def _nothing() -> None:
    pass


class Site:
    """A TLS listener whose files a test exchanges."""

    def __init__(self, port: int, pair: Path, authority: Authority, stop: Stop) -> None:
        self.port, self.pair, self.authority, self.stop = port, pair, authority, stop

    def put(self, issued: Path) -> None:
        """As a deploy does it: in one step."""
        fresh = self.pair.with_name("fresh.pem")
        shutil.copy(issued, fresh)
        fresh.replace(self.pair)

    async def connect(self) -> TLSStream:
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.check_hostname = False
        context.set_alpn_protocols(["h2", "http/1.1"])
        while True:
            try:
                plain = await anyio.connect_tcp("127.0.0.1", self.port)
                return await TLSStream.wrap(
                    plain, ssl_context=context, hostname="any", standard_compatible=False
                )
            except OSError:
                await anyio.sleep(0.01)

    async def name(self) -> str:
        """Of the certificate that a new connection is shown."""
        async with await self.connect() as stream:
            return name_on(stream)

    async def shows(self, name: str) -> None:
        """Return when it does."""
        with anyio.fail_after(20):
            while await self.name() != name:  # noqa: ASYNC110  (files)
                await anyio.sleep(0.05)


def name_on(stream: TLSStream) -> str:
    shown = stream.extra(TLSAttribute.peer_certificate_binary)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).subject.rfc4514_string().removeprefix("CN=")


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """It shows `first`, with an RSA key."""
    authority, pair, stop = Authority(folder), folder / "pair.pem", Stop()
    shutil.copy(authority.certificate("first", rsa_key=True), pair)
    certificate = Certificate(str(pair), str(pair))
    with bind(Address("127.0.0.1", 0)) as bound, anyio.fail_after(60):
        async with (
            kept_up(stop, certificate, _nothing),
            anyio.create_task_group() as group,
        ):
            port = address_of(bound).port
            listener = Listener(nothing, bound, certificate.options())
            group.start_soon(partial(serve, [listener], stop, drain_s=1))
            yield Site(port, pair, authority, stop)
            stop()


@pytest.mark.anyio
async def test_a_new_certificate_is_shown_to_new_connections_alone(tmp_path: Path) -> None:
    """At SIGHUP, and when its files change; also where the kind of key is another one."""
    async with site(tmp_path) as shown, await shown.connect() as before:
        assert name_on(before) == "first"
        shown.put(shown.authority.certificate("second"))
        shown.stop.hang_up()
        await shown.shows("second")
        shown.put(shown.authority.certificate("third", rsa_key=True))
        await shown.shows("third")
        await before.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await before.receive()).startswith(b"HTTP/1.1 500")  # the old one is not cut


@pytest.mark.anyio
async def test_a_pair_with_a_fault_is_said_and_the_old_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that is only half written."""
    caplog.set_level("INFO", "tallygate")
    async with site(tmp_path) as shown:
        assert await shown.name() == "first"
        shown.pair.write_bytes(shown.authority.file.read_bytes())
        shown.stop.hang_up()
        with anyio.fail_after(20):
            while not caplog.messages:  # noqa: ASYNC110  (a line of a log)
                await anyio.sleep(0.01)
        assert await shown.name() == "first"
        said = [line for line in caplog.messages if "tls:" in line]
        assert len(said) == 1
        assert said[0].endswith("the old certificate is still served")


@pytest.mark.anyio
async def test_nothing_but_http_1_is_negotiated(tmp_path: Path) -> None:
    """A client that would rather speak HTTP/2 is told so in the handshake."""
    async with site(tmp_path) as shown, await shown.connect() as stream:
        assert stream.extra(TLSAttribute.alpn_protocol) == "http/1.1"
        shown.put(shown.authority.certificate("second"))
        shown.stop.hang_up()
        await shown.shows("second")
        async with await shown.connect() as again:
            assert again.extra(TLSAttribute.alpn_protocol) == "http/1.1"


def test_no_tls_is_no_certificate() -> None:
    """Plain HTTP."""
    assert certificate_of(None) is None


def test_files_that_are_no_certificate_are_named(tmp_path: Path) -> None:
    """Whether they are missing or hold something else."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    tls = Tls(cert=str(cert), key=str(key))
    with pytest.raises(OSError, match=r"cert\.pem and .*key\.pem cannot be used: No such file"):
        certificate_of(tls)
    cert.write_text("prose")
    key.write_text("prose")
    with pytest.raises(OSError, match=r"cert\.pem and .*key\.pem cannot be used"):
        certificate_of(tls)


def test_nobody_is_asked_for_a_passphrase(tmp_path: Path) -> None:
    """A service has no terminal where one could be typed."""
    key = rsa.generate_private_key(65537, 2048)
    locked = serialization.BestAvailableEncryption(b"secret")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    issued = Authority(tmp_path).certificate("first")
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, locked))
    with pytest.raises(OSError, match="protected by a passphrase"):
        Certificate(str(issued), str(tmp_path / "key.pem"))
