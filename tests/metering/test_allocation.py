import os
from pathlib import Path

import pytest

from metering.allocation import allocate, read_through, write_out


def given_and_read(handle: int, size: int) -> None:
    """As a segment is made."""
    allocate(handle, size)
    read_through(handle, size)


@pytest.mark.parametrize("give", [allocate, write_out, given_and_read])
@pytest.mark.parametrize("size", [1, 4096, (1 << 20) + 5, 3 << 20])
def test_a_file_has_all_its_blocks(tmp_path: Path, give, size: int) -> None:  # type: ignore[no-untyped-def]
    """It is as long as asked for, of zeros, and takes its room on the disk at once."""
    path = tmp_path / "file"
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    give(handle, size)
    os.close(handle)
    assert path.stat().st_size == size
    assert path.stat().st_blocks * 512 >= size
    assert not any(path.read_bytes())
