"""Recovery of a ledger that was set back to a backup, from the push log. The order, and what a crash
after each step leaves behind:

1. read the push log                 nothing changed
2. one SQL transaction               all of it or nothing: the corrections and the records that the
                                     ledger lacks, the usage they carry marked as recorded, what
                                     persons decided about records, the batches known again, and the
                                     stop of billing lifted
3. ask for findings again (by who    the control plane asks too, as soon as it finds billing stopped
   called)

It may run twice, and beside a running control plane: drains wait for the transaction, and nothing is
recorded or pushed before it is over. What no log tells is said: see `Recovered`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Engine

from billing_sync import correcting
from billing_sync.alerts import SILENT, AlertTerms
from billing_sync.correction_entries import Adjusted, Assigned, Correction
from billing_sync.errors import LogDamaged, NothingToRecover
from billing_sync.push_entries import Acted, Claimed, Settled
from billing_sync.push_log import Line, PushLog
from billing_sync.store import ahead, alerts, deciding, ledger, recovery, stops
from billing_sync.store.engine import reading, writing
from metering.catalogue import Catalogue

_AT_ONCE: Final = 50  # lines in memory, each of which may hold a thousand records


@dataclass(frozen=True)
class Recovered:
    """What was put back, and what this installation cannot know. Times are UTC ms, 0 for none.

    `unknown_instances` are named in the log and not in the ledger. `ahead` is the usage, in meter
    units, whose lanes have still to bring it again. `damaged` are lines of the log that were passed
    over. `gap` says that the log begins after the backup was made.
    """

    reason: str
    batches: int
    sent: int
    pending: int
    first: int
    last: int
    ahead: int
    gap: bool
    corrections: int = 0
    unknown_instances: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    acts: int = 0  # of persons, on single records


@dataclass
class _Told:
    """What the log tells of the batches that the ledger does not know."""

    batches: list[Claimed] = field(default_factory=list)
    acts: list[Acted] = field(default_factory=list)
    accepted: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    corrections: list[Correction] = field(default_factory=list)
    known: int = 0
    first_file: str = ""

    @property
    def gap(self) -> bool:
        """Older files are gone, and not one batch in the others is known."""
        return bool(self.batches) and not self.known and not self.first_file.startswith("000001-")


def recover(
    engine: Engine,
    log: PushLog,
    catalogue: Catalogue,
    now_ms: int,
    *,
    terms: AlertTerms = SILENT,
    pass_over_damage: bool = False,
) -> Recovered:
    """Put back what the ledger lacks, and let billing go on.

    Raises NothingToRecover, LogDamaged, RecordsClash, SQLAlchemyError, and OSError for the log.
    """
    told = _read(engine, log)
    if told.damaged and not pass_over_damage:
        raise LogDamaged(
            f"the push log in {log.folder} cannot be read at {', '.join(told.damaged[:3])}: a batch "
            "that was pushed may be missing; restore the file, or leave such lines out with "
            "--pass-over-damage"
        )
    with writing(engine) as session:
        ledger.lock_all(session)
        stops.alone(session)
        stop = stops.stopped(session)
        lacking = recovery.unknown_claims(session, [batch.claim for batch in told.batches])
        batches = [batch for batch in told.batches if batch.claim in lacking]
        corrections = correcting.lacking(session, told.corrections)
        if stop is None and not batches and not corrections:
            raise NothingToRecover(
                "nothing to recover: the ledger knows every batch in the push log, and nobody found "
                "it set back"
            )
        records = [record for batch in batches for record in batch.records]
        records += deciding.lacking(session, told.acts, records)
        unknown = "batches" if batches else "corrections"
        brought = correcting.bring_back(session, corrections, catalogue, now_ms)
        put = recovery.put_back(session, records, told.accepted, catalogue, now_ms)
        alerts.raise_passed(session, catalogue, terms, now_ms)
        recovery.learn_claims(session, batches)
        done = deciding.take_in(session, told.acts, now_ms)
        stops.lift(session)
        session.flush()
        return Recovered(
            reason=stop.reason if stop else f"the push log holds {unknown} unknown to the ledger",
            batches=len(batches),
            sent=len(put.sent),
            pending=len(put.pending),
            first=min((record.begin for record in records), default=0),
            last=max((record.end for record in records), default=0),
            ahead=ahead.outstanding(session),
            gap=told.gap,
            corrections=brought,
            unknown_instances=put.unknown,
            damaged=told.damaged,
            acts=done,
        )


def _read(engine: Engine, log: PushLog) -> _Told:
    """Step 1. Only batches that the ledger does not know are kept in memory."""
    told = _Told()
    some: list[Line] = []
    for line in log.lines():
        told.first_file = told.first_file or line.file
        some.append(line)
        if len(some) == _AT_ONCE:
            _sort_out(engine, some, told)
            some.clear()
    _sort_out(engine, some, told)
    return told


def _sort_out(engine: Engine, lines: Iterable[Line], told: _Told) -> None:
    entries = [(line, line.entry) for line in lines]
    told.damaged += [f"{line.file}:{line.number}" for line, entry in entries if entry is None]
    claims = [entry for _, entry in entries if isinstance(entry, Claimed)]
    with reading(engine) as session:
        unknown = recovery.unknown_claims(session, [entry.claim for entry in claims])
    told.batches += [entry for entry in claims if entry.claim in unknown]
    told.unknown |= unknown
    told.known += len(claims) - len(unknown)
    told.acts += [entry for _, entry in entries if isinstance(entry, Acted)]
    told.corrections += [entry for _, entry in entries if isinstance(entry, Adjusted | Assigned)]
    for _, entry in entries:
        if isinstance(entry, Settled) and entry.claim in told.unknown:
            told.accepted |= dict.fromkeys(entry.accepted, entry.at)
