import json
import os
import socket
from pathlib import Path

import pytest

from tallygate.config import Config, parse
from tallygate.installation import Installation
from tallygate.planes import (
    Sockets,
    addresses,
    announced,
    bind_all,
    bind_plane,
    somebody_announced,
)
from tests.installations import ports_in_a_row


def test_a_second_address_that_is_taken_frees_the_first() -> None:
    """All or nothing."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        socket.create_server(("127.0.0.1", 0)) as s,
    ):
        free, used = s.getsockname()[1], taken.getsockname()[1]
        s.close()
        with pytest.raises(OSError, match=f"127.0.0.1:{used}"):
            bind_plane(f"127.0.0.1:{free}", f"127.0.0.1:{used}")
        socket.create_server(("127.0.0.1", free)).close()


def three_workers(base: int) -> Config:
    """Admin listeners from this port on; everything else is anywhere."""
    anywhere = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}
    gateway = {**anywhere, "admin_listen": f"127.0.0.1:{base}", "workers": 3}
    return parse(json.dumps({"gateway": gateway, "control": anywhere}), {}, base=Path("/"))


def closed(bound: dict[str, Sockets]) -> None:
    for sockets in bound.values():
        sockets.public.close()
        sockets.admin.close()


def test_workers_share_the_public_socket_and_have_admin_ports_in_a_row() -> None:
    """One scrape each."""
    base = ports_in_a_row(3)
    bound = bind_all(three_workers(base))
    control, *workers = bound.values()
    assert list(bound) == ["control", "gateway", "gateway-1", "gateway-2"]
    assert [each.admin.getsockname()[1] for each in workers] == [base, base + 1, base + 2]
    assert {each.public for each in workers} == {bound["gateway"].public}
    assert control.public is not bound["gateway"].public
    closed(bound)


def test_port_zero_is_any_port_for_each_worker() -> None:
    """Not port 1 and port 2."""
    bound = bind_all(three_workers(0))
    ports = {each.admin.getsockname()[1] for each in bound.values()}
    assert len(ports) == 4
    assert min(ports) > 1024
    closed(bound)


@pytest.mark.parametrize("taken", [0, 2])
def test_an_admin_port_that_is_taken_is_named_and_frees_all_others(taken: int) -> None:
    """Also when it is that of the last worker."""
    base = ports_in_a_row(3)
    with socket.create_server(("127.0.0.1", base + taken)):
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{base + taken}: "):
            bind_all(three_workers(base))
        for other in {0, 1, 2} - {taken}:
            socket.create_server(("127.0.0.1", base + other)).close()


def test_a_plane_says_where_it_listens_while_it_does(tmp_path: Path) -> None:
    """In a file of its data directory, with the ports it really got."""
    installation = Installation(parse("{}", {}, base=tmp_path))
    sockets = bind_plane("127.0.0.1:0", "127.0.0.1:0")
    path = tmp_path / "var" / "run" / "gateway.json"
    with sockets.public, sockets.admin:
        assert not somebody_announced(installation)
        with announced(installation, "gateway", sockets, tls=True):
            assert somebody_announced(installation)
            said = json.loads(path.read_text())
            assert said == {**addresses(sockets, tls=True), "pid": os.getpid()}
            assert said["public"].startswith("https://127.0.0.1:")
        assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("found", ["", "{}", '{"pid": 1}', None])
def test_what_a_successor_announced_is_left_alone(tmp_path: Path, found: str | None) -> None:
    """Also when it is gone already, or is nothing that can be read."""
    installation = Installation(parse("{}", {}, base=tmp_path))
    sockets = bind_plane("127.0.0.1:0", "127.0.0.1:0")
    path = tmp_path / "var" / "run" / "control.json"
    with sockets.public, sockets.admin, announced(installation, "control", sockets, tls=False):
        if found is None:
            path.unlink()
        else:
            path.write_text(found)
    assert path.exists() == (found is not None)
