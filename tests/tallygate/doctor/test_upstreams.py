"""What the doctor sees of upstreams: TCP, TLS and unix sockets."""

import socket
from pathlib import Path

import pytest

from gateway.settings import Route
from tallygate.doctor.upstreams import look_at_routes

pytestmark = pytest.mark.anyio


async def states(*urls: str) -> list[str]:
    routes = [Route(name="chat", path="/v1", upstream=list(urls))] if urls else []
    return [each.state.value for each in await look_at_routes(routes)]


async def test_tcp() -> None:
    """Each upstream has its line, in the order of the configuration."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = f"http://127.0.0.1:{listener.getsockname()[1]}/base"
        assert await states("http://127.0.0.1:1", there) == ["finding", "ok"]


async def test_tls_that_is_none() -> None:
    """What does not speak TLS is no https:// upstream."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.close()
        assert await states(f"https://127.0.0.1:{1}") == ["finding"]


async def test_unix(tmp_path: Path) -> None:
    """By the path of its socket."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert await states(f"http+unix://{path}", f"http+unix://{path}-no") == ["ok", "finding"]


async def test_no_routes() -> None:
    """Is worth a word."""
    assert await states() == ["note"]
