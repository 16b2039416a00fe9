import json
import os
import socket
from pathlib import Path

import pytest

from gateway.settings import Tls
from tallygate.config import parse
from tallygate.installation import Installation
from tallygate.planes import addresses, announced, bind_plane, tls_options


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


def test_a_plane_says_where_it_listens_while_it_does(tmp_path: Path) -> None:
    """In a file of its data directory, with the ports it really got."""
    installation = Installation(parse("{}", {}, base=tmp_path))
    sockets = bind_plane("127.0.0.1:0", "127.0.0.1:0")
    path = tmp_path / "var" / "run" / "gateway.json"
    with sockets.public, sockets.admin:
        with announced(installation, "gateway", sockets, tls=True):
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


def test_no_tls_needs_no_options() -> None:
    """Plain HTTP."""
    assert tls_options(None) == {}


def test_files_that_are_no_certificate_are_named(tmp_path: Path) -> None:
    """Whether they are missing or hold something else."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    tls = Tls(cert=str(cert), key=str(key))
    with pytest.raises(OSError, match=r"cert\.pem and .*key\.pem cannot be used: No such file"):
        tls_options(tls)
    cert.write_text("prose")
    key.write_text("prose")
    with pytest.raises(OSError, match=r"cert\.pem and .*key\.pem cannot be used"):
        tls_options(tls)
