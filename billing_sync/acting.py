"""What a person decides about a usage record: retry, release, hold, reject. The order, and what a
crash after each step leaves behind:

1. lock the record, check the act     nothing changed
2. enter the act in the push log,     the ledger lacks the act, and so the person sees it; should the
   synced                             ledger be set back right then, it is taken in by the recovery
3. commit: the new state, and a row   done
   with author and reason

Without the log a restored backup would push what a person withheld. Nothing is decided while billing
is stopped: the ledger may be an old one.
"""

from typing import Final, NamedTuple

from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync.deadlines import EXPIRY_MS
from billing_sync.errors import BadQuestion, UnknownRecord, WrongState
from billing_sync.models import UsageRecord
from billing_sync.push_entries import Acted, logged
from billing_sync.push_log import PushLog
from billing_sync.states import Act, moved_by
from billing_sync.store import acts, stops
from billing_sync.store.engine import writing

_LONGEST: Final = {"author": 100, "reason": 400}


class Decision(NamedTuple):
    """What somebody decided about a record, and why."""

    act: Act
    metering_sn: str
    author: str
    reason: str


def perform(
    engine: Engine, log: PushLog, decision: Decision, *, act_id: str, now_ms: int
) -> UsageRecord:
    """Do it; the record as it is then. `act_id` is a fresh random id.

    Raises UnknownRecord, WrongState, BadQuestion for a bad author or reason, SQLAlchemyError, and
    OSError when the push log cannot be written; then nothing was done.
    """
    for name, longest in _LONGEST.items():
        _check(name, getattr(decision, name), longest)
    with writing(engine) as session:
        record = _checked(session, decision, now_ms)
        columns = acts.columns_after(
            decision.act, moved_by(decision.act, record.state), decision.reason, now_ms
        )
        entry = _entry(record, decision, act_id, now_ms)
        acts.change(session, record, columns)
        acts.add(session, entry)
        session.flush()  # what SQL refuses must not stand in the log
        log.append(entry, durable=True)
    return record


def _check(name: str, text: str, longest: int) -> None:
    if not text.strip() or len(text) > longest or not text.isprintable():
        raise BadQuestion(f"{name} must be 1 to {longest} printable characters")


def _checked(session: Session, decision: Decision, now_ms: int) -> UsageRecord:
    if stops.stopped(session) is not None:
        raise WrongState("billing is stopped; run `tallygate recover` first")
    serial = decision.metering_sn
    record = (
        acts.locked(session, serial) if serial.isprintable() else None
    )  # PostgreSQL takes no NUL
    if record is None:
        raise UnknownRecord(f"no usage record {decision.metering_sn[:64]!r}")
    moved_by(decision.act, record.state)
    if decision.act is Act.HOLD and (record.attempts or record.logged):
        raise WrongState("it was on its way to the marketplace already; it cannot be held")
    if decision.act is Act.RETRY and record.begin <= now_ms - EXPIRY_MS:
        raise WrongState("it is older than 21 days; the marketplace takes it no more (MKT.9004)")
    return record


def _entry(record: UsageRecord, decision: Decision, act_id: str, now_ms: int) -> Acted:
    return Acted(
        act_id,
        now_ms,
        decision.act.value,
        decision.author,
        decision.reason,
        decision.metering_sn,
        None if record.logged else logged(record),
    )
