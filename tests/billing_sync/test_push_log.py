"""The push log on a real disk: whatever a kill, a power cut or a full disk leaves, it is a log."""

import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_sync.push_entries import Acted, Claimed, Entry, Logged, Settled, entry_of, line_of
from billing_sync.push_log import DAY_MS, PushLog

NOVEMBER = 1_793_491_200_000 + 5 * DAY_MS  # in 2026
DECEMBER = NOVEMBER + 30 * DAY_MS
RECORD = Logged(
    metering_sn="sn-1",
    instance_id="i",
    customer_id="c",
    product_id="p",
    meter="tokens_total",
    begin=1000,
    end=2000,
    recorded_at=3000,
    quantity=1505,
    value="1.5050",
    unit=1000,
    relate_pkg_instance="",
    window=500_000,
    origins="[[500000,1505]]",
)


def batch(claim: str, at: int = NOVEMBER, records: int = 1) -> Claimed:
    return Claimed(claim, at, (RECORD,) * records)


@pytest.fixture
def log(tmp_path: Path) -> PushLog:
    return PushLog(tmp_path / "push")


def claims(log: PushLog) -> list[str]:
    """The claims in the log, and `?` for a damaged line."""
    entries = [line.entry for line in log.lines()]
    return [e.claim if isinstance(e, Claimed) else "?" for e in entries if type(e) is not Settled]


def test_what_went_in_comes_out(log: PushLog) -> None:
    """Every field of every entry, in order, also for somebody who opens the log later."""
    assert (log.newest(), list(log.lines())) == ("", [])
    entries: list[Entry] = [
        batch("a"),
        Settled("a", NOVEMBER, "accepted", ("sn-1",)),
        batch("b", records=3),
    ]
    for entry in entries:
        log.append(entry, durable=True)
    for reader in (log, PushLog(log.folder)):
        assert [line.entry for line in reader.lines()] == entries
        assert reader.newest() == "b"
    (file,) = log.folder.glob("*.jsonl")
    assert file.name == "000001-2026-11.jsonl"
    assert file.stat().st_mode & 0o077 == log.folder.stat().st_mode & 0o077 == 0


def test_a_new_file_each_month_and_when_one_is_full(tmp_path: Path) -> None:
    """The newest claim is found also where the newest file holds none."""
    log = PushLog(tmp_path, max_bytes=1000)
    for claim, at in (("a", NOVEMBER), ("b", NOVEMBER), ("c", NOVEMBER), ("d", DECEMBER)):
        log.append(batch(claim, at, records=2), durable=True)
    log.append(Settled("d", DECEMBER + 27 * DAY_MS, "accepted"), durable=False)
    names = sorted(path.name for path in tmp_path.glob("*.jsonl"))
    assert names == [
        "000001-2026-11.jsonl",
        "000002-2026-11.jsonl",
        "000003-2026-12.jsonl",
        "000004-2027-01.jsonl",
    ]
    assert claims(log) == ["a", "b", "c", "d"]
    assert log.newest() == PushLog(tmp_path).newest() == "d"


def test_old_files_go_but_never_the_newest(tmp_path: Path) -> None:
    """It holds what the ledger is held against."""
    log = PushLog(tmp_path, keep_ms=62 * DAY_MS)
    log.append(batch("a", NOVEMBER), durable=True)
    log.append(batch("b", DECEMBER), durable=True)
    log.append(batch("c", NOVEMBER + 62 * DAY_MS), durable=True)
    assert claims(log) == ["a", "b", "c"]
    log.append(batch("d", NOVEMBER + 500 * DAY_MS), durable=True)
    assert claims(log) == ["c", "d"]


WHOLE: list[Entry] = [batch("a"), Settled("a", NOVEMBER, "accepted", ("sn-1",)), batch("b")]
BYTES = b"".join(map(line_of, WHOLE))
numbers = count()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, len(BYTES)), st.binary(max_size=40), st.booleans())
def test_a_torn_end_is_cut(tmp_path: Path, cut: int, garbage: bytes, zeros: bool) -> None:
    """Wherever it was torn and whatever the disk left there: what was synced is there, what comes
    after it stands on a line of its own."""
    folder = tmp_path / str(next(numbers))
    folder.mkdir()
    torn = BYTES[:cut] + (bytes(len(garbage)) if zeros else garbage)
    (folder / "000001-2026-11.jsonl").write_bytes(torn)
    ends = [sum(map(len, map(line_of, WHOLE[:n]))) for n in range(len(WHOLE) + 1)]
    whole = [e for e, end in zip(WHOLE, ends[1:], strict=True) if end <= len(torn)]
    whole = [e for e in whole if torn.startswith(BYTES[: ends[WHOLE.index(e) + 1]])]
    log = PushLog(folder)
    newest = [e.claim for e in whole if isinstance(e, Claimed)][-1:]
    assert [log.newest()] == (newest or [""])
    assert [line.entry for line in log.lines()] == whole
    log.append(batch("next"), durable=True)
    assert [line.entry for line in PushLog(folder).lines()] == [*whole, batch("next")]


def test_killed_right_after_a_new_file_was_made(log: PushLog) -> None:
    """It is empty, and the newest claim still is what it was."""
    log.append(batch("a"), durable=True)
    (log.folder / "000002-2026-11.jsonl").touch()
    again = PushLog(log.folder)
    assert (again.newest(), log.newest()) == ("a", "a")
    again.append(batch("b"), durable=True)
    assert (again.newest(), claims(log)) == ("b", ["a", "b"])
    assert (log.folder / "000002-2026-11.jsonl").read_bytes()


def test_damage_in_the_middle_is_named_and_left(log: PushLog) -> None:
    """It is no torn end: what stood there was pushed."""
    for claim in "abc":
        log.append(batch(claim), durable=True)
    (file,) = log.folder.glob("*.jsonl")
    damaged = file.read_bytes().replace(b'"claim":"b"', b'"claim":"x"')
    file.write_bytes(damaged)
    again = PushLog(log.folder)
    again.append(batch("d"), durable=True)
    assert claims(again) == ["a", "?", "c", "d"]
    found = [(line.file, line.number) for line in again.lines() if line.entry is None]
    assert found == [("000001-2026-11.jsonl", 2)]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        line_of(batch("a"))[:-1],
        line_of(batch("a")).replace(b"1505", b"1506", 1),
        line_of(batch("a")).replace(b'"crc32":"', b'"crc32":"0', 1),
    ],
)
def test_what_is_no_line_of_ours(line: bytes) -> None:
    """Is told from one."""
    assert entry_of(line_of(batch("a"))) == batch("a")
    assert entry_of(line) is None


def test_several_at_once(log: PushLog) -> None:
    """Processes take turns: no line is torn by another, everybody sees the newest."""
    logs = [PushLog(log.folder, max_bytes=2000) for _ in range(4)]

    def write(which: int) -> None:
        for number in range(10):
            logs[which].append(batch(f"{which}-{number}"), durable=False)
            logs[which].newest()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    found = claims(log)
    assert sorted(found) == sorted(f"{w}-{n}" for w in range(4) for n in range(10))
    assert {each.newest() for each in logs} == {found[-1]}


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As on a disk with so little room: writes beyond it fail, the last one in its middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_log_as_it_was(log: PushLog) -> None:
    """The entry is not half there, and goes in as soon as there is room."""
    log.append(batch("a"), durable=True)
    (file,) = log.folder.glob("*.jsonl")
    before = file.read_bytes()
    with no_file_larger_than(len(before) + 20), pytest.raises(OSError, match="large"):
        log.append(batch("b"), durable=True)
    assert file.read_bytes() == before
    assert log.newest() == "a"
    log.append(batch("b"), durable=True)
    assert claims(log) == ["a", "b"]


def test_an_append_taken_back_by_somebody_else(log: PushLog) -> None:
    """Whoever had read it reads on from where the log ends now."""
    other = PushLog(log.folder)
    for claim in "ab":
        log.append(batch(claim), durable=True)
    assert other.newest() == "b"
    (file,) = log.folder.glob("*.jsonl")
    file.write_bytes(line_of(batch("a")))
    assert other.newest() == "a"
    other.append(batch("c"), durable=True)
    assert claims(log) == ["a", "c"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Is an error of the system, as a full disk is."""
    (tmp_path / "push").write_text("not a folder")
    with pytest.raises(OSError, match="push"):
        PushLog(tmp_path / "push").append(batch("a"), durable=True)


def test_a_stranger_in_the_folder_is_left_alone(log: PushLog) -> None:
    """A copy that somebody made is no part of the log."""
    log.append(batch("a"), durable=True)
    (log.folder / "copy.jsonl").write_bytes(line_of(batch("z")))
    log.append(batch("b"), durable=True)
    assert claims(log) == ["a", "b"]


def test_what_a_person_decided_comes_out_as_well(log: PushLog) -> None:
    """With the record, or without it where an earlier entry has it; it is no batch."""
    entries: list[Entry] = [
        batch("a"),
        Acted("x1", NOVEMBER, "reject", "ann", "a test run", "sn-2", RECORD),
        Acted("x2", NOVEMBER, "retry", "李", "价格已更正", "sn-1"),
    ]
    for entry in entries:
        log.append(entry, durable=True)
    assert [line.entry for line in log.lines()] == entries
    assert log.newest() == "a"


def test_a_log_of_an_older_version_is_read() -> None:
    """Its lines know nothing of acts."""
    line = (
        b'{"crc32":"84c69a90","entry":{"type":"outcome","claim":"a","at":5,"kind":"accepted",'
        b'"accepted":["sn-1"]}}\n'
    )
    assert entry_of(line) == Settled("a", 5, "accepted", ("sn-1",))
