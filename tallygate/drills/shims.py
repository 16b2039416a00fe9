"""Code that runs at the start of each Python process of a drill's installation, from PYTHONPATH.

The product has no switch for a wrong clock, a full disk or a power cut: what is faulty in a drill
is the machine, and the machine is what these replace. Only the throw-away installation has them.
"""

import os
from pathlib import Path
from typing import Final

# Wall clocks are read through `time`; monotonic ones stay. Offsets in ns: gateways', all others'.
CLOCK: Final = """
import mmap, os, struct, sys, time
with open(os.environ["TALLYGATE_DRILL"], "rb") as file:
    _offsets = mmap.mmap(file.fileno(), 16, access=mmap.ACCESS_READ)
_time_ns, _offset = time.time_ns, struct.Struct("<q").unpack_from
_at = 0 if "gateway" in sys.orig_argv else 8
time.time_ns = lambda: _time_ns() + _offset(_offsets, _at)[0]
time.time = lambda: time.time_ns() / 1e9
"""

# What was in a file of the journal when its sync began is copied when the sync is over. A sync takes
# as long as on a slow disk, so that there is something to lose.
POWER: Final = """
import os, time
_mirror = os.environ["TALLYGATE_DRILL"]
_fsync, _fdatasync, _BLOCK = os.fsync, os.fdatasync, 1 << 16
_copies, _ends = {}, {}
def _begun(handle):
    path = os.readlink(f"/proc/self/fd/{handle}")
    if "/journal/" not in path or os.path.isdir(path):
        return None
    stat, blocks = os.stat(handle), []
    key = f"{stat.st_dev}-{stat.st_ino}"
    at = start = 0 if path.endswith("/board") else max(0, _ends.get(key, 0) - 2 * _BLOCK)
    with open(f"/proc/self/fd/{handle}", "rb", buffering=0) as file:  # it may be write-only
        file.seek(at)
        while (block := file.read(_BLOCK)) and block.strip(b"\\0"):
            blocks.append(block)
            at += len(block)
    _ends[key] = at
    return key, stat.st_size, start, b"".join(blocks)
def _done(key, size, start, content):
    if key not in _copies:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        _copies[key] = os.open(os.path.join(_mirror, key), flags, 0o600)
    os.pwrite(_copies[key], content, start)
    os.ftruncate(_copies[key], size)
def _watched(sync):
    def synced(handle):
        handle = handle if isinstance(handle, int) else handle.fileno()
        begun = _begun(handle)
        if begun is not None:
            time.sleep(0.02)
        sync(handle)
        if begun is not None:
            _done(*begun)
    return synced
os.fsync, os.fdatasync = _watched(_fsync), _watched(_fdatasync)
"""

# Files cannot be given blocks while the flag stands.
DISK: Final = """
import errno, os
_flag, _posix_fallocate = os.environ["TALLYGATE_DRILL"], os.posix_fallocate
def _full(handle, offset, length):
    if os.path.exists(_flag):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return _posix_fallocate(handle, offset, length)
os.posix_fallocate = _full
"""


STATE: Final = "TALLYGATE_DRILL"  # the file or folder through which a shim is told and tells


def install(folder: Path, source: str, state: Path) -> dict[str, str]:
    """The environment in which every Python process begins with `source`."""
    shim = folder / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(source)
    others = os.environ.get("PYTHONPATH")
    path = f"{shim}{os.pathsep}{others}" if others else str(shim)
    return {"PYTHONPATH": path, STATE: str(state)}
