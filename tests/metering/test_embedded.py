import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metering import embedded
from metering.connection import connect_one
from metering.embedded import EmbeddedValkey
from metering.errors import MeteringUnavailable
from tests.servers import eventually

OWNER = """
import sys, time
from pathlib import Path
from metering.embedded import EmbeddedValkey
valkey = EmbeddedValkey(Path(sys.argv[1]))
valkey.start()
print(valkey.pid, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(") ", 1)[1].startswith("Z"))


def wait_until_gone(pid: int) -> bool:
    for _ in range(100):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.anyio
async def test_data_survives_a_restart(tmp_path: Path) -> None:
    """What was written before close is there after the next start."""
    for expected in (None, b"1"):
        with EmbeddedValkey(tmp_path):
            client = connect_one(embedded.url(tmp_path))
            assert await client.get("key") == expected
            await client.set("key", "1")
            policy = await client.config_get("maxmemory-policy")
            assert [str(value) for value in policy.values()] in (["noeviction"], ["b'noeviction'"])
            await client.aclose()


def test_a_second_owner_is_refused(tmp_path: Path) -> None:
    """Two tallygates never share a data directory."""
    with EmbeddedValkey(tmp_path) as first:
        with pytest.raises(MeteringUnavailable, match="choose another data_dir"):
            EmbeddedValkey(tmp_path).start()
        assert first.running()


def test_closing_stops_the_server(tmp_path: Path) -> None:
    """Nothing is left running, and closing again does nothing."""
    valkey = EmbeddedValkey(tmp_path)
    valkey.start()
    pid = valkey.pid
    assert pid is not None
    valkey.close()
    valkey.close()
    assert not alive(pid)


def owner_of(data_dir: Path) -> tuple[subprocess.Popen[str], int]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def kill(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()
    assert owner.stdout is not None
    owner.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_the_server_dies_with_a_killed_owner(tmp_path: Path) -> None:
    """kill -9 of the owner leaves no server behind."""
    owner, pid = owner_of(tmp_path)
    kill(owner)
    assert wait_until_gone(pid)


def test_a_left_over_server_is_stopped_before_the_next_starts(tmp_path: Path) -> None:
    """A frozen server that outlived its owner never shares the data with a second one."""
    owner, pid = owner_of(tmp_path)
    os.kill(pid, signal.SIGSTOP)  # it cannot act on its owner's death
    kill(owner)
    assert alive(pid)
    resume = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -CONT {pid}"])
    with EmbeddedValkey(tmp_path) as valkey:
        assert not alive(pid)
        assert valkey.running()
    resume.wait()


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """A unix socket's path is at most about a hundred bytes."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    assert len(str(embedded.socket_path(deep))) <= 100
    with EmbeddedValkey(deep) as valkey:
        assert valkey.running()


def test_a_short_socket_leaves_no_folder_behind(tmp_path: Path) -> None:
    """What stood outside the data directory goes with the server."""
    deep = tmp_path / ("d" * 100)
    with EmbeddedValkey(deep):
        assert embedded.socket_path(deep).exists()
    assert not embedded.socket_path(deep).parent.exists()


def test_the_socket_is_the_same_whatever_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes of a user find the same server though their TMPDIR differs."""
    deep = tmp_path / ("d" * 100)
    first = embedded.socket_path(deep)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert embedded.socket_path(deep) == first


def test_a_short_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    """Whoever can write there could pose as our server."""
    deep = tmp_path / ("d" * 100)
    folder = embedded.socket_path(deep).parent
    folder.mkdir(mode=0o700)
    folder.chmod(0o755)
    try:
        with pytest.raises(MeteringUnavailable, match="belongs to you alone"):
            EmbeddedValkey(deep).start()
    finally:
        folder.rmdir()


def test_any_path_will_do(tmp_path: Path) -> None:
    """Blanks, quotes, backslashes and letters of all scripts are no trouble."""
    odd = tmp_path / 'a "b" \\c ü 数'
    with EmbeddedValkey(odd) as valkey:
        assert valkey.running()
    assert (odd / "valkey" / "appendonlydir").is_dir()


def test_a_server_whose_folder_is_gone_still_stops(tmp_path: Path) -> None:
    """Nothing to save to is no reason to stay."""
    valkey = EmbeddedValkey(tmp_path)
    valkey.start()
    pid = valkey.pid
    assert pid is not None
    shutil.rmtree(tmp_path / "valkey")
    os.kill(pid, signal.SIGTERM)
    assert eventually(lambda: not valkey.running())
    valkey.close()


def test_a_server_that_cannot_start_leaves_nothing_behind(tmp_path: Path) -> None:
    """One clear error; the next attempt is not taken for a second owner."""
    (tmp_path / "valkey" / "valkey.conf").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(MeteringUnavailable, match="did not start"):
            EmbeddedValkey(tmp_path).start()


@pytest.mark.anyio
async def test_a_killed_server_has_its_data_when_it_starts_again(tmp_path: Path) -> None:
    """What was answered is in the append-only file."""
    with EmbeddedValkey(tmp_path) as valkey:
        client = connect_one(embedded.url(tmp_path))
        await client.hincrby("counter", "requests", 7)
        await client.aclose()
        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGKILL)
        assert eventually(lambda: not valkey.running())
        valkey.close()
        valkey.start()
        assert await client.hget("counter", "requests") == b"7"
        await client.aclose()
