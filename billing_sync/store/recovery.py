"""The SQL of recovery: records of the push log go back into a ledger that lost them.

A record says what was billed and when it was used. What of that usage the ledger holds is marked as
recorded; the rest is put ahead and set off when the lanes bring it again. So for every instance and
meter, per window it was used in, what is recorded never exceeds what was used, and

    Σ value × unit + remainder = Σ quantity covered by records or waiting in the remainder

stays true per instance and package. What packages gave to records is a fact; what they gave to usage
that has no record yet is deducted anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import update
from sqlmodel import Session, col, select

from billing_sync import origins
from billing_sync.booking import UsageRow
from billing_sync.models import (
    Ahead,
    Carry,
    Instance,
    PushClaim,
    UsageRecord,
    UsageWindow,
)
from billing_sync.origins import Origins
from billing_sync.push_entries import Claimed, Logged
from billing_sync.records import SCALE
from billing_sync.states import State, sources
from billing_sync.store import ahead, clashes, package_totals, waiting
from billing_sync.store.engine import in_parts
from billing_sync.store.package_totals import Given
from billing_sync.store.packages import deduct_rows
from billing_sync.store.running_totals import recorded
from billing_sync.store.upgrades import MeterOf, remainder_place
from metering.catalogue import Catalogue


class PutBack(NamedTuple):
    """What was put back: serials, and the instances among them that the ledger does not know."""

    sent: list[str]
    pending: list[str]
    unknown: list[str]


def unknown_claims(session: Session, claims: Sequence[str]) -> set[str]:
    """Those of the claims that this ledger never made, or lost."""
    known: set[str] = set()
    for some in in_parts(claims):
        known.update(session.exec(select(PushClaim.id).where(col(PushClaim.id).in_(some))))
    return set(claims) - known


def learn_claims(session: Session, batches: Iterable[Claimed]) -> None:
    """From now on the ledger knows the batches."""
    for batch in batches:
        session.merge(PushClaim(id=batch.claim, at=batch.at))


def put_back(
    session: Session,
    logged: Iterable[Logged],
    accepted: Mapping[str, int],
    catalogue: Catalogue,
    now_ms: int,
) -> PutBack:
    """Insert the records that the ledger lacks; `accepted` says when the marketplace took which.

    Raises RecordsClash when the ledger made other records for the same time meanwhile.
    """
    wanted = {record.metering_sn: record for record in logged}
    held = clashes.held_alike(session, wanted)
    _mark_sent(session, accepted)
    lacking = sorted(
        (record for serial, record in wanted.items() if serial not in held),
        key=lambda record: (record.instance_id, record.begin),
    )
    clashes.refuse_overlaps(session, lacking)
    affected = _affected(session, lacking)
    package_totals.undo_unrecorded(session, affected)
    again: list[UsageRow] = []
    meter_of = _meters(catalogue)
    for record in lacking:
        place = _remainder(session, record, meter_of)
        again += _put(session, record, place, accepted.get(record.metering_sn), now_ms)
    session.flush()
    deduct_rows(session, again, catalogue, now_ms, recorded=True)
    deduct_rows(session, _unrecorded(session, affected), catalogue, now_ms)
    known = _instances(session, {record.instance_id for record in lacking})
    return PutBack(
        [r.metering_sn for r in lacking if r.metering_sn in accepted],
        [r.metering_sn for r in lacking if r.metering_sn not in accepted],
        sorted({r.instance_id for r in lacking} - known.keys()),
    )


def _meters(catalogue: Catalogue) -> MeterOf:
    return {product_id: product.meter for product_id, product in catalogue.items()}.get


def _remainder(session: Session, record: Logged, meter_of: MeterOf) -> str:
    """The key of the remainder that the record took from."""
    instance = session.get(Instance, record.instance_id)
    if instance is None:
        return record.relate_pkg_instance
    return remainder_place(
        session,
        (instance.id, instance.product_id),
        (record.product_id, record.relate_pkg_instance),
        meter_of,
    )


def _put(
    session: Session, record: Logged, place: str, sent_at: int | None, now_ms: int
) -> list[UsageRow]:
    """One record: its row, its remainder, its usage. The usage whose ordinary packages must be
    asked again, because nothing else remembers what they gave to it."""
    state: dict[str, Any] = {"state": State.PENDING, "next_attempt": now_ms}
    if sent_at is not None:
        state = {"state": State.SENT, "sent_at": sent_at}
    columns = {name: getattr(record, name) for name in record.__struct_fields__}
    session.add(UsageRecord(**(columns | state), logged=True))
    recorded(session, 0, [columns])
    session.execute(
        update(Instance)
        .where(col(Instance.id) == record.instance_id, col(Instance.recorded_until) < record.end)
        .values(recorded_until=record.end)
    )
    new = _settle_remainder(session, record, place)
    if record.relate_pkg_instance:
        _give(session, record, origins.total(new))
    marked = _mark(session, record, new)
    return [] if record.relate_pkg_instance else marked


def _settle_remainder(session: Session, record: Logged, place: str) -> Origins:
    """What the record carries besides units that waited in the remainder, which counted already.

    A record that an adjustment made carries no usage: it only takes from the remainder. Should the
    ledger have lost the adjustment, the remainder is below zero until it is made again.
    """
    key = (record.instance_id, place)
    carry = session.get(Carry, key) or Carry(instance_id=key[0], package_id=key[1])
    carried, waiting = origins.decode(record.origins), origins.decode(carry.origins)
    waited = origins.common(waiting, carried)
    new, left = origins.without(carried, waited), origins.without(waiting, waited)
    pushed = int(Decimal(record.value).scaleb(4)) * record.unit
    carry.quantity += origins.total(new) * SCALE - pushed
    carry.waiting, carry.origins = origins.total(left), origins.encode(left)
    session.add(carry)
    return new


def _give(session: Session, record: Logged, quantity: int) -> None:
    """The package gave this much: a fact, whatever its balance."""
    place = (record.relate_pkg_instance, record.instance_id, record.product_id, record.window)
    package_totals.give(session, [Given(*place, quantity, quantity)])


def _mark(session: Session, record: Logged, new: Origins) -> list[UsageRow]:
    """Mark what the ledger holds of the usage as recorded; the rest is ahead."""
    marked = []
    for origin, quantity in new:
        left = quantity
        for row in _rows(session, record, origin):
            part = min(left, row.quantity - row.recorded)
            if not part:
                break
            row.recorded += part
            left -= part
            session.add(row)
            marked.append(_usage(row, part))
        if record.relate_pkg_instance:
            left -= waiting.take_back(session, record.instance_id, origin, left)
        ahead.put(
            session,
            Ahead(
                instance_id=record.instance_id,
                meter=record.meter,
                origin=origin,
                package_id=record.relate_pkg_instance,
                quantity=left,
            ),
        )
    return marked


def _rows(session: Session, record: Logged, origin: int) -> list[UsageWindow]:
    """Unrecorded usage of one origin, what is booked in the record's own window first."""
    query = select(UsageWindow).where(
        UsageWindow.instance_id == record.instance_id,
        UsageWindow.meter == record.meter,
        UsageWindow.origin == origin,
        UsageWindow.quantity > UsageWindow.recorded,
    )
    return sorted(session.exec(query), key=lambda row: (row.window != record.window, row.window))


def _usage(row: UsageWindow, quantity: int) -> UsageRow:
    return UsageRow(
        row.window,
        row.customer_id,
        row.instance_id,
        row.route,
        row.meter,
        row.grade,
        row.mark,
        row.origin,
        quantity,
    )


def _mark_sent(session: Session, accepted: Mapping[str, int]) -> None:
    """What the ledger still means to push, or gave up, and the marketplace took already."""
    waiting = select(UsageRecord).where(col(UsageRecord.state).in_(sources(State.SENT)))
    for row in session.exec(waiting):
        if row.metering_sn in accepted:
            row.state, row.sent_at = State.SENT, accepted[row.metering_sn]
            row.code = row.error = ""
            session.add(row)


def _affected(session: Session, lacking: Iterable[Logged]) -> list[str]:
    """All instances of the customers whose records came back: they share packages."""
    named = {record.instance_id for record in lacking}
    owners = {i.customer_id for i in _instances(session, named).values()} - {""}
    found = set(named)
    for some in in_parts(sorted(owners)):
        found.update(session.exec(select(Instance.id).where(col(Instance.customer_id).in_(some))))
    return sorted(found)


def _unrecorded(session: Session, instance_ids: Sequence[str]) -> list[UsageRow]:
    rows: list[UsageRow] = []
    for some in in_parts(instance_ids):
        query = select(UsageWindow).where(
            col(UsageWindow.instance_id).in_(some), UsageWindow.quantity > UsageWindow.recorded
        )
        rows += [_usage(row, row.quantity - row.recorded) for row in session.exec(query)]
    return rows


def _instances(session: Session, ids: Iterable[str]) -> dict[str, Instance]:
    found: dict[str, Instance] = {}
    for some in in_parts(sorted(ids)):
        query = select(Instance).where(col(Instance.id).in_(some))
        found |= {row.id: row for row in session.exec(query)}
    return found
