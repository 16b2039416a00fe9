"""The customers on disk: whole or not at all, for their owner only, written by one."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.entitlement_file import EntitlementFile, FileUnusable
from metering.entitlement import (
    EntitledInstance,
    EntitledKey,
    EntitlementSnapshot,
    InstanceStatus,
)

AT = 1_790_000_000_000
SNAPSHOT = EntitlementSnapshot(
    "cust-1",
    '示例 \u2028 \\ " \x00',
    (EntitledKey("1", "d1", 5, ("chat",)),),
    (EntitledInstance("i", "P", InstanceStatus.FROZEN, 7, trial=True),),
)


@pytest.fixture
def file(tmp_path: Path) -> EntitlementFile:
    return EntitlementFile(tmp_path, "here")


def written(tmp_path: Path, *snapshots: EntitlementSnapshot) -> Path:
    """The path of a file that nobody writes any more."""
    file = EntitlementFile(tmp_path, "here")
    assert file.write(snapshots, AT)
    file.close()
    return file.path


def test_what_is_written_is_read(file: EntitlementFile) -> None:
    """Every field, in any script, and when it was right."""
    others = [EntitlementSnapshot(f"c-{number}", "") for number in range(50)]
    assert file.write([SNAPSHOT, *others], AT)
    assert file.read() == ([SNAPSHOT, *others], AT)
    file.still_so(AT + 5000)
    assert file.read().heard_ms == AT + 5000


def test_nobody_at_all_is_an_answer_too(file: EntitlementFile) -> None:
    """An installation may have no customers yet."""
    file.write([], AT)
    assert file.read().snapshots == []


def test_only_its_owner_may_read_it(file: EntitlementFile) -> None:
    """Whatever the mask says, and whatever was left behind in its way."""
    draft = file.path.with_name(".entitlements.json.draft")
    draft.write_text("left behind")
    draft.chmod(0o666)
    before = os.umask(0)
    try:
        file.write([SNAPSHOT], AT)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in file.path.parent.iterdir()] == [0o600, 0o600]
    assert not draft.exists()


def test_one_process_of_a_host_writes(file: EntitlementFile, tmp_path: Path) -> None:
    """Another one may as soon as the first has gone."""
    other = EntitlementFile(tmp_path, "here")
    assert file.write([SNAPSHOT], AT)
    assert not other.write([], AT)
    other.still_so(AT + 9000)
    assert other.read() == ([SNAPSHOT], AT)
    file.close()
    assert other.write([], AT)
    assert file.read().snapshots == []


def changed(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "torn"),
        (lambda path: path.write_bytes(b""), "torn"),
        (lambda path: path.write_bytes(b"[" * 100_000), "torn"),
        (lambda path: path.write_bytes(b"\x00" * 4096), "torn"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"d1", b"d2")), "checksum"),
        (lambda path: changed(path, crc32=7), "checksum"),
        (lambda path: changed(path, format=2), "format"),
        (lambda path: changed(path, installation="there"), "another installation"),
        (lambda path: path.chmod(0o620), "others"),
    ],
    ids=["cut", "empty", "deep", "zeros", "digest", "sum", "format", "installation", "mode"],
)
def test_a_torn_or_foreign_file_is_not_believed(
    spoil: Callable[[Path], object], why: str, tmp_path: Path
) -> None:
    """It says why."""
    path = written(tmp_path, SNAPSHOT)
    spoil(path)
    with pytest.raises(FileUnusable, match=why):
        EntitlementFile(tmp_path, "here").read()


def test_a_customer_that_is_none_spoils_the_file(tmp_path: Path) -> None:
    """Its checksum fits, so whoever wrote it was not of this version."""
    file = EntitlementFile(tmp_path, "here")
    file.write([EntitlementSnapshot("c", 5)], AT)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(FileUnusable, match="cannot be read"):
        file.read()


@given(at=st.integers(0), bit=st.integers(0, 7))
@example(at=412, bit=7)  # no text any more
def test_no_flipped_bit_is_believed(
    at: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It reads as it was, or not at all."""
    path = written(tmp_path_factory.mktemp("bit"), SNAPSHOT)
    text = bytearray(path.read_bytes())
    text[at % len(text)] ^= 1 << bit
    path.write_bytes(text)
    try:
        found = EntitlementFile(path.parent, "here").read().snapshots
    except FileUnusable:
        return
    assert found == [SNAPSHOT]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """And no draft beside it."""
    path = written(tmp_path, SNAPSHOT)
    blocked = EntitlementFile(tmp_path, "here")
    draft = tmp_path / ".entitlements.json.draft"
    draft.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        blocked.write([], AT)
    assert EntitlementFile(tmp_path, "here").read().snapshots == [SNAPSHOT]
    assert not (tmp_path / "elsewhere").exists()
    assert not draft.is_symlink()
    assert path.exists()
