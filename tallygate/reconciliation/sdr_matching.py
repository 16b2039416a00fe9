"""Compares the marketplace's list with our records, and confirms what is equal.

Some lines at a time; which records were listed is remembered in a file that is gone afterwards, so
memory does not grow with the list. For some lines:

1. our records are looked up             by metering_sn, which instance and interval give too
2. each line is judged                   equal, or a finding
3. what is equal is confirmed, in one transaction

A run that dies leaves some confirmed; the next one finds them confirmed and goes on.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from itertools import islice
from typing import Final

from sqlalchemy import Engine

from billing_sync import records
from billing_sync.store import confirming as store
from billing_sync.store import outbox
from billing_sync.store.confirming import Ours
from billing_sync.store.engine import reading, writing
from tallygate.reconciliation.sdr import Faulty, Finding, Line, Matched
from tallygate.reconciliation.tables import time

_AT_ONCE: Final = 500
_UNSENT: Final = ("held",)


def match(engine: Engine, lines: Iterable[Line | Faulty], now_ms: int) -> Matched:
    """Compare and confirm. Raises BadList of the lines, SQLAlchemyError when the ledger is away."""
    matched = Matched()
    with closing(_Listed()) as listed:
        source = iter(lines)
        while some := list(islice(source, _AT_ONCE)):
            _match_some(engine, some, listed, matched, now_ms)
        if matched.lines_matched:
            _find_missing(engine, listed, matched)
    return matched


def _match_some(
    engine: Engine,
    some: Sequence[Line | Faulty],
    listed: "_Listed",
    matched: Matched,
    now_ms: int,
) -> None:
    lines = [line for line in some if isinstance(line, Line)]
    with reading(engine) as session:
        held = store.ours(session, sorted({s for line in lines for s in _serials(line)}))
    equal = []
    for each in some:
        matched.lines += 1
        if isinstance(each, Faulty):
            matched.found(Finding("unreadable", each.line, "", "", each.text))
            continue
        mine = next((held[serial] for serial in _serials(each) if serial in held), None)
        finding = judge(each, mine)
        if mine is not None:
            matched.speaks_of(mine.begin, mine.end)
            if not listed.add(mine.metering_sn):
                finding = finding or _finding("twice", each, mine, "the list has it twice")
        if finding is not None:
            matched.found(finding)
        elif mine is not None:
            equal.append(mine.metering_sn)
    matched.equal += len(equal)
    if equal:
        with writing(engine) as session:
            matched.confirmed += outbox.confirm(session, equal, now_ms)


def _serials(line: Line) -> Iterator[str]:
    """What the record may be called with us."""
    if line.metering_sn:
        yield line.metering_sn
    if line.instance_id and line.begin is not None and line.end is not None:
        yield records.metering_sn(line.instance_id, line.begin, line.end)


def judge(line: Line, mine: Ours | None) -> Finding | None:
    """What is wrong with a line, None if it is equal to our record. Pure."""
    if mine is None:
        return _finding("unknown", line, None, "no record of ours")
    if line.refused:
        return _finding("refused", line, mine, f"the marketplace says {line.refused[:80]!r}")
    if Decimal(mine.value) != line.value:
        return _finding("value", line, mine, f"we say {mine.value}, the list says {line.value}")
    theirs = (line.instance_id or mine.instance_id, line.begin, line.end)
    our = (mine.instance_id, mine.begin, mine.end)
    if any(one is not None and one != other for one, other in zip(theirs, our, strict=True)):
        said = f"ours is {mine.instance_id}, {time(mine.begin)} to {time(mine.end)}; --sdr-zone?"
        return _finding("interval", line, mine, said)
    if mine.state in _UNSENT:
        return _finding("unsent", line, mine, f"listed, but here it is {mine.state}")
    return None


def _finding(kind: str, line: Line, mine: Ours | None, text: str) -> Finding:
    if mine is None:
        return Finding(kind, line.line, line.metering_sn, line.instance_id, text)
    return Finding(kind, line.line, mine.metering_sn, mine.instance_id, text)


def _find_missing(engine: Engine, listed: "_Listed", matched: Matched) -> None:
    """What we believe the marketplace has, of the time that the list speaks of, and it lacks."""
    with reading(engine) as session:
        for mine in store.taken(session, begin=matched.begin, end=matched.end):
            if mine.metering_sn not in listed:
                said = f"{mine.state} here, {time(mine.begin)} to {time(mine.end)}, {mine.value}"
                matched.found(Finding("missing", 0, mine.metering_sn, mine.instance_id, said))


class _Listed:
    """The records that were in the list, on disk."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", check_same_thread=False)  # a file without a name
        self._file.execute("PRAGMA journal_mode=OFF")
        self._file.execute("CREATE TABLE listed (sn TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, serial: str) -> bool:
        """False if it is in already."""
        done = self._file.execute("INSERT OR IGNORE INTO listed VALUES (?)", (serial,))
        return bool(done.rowcount)

    def __contains__(self, serial: str) -> bool:
        found = self._file.execute("SELECT 1 FROM listed WHERE sn = ?", (serial,))
        return found.fetchone() is not None

    def close(self) -> None:
        """The file is gone."""
        self._file.close()
