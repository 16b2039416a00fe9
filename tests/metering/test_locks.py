import os
import subprocess
import sys
from pathlib import Path

import pytest

from metering.locks import try_lock

HOLD = """
import sys, time
from pathlib import Path
from metering.locks import try_lock
assert try_lock(Path(sys.argv[1])) is not None
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    """Also within a process; closing the handle lets go."""
    first = try_lock(tmp_path / "lock")
    assert first is not None
    assert try_lock(tmp_path / "lock") is None
    os.close(first)
    again = try_lock(tmp_path / "lock")
    assert again is not None
    os.close(again)


def test_a_lock_moves_with_its_folder(tmp_path: Path) -> None:
    """A lane is made under another name: nobody gets hold of it in between."""
    (tmp_path / "draft").mkdir()
    handle = try_lock(tmp_path / "draft" / "lock")
    assert handle is not None
    (tmp_path / "draft").rename(tmp_path / "lane")
    assert try_lock(tmp_path / "lane" / "lock") is None
    os.close(handle)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """However that ends; its children do not keep it."""
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert try_lock(path) is None
        holder.kill()
        holder.wait()
    handle = try_lock(path)
    assert handle is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        os.close(handle)
        other = try_lock(path)  # the child lives on
        assert other is not None
        os.close(other)
        child.communicate(b"\n")


def test_no_folder_no_lock(tmp_path: Path) -> None:
    """A folder that was just removed is an error, not a free lock."""
    with pytest.raises(FileNotFoundError):
        try_lock(tmp_path / "gone" / "lock")
