"""The daily report: a UTC day's reconciliation, canonical JSON, signed. The order of writing one:

1. the report into a hidden file, synced      nothing is there; the next run writes it again
2. its signature likewise
3. the report gets its name                   a report without signature: written again
4. the signature gets its name                done

Canonical: keys sorted, no blanks, ASCII, instances in the order of their ids; one line.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from anyio import to_thread
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from billing_sync.store import reconciling
from billing_sync.store.engine import reading
from tallygate.daily_reports import DAY_MS, date_of, lacking, name_of
from tallygate.reconciliation import report_json, settled_json
from tallygate.reconciliation.balance import Balance
from tallygate.reconciliation.balancing import Settlement, balances
from tallygate.reconciliation.opening import Stores
from tallygate.reconciliation.outcome import note
from tallygate.reconciliation.reconciling import reconcile
from tallygate.reconciliation.report_signing import SUFFIX, sign
from tallygate.reconciliation.reporting import Report
from tallygate.reconciliation.terms import Span

DAY_HOURS: Final = 24
VERSION: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
KEPT: Final = 400  # reports; the oldest go


class Written(NamedTuple):
    """A report on disk."""

    path: Path
    exact: bool


class NotOver(click.ClickException):
    """The day that was asked for is not closed yet."""


def days_asked(stores: Stores, folder: Path, date: datetime | None) -> list[int]:
    """The days to report: the one that was asked for, or all that lack a report.

    Raises NotOver, NothingToReconcile and PartitionsDiffer.
    """
    stores.partitions()
    with reading(stores.engine) as session:
        reach = reconciling.reach(session)
    if date is None:
        return lacking(folder, reach, stores.clock.now_ms())
    day = (date.replace(tzinfo=UTC) - _EPOCH).days
    if (day + 1) * DAY_MS > reach.closed_through:
        raise NotOver(
            f"{date_of(day)} is not closed yet; `tallygate sync once` closes what is over"
        )
    return [day]


async def write_day(
    stores: Stores, day: int, folder: Path, key: Ed25519PrivateKey, told: Callable[[int], None]
) -> Written:
    """Reconcile a day and write it down. Raises SQLAlchemyError and OSError."""
    span = Span(day * DAY_HOURS, (day + 1) * DAY_HOURS)
    report = await reconcile(stores, span, told)
    accounts = balances(stores.engine, span)
    return await to_thread.run_sync(partial(_write, report, accounts, day, folder, key))


def _write(
    report: Report,
    accounts: Iterable[Balance],
    day: int,
    folder: Path,
    key: Ed25519PrivateKey,
) -> Written:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = name_of(day)
    settlement = Settlement()
    digest = hashlib.sha256()
    hidden, hidden_signature = folder / f".{name}", folder / f".{name}{SUFFIX}"
    with hidden.open("wb") as file:
        for piece in pieces(report, accounts, settlement, date_of(day)):
            raw = piece.encode("ascii")
            digest.update(raw)
            file.write(raw)
        _sync(file.fileno())
    with hidden_signature.open("wb") as file:
        file.write(sign(key, name, digest.hexdigest()))
        _sync(file.fileno())
    (folder / f"{name}{SUFFIX}").unlink(missing_ok=True)  # of a report that is replaced
    hidden.rename(folder / name)
    hidden_signature.rename(folder / f"{name}{SUFFIX}")
    _sync_folder(folder)
    _let_go(folder)
    exact = report.exact and settlement.exact
    note(folder, report, exact=exact)
    return Written(folder / name, exact)


def pieces(
    report: Report, accounts: Iterable[Balance], settlement: Settlement, date: str
) -> Iterator[str]:
    """The document, piece by piece; `settlement` is complete with the last one. Pure."""
    yield f'{{"counted":{_canonical(report_json.counted_json(report))},"date":"{date}","instances":['
    comma = ""
    for one in accounts:
        settlement.add(one)
        if one.hours or one.states:
            yield comma + _canonical(settled_json.balance_json(one))
            comma = ","
    verdict = {
        "counted": report.exact,
        "exact": report.exact and settlement.exact,
        "settled": settlement.exact,
    }
    yield f'],"settled":{_canonical(settled_json.settlement_json(settlement))}'
    yield f',"verdict":{_canonical(verdict)},"version":{VERSION}}}\n'


def _canonical(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _sync(handle: int) -> None:
    os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _let_go(folder: Path) -> None:
    """The oldest ones, so that the folder does not grow for ever."""
    for path in sorted(folder.glob("reconciliation-*.json"))[:-KEPT]:
        path.with_name(path.name + SUFFIX).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
