"""Refuses to keep a journal on a network file system: its locks and mappings are not to be trusted.

Linux tells where a folder lies in /proc/self/mountinfo (proc_pid_mountinfo(5)); elsewhere nobody is
asked.
"""

from pathlib import Path
from typing import Final

from metering.errors import StoreUnsuitable

_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = frozenset(
    {"afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "gfs2", "lustre", "nfs", "nfs4", "smb3"}
)


def kind_of(folder: str, mounts: str) -> str:
    """The file system type of an absolute folder by the text of mountinfo; empty if unknown. Pure."""
    best, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = fields[4].encode().decode("unicode_escape")  # blanks are written as \040
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, after.split()[0]
    return kind


def refuse_network_disk(folder: Path) -> None:
    """Raises StoreUnsuitable for a folder on a network file system."""
    try:
        mounts = _MOUNTS.read_text()
    except OSError:
        return
    kind = kind_of(str(folder.resolve()), mounts)
    if kind in _NETWORK:
        raise StoreUnsuitable(
            f"{folder} is on {kind}, where the journal is not safe; put data_dir on a local disk"
        )
