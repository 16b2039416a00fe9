"""A worker's counters on a page that outlives it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import pages
from gateway.pages import Page
from gateway.series import Family, Group
from tests.servers import eventually


def said(number: int) -> list[Family]:
    """One counter."""
    rows: list[tuple[list[str], int | float]] = [(["chat"], number)]
    group = Group("gateway_requests_total", ["route"], rows)
    return [Family("gateway_requests", "counter", "Replies.", [group])]


def test_the_newest_is_read(tmp_path: Path) -> None:
    """Also by others, while the worker lives."""
    page = Page(tmp_path / "metrics", "one")
    assert pages.pages(tmp_path / "metrics") == [page.path]
    assert pages.read(page.path) == []
    for number in (1, 2, 2**62):
        page.publish(said(number))
        assert pages.read(page.path) == said(number)
    assert pages.lives(page.path)
    page.close()
    page.close()
    page.publish(said(9))  # too late
    assert not pages.lives(page.path)
    assert pages.read(page.path) == said(2**62)


@pytest.mark.parametrize("at", [0, 8, 30])
def test_a_torn_half_leaves_the_other(tmp_path: Path, at: int) -> None:
    """Whatever byte of it a kill left wrong."""
    page = Page(tmp_path, "one")
    page.publish(said(1))
    page.publish(said(2))
    page.close()
    raw = bytearray(page.path.read_bytes())
    raw[at] ^= 0xFF  # the second half was written before the first
    page.path.write_bytes(raw)
    assert pages.read(page.path) == said(1)


def test_garbage_says_nothing(tmp_path: Path) -> None:
    """A page of another version, a cut one, and none at all."""
    page = tmp_path / "x.page"
    for raw in (b"", b"TGMP", b"\xff" * 4096, bytes(1 << 20)):
        page.write_bytes(raw)
        assert pages.read(page) == []
    assert pages.read(tmp_path / "none.page") == []


def test_too_much_leaves_the_page_as_it_was(tmp_path: Path) -> None:
    """And is counted."""
    page = Page(tmp_path, "one")
    page.publish(said(1))
    group = said(1)[0].groups[0]
    group.rows += [([f"route-{n:08}"], n) for n in range(50_000)]
    page.publish([Family("gateway_requests", "counter", "Replies.", [group])])
    assert page.overflows == 1
    assert pages.read(page.path) == said(1)


_WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from gateway.pages import Page
from gateway.series import Family, Group
page = Page(Path(sys.argv[1]), "killed")
number = 0
while True:
    number += 1
    rows = [([f"route-{n}"], number) for n in range(200)]
    page.publish([Family("gateway_requests", "counter", "x", [Group("x_total", ["route"], rows)])])
"""


def test_a_kill_at_any_moment_leaves_a_whole_page(tmp_path: Path) -> None:
    """All of it is of one moment, and the lock is gone with the process."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", _WORKER, str(tmp_path), str(root)])
    page = tmp_path / "killed.page"
    eventually(lambda: page.exists() and pages.read(page))
    for _ in range(50):
        rows = pages.read(page)[0].groups[0].rows
        assert len({number for _, number in rows}) == 1
    assert pages.lives(page)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not pages.lives(page)
    rows = pages.read(page)[0].groups[0].rows
    assert len({number for _, number in rows}) == 1
