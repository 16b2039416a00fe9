"""The SQL of recovered acts: what persons decided about records after the backup was made.

An act is taken in once, by its id. It changes a record only where the record stands as the act found
it then, or as near as a recovery can tell: a record that came back waits to be pushed.
"""

from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, select

from billing_sync.models import UsageRecord
from billing_sync.push_entries import Acted, Logged
from billing_sync.states import ACTS, Act, State
from billing_sync.store import acts
from billing_sync.store.engine import in_parts


def lacking(session: Session, told: Sequence[Acted], coming: Iterable[Logged]) -> list[Logged]:
    """Records that only an act of the log knows: neither the ledger has them, nor a batch."""
    held = {entry.metering_sn: entry.record for entry in told if entry.record is not None}
    known = {record.metering_sn for record in coming}
    for some in in_parts(list(held)):
        query = select(UsageRecord.metering_sn).where(col(UsageRecord.metering_sn).in_(some))
        known.update(session.exec(query))
    return [record for serial, record in held.items() if serial not in known]


def take_in(session: Session, told: Sequence[Acted], now_ms: int) -> int:
    """Do again what the ledger has not heard of; how many acts that was."""
    session.flush()
    known: set[str] = set()
    for some in in_parts([entry.id for entry in told]):
        known |= acts.known(session, some)
    new = {entry.id: entry for entry in told if entry.id not in known}
    for entry in new.values():
        acts.add(session, entry)
        record = acts.locked(session, entry.metering_sn)
        if record is not None and entry.act in [act.value for act in Act]:
            _do(session, record, entry, now_ms)
    return len(new)


def _do(session: Session, record: UsageRecord, entry: Acted, now_ms: int) -> None:
    act = Act(entry.act)
    needed, after = ACTS[act]
    # A held record comes back as pending: its hold was by rule, or is done again.
    found = {needed, State.PENDING} if needed is State.HELD else {needed}
    if record.state in found:
        acts.change(session, record, acts.columns_after(act, after, entry.reason, now_ms))
