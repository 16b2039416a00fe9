from pathlib import Path

from metering.local_disk import kind_of, refuse_network_disk

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /mnt/share rw,relatime shared:2 - nfs4 server:/share rw
31 22 0:26 / /mnt/with\040blank rw - cifs //server/x rw
32 30 8:2 / /mnt/share/local rw - xfs /dev/sdb1 rw
"""


def test_the_innermost_mount_decides() -> None:
    """A local disk below a share is local, a name that only begins alike is not below it."""
    assert kind_of("/var/tallygate", MOUNTS) == "ext4"
    assert kind_of("/mnt/share/var", MOUNTS) == "nfs4"
    assert kind_of("/mnt/share", MOUNTS) == "nfs4"
    assert kind_of("/mnt/shared", MOUNTS) == "ext4"
    assert kind_of("/mnt/with blank/var", MOUNTS) == "cifs"
    assert kind_of("/mnt/share/local/var", MOUNTS) == "xfs"


def test_nonsense_is_unknown() -> None:
    """What cannot be read refuses nobody."""
    assert kind_of("/var", "what is this\n\n1 2 3 - ext4") == ""


def test_a_local_folder_is_taken(tmp_path: Path) -> None:
    """Where the tests run there is no network file system."""
    refuse_network_disk(tmp_path)
