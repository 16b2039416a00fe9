"""A wrong clock, a power cut and a full disk, as the processes of a drill meet them."""

import errno
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metering.clock import SystemClock
from tallygate.drills import shims

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="drills look into /proc")


def python(folder: Path, source: str, state: Path, code: str, *arguments: str) -> str:
    """What the code says in a process with the shim."""
    env = {**os.environ, **shims.install(folder, source, state)}
    argv = [sys.executable, "-P", "-c", code, *arguments]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(("arguments", "hours"), [(["gateway"], 1), (["control"], -2)])
def test_gateways_and_others_may_have_different_clocks(
    tmp_path: Path, arguments: list[str], hours: int
) -> None:
    """What the file says is added to the wall clock; monotonic clocks know nothing of it."""
    state = tmp_path / "clock"
    state.write_bytes(struct.pack("<qq", 3600 * 10**9, -7200 * 10**9))
    code = "import time; print(time.time_ns(), time.time(), time.monotonic())"
    said = python(tmp_path, shims.CLOCK, state, code, *arguments)
    ns, seconds, monotonic = map(float, said.split())
    now_s = SystemClock().now_ms() / 1000
    assert abs(ns / 1e9 - now_s - 3600 * hours) < 100
    assert abs(seconds - now_s - 3600 * hours) < 100
    assert abs(monotonic - time.monotonic()) < 100


WRITES = """
import os
os.makedirs("journal/lane")
handle = os.open("journal/lane/00000001.segment", os.O_RDWR | os.O_CREAT)
os.posix_fallocate(handle, 0, 1 << 20)
os.fsync(handle)
os.pwrite(handle, b"first", 0)
os.rename("journal/lane", "journal/kept")
os.fdatasync(handle)
os.pwrite(handle, b" second", 5)
os.fdatasync(handle)
os.pwrite(handle, b" third", 12)
with open("journal/kept/board", "wb") as board:
    board.write(b"slots")
with open("elsewhere", "wb") as file:
    os.fsync(file)
print(os.stat(handle).st_ino)
"""


def test_what_was_synced_is_mirrored(tmp_path: Path) -> None:
    """As it stood when the sync began, under the file's inode, whatever it is called by now."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    inode = python(
        tmp_path, shims.POWER, mirror, f"import os; os.chdir({str(tmp_path)!r})" + WRITES
    )
    (copy,) = mirror.iterdir()
    assert copy.name.endswith(f"-{inode.strip()}")
    content = copy.read_bytes()
    assert len(content) == 1 << 20
    assert content.rstrip(b"\0") == b"first second"


FULL = """
import os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
try:
    os.posix_fallocate(handle, 0, 10)
except OSError as problem:
    print(problem.errno)
"""


def test_a_full_disk_gives_no_blocks(tmp_path: Path) -> None:
    """As long as the flag stands."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    flag = tmp_path / "full"
    target = str(tmp_path / "file")
    assert python(tmp_path / "one", shims.DISK, flag, FULL, target) == ""
    flag.touch()
    assert python(tmp_path / "two", shims.DISK, flag, FULL, target) == f"{errno.ENOSPC}\n"
