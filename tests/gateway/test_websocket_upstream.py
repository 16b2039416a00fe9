"""How WebSockets are opened upstream."""

import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.server import unix_serve

from gateway.routing import RouteTable
from gateway.settings import Route
from gateway.websocket_upstream import Handshake, UpstreamSockets
from tests.gateway.certificates import Authority
from tests.gateway.running import gateway
from tests.gateway.talking import dial, echo, talker

pytestmark = pytest.mark.anyio


def encrypted(authority: Authority) -> ssl.SSLContext:
    """The server's side, as `localhost`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate("localhost"))
    return context


def test_an_encrypted_upstream_is_verified(tmp_path: Path) -> None:
    """Against the route's own authority; wss for https."""
    authority = Authority(tmp_path)
    with talker(echo, ssl=encrypted(authority)) as up:
        url = up.url.replace("http://127.0.0.1", "https://localhost")
        pool = {"ca_file": str(authority.file)}
        with gateway(url, pool=pool) as gw, dial(gw) as client:
            client.send("x")
            assert client.recv(timeout=10) == "x"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_an_upstream_that_cannot_prove_itself_is_not_used(tmp_path: Path, host: str) -> None:
    """An authority nobody trusts here, and a certificate for another name."""
    authority = Authority(tmp_path)
    pool = {"ca_file": str(authority.file)} if host == "127.0.0.1" else {}
    with talker(echo, ssl=encrypted(authority)) as up:
        url = up.url.replace("http://127.0.0.1", f"https://{host}")
        with gateway(url, pool=pool) as gw, pytest.raises(InvalidStatus) as caught:
            dial(gw)
        assert caught.value.response.status_code == 502
        assert up.heads == []


def test_an_upstream_may_listen_on_a_unix_socket(tmp_path: Path) -> None:
    """As for requests."""
    path = str(tmp_path / "app.sock")
    with unix_serve(echo, path) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        with gateway(f"http+unix://{path}") as gw, dial(gw) as client:
            client.send("x")
            assert client.recv(timeout=10) == "x"
        server.shutdown()
        serving.join(10)


async def test_the_target_is_left_as_it_came() -> None:
    """No parser of URLs touches it."""
    seen: list[Any] = []

    def note(connection: Any) -> None:
        seen.append(connection.request.path)

    with talker(note) as up:
        target = b"/v1/%7Ea;b?c=d#e&f=%2F"
        table = RouteTable([Route(name="chat", path="/v1", upstream=[up.url])])
        asked = Handshake(up.url, target, [], [])
        opened = await UpstreamSockets(1024).open(asked, table.routes[0])
        await opened.close()
    assert seen == [target.decode()]
