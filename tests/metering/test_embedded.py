import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from metering import embedded
from metering.connection import connect
from metering.embedded import EmbeddedValkey
from metering.errors import MeteringUnavailable

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
            client = connect(embedded.url(tmp_path))
            assert await client.get("key") == expected
            await client.set("key", "1")
            policy = await client.config_get("maxmemory-policy")
            assert policy == {b"maxmemory-policy": b"noeviction"} or policy == {
                "maxmemory-policy": "noeviction"
            }
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
