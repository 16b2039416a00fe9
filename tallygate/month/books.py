"""Reads the books of a month: the upstream's tally, the ledger, and what the marketplace collected."""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, func
from sqlmodel import Session, SQLModel, col, select

from billing_sync.finding_models import FindingRow
from billing_sync.models import Bucket, Carry, Instance, UsageRecord, UsageWindow
from billing_sync.origins import Origins, decode
from billing_sync.store.engine import reading
from metering.catalogue import Catalogue
from metering.windows import window_of
from tallygate.month.balance import SCALE, Books, Record
from tallygate.month.tally import Place, Tally
from tallygate.simulator.stored import State, StoredRecord
from tallygate.simulator.times import parse_record_time


def read(engine: Engine, catalogue: Catalogue, tally: Tally, sdrs: Iterable[StoredRecord]) -> Books:
    """Everything at one moment; `sdrs` are the records as the marketplace holds them."""
    with reading(engine) as session:
        records = list(session.exec(select(UsageRecord)))
        carries = list(session.exec(select(Carry)))
        products = dict(session.exec(select(Instance.id, Instance.product_id)).all())
        units = {i: catalogue[p].unit for i, p in products.items() if p in catalogue}
        units |= {record.instance_id: record.unit for record in records}
        carry: Counter[str] = Counter()
        for row in carries:
            carry[row.instance_id] += row.quantity
        return Books(
            served=tally.served,
            uncertain=_uncertain(session, tally),
            ledger=_ledger(session),
            records=[_record(record) for record in records],
            collected=[_collected(sdr, units) for sdr in sdrs if sdr.state is State.COLLECTED],
            carry=carry,
            buckets=_buckets(session),
            unrecorded=_unrecorded(session),
            origins=_origins(
                [
                    *((r.instance_id, decode(r.origins)) for r in records),
                    *((c.instance_id, decode(c.origins)) for c in carries),
                ]
            ),
            products=products,
            adjusted=_adjusted(session),
        )


def named(engine: Engine, kind: str) -> list[str]:
    """What findings of a kind are about: a request, else a lane."""
    query = select(FindingRow.request_id, FindingRow.lane).where(FindingRow.kind == kind)
    with reading(engine) as session:
        return [request or lane for request, lane in session.exec(query)]


def moving(engine: Engine) -> bool:
    """Whether usage waits for a record, or a record to be pushed."""
    waiting = select(UsageRecord.metering_sn).where(
        col(UsageRecord.state).in_(["pending", "sending", "held"])
    )
    with reading(engine) as session:
        return session.exec(waiting.limit(1)).first() is not None or bool(_unrecorded(session))


def late(engine: Engine) -> int:
    """How many rows of usage were booked in another hour than their own."""
    query = select(func.count()).where(col(UsageWindow.mark) != "")
    with reading(engine) as session:
        return int(session.exec(query).one())


def _uncertain(session: Session, tally: Tally) -> Counter[Place]:
    query = select(FindingRow.request_id).where(FindingRow.kind == "uncertain")
    found: Counter[Place] = Counter()
    for request in session.exec(query):
        found.update(tally.unseen.get(request, Counter()))
    return found


def _ledger(session: Session) -> dict[Place, int]:
    place = (UsageWindow.instance_id, UsageWindow.origin, UsageWindow.customer_id)
    total = func.sum(UsageWindow.quantity)
    query: Any = select(*place, UsageWindow.meter, total).group_by(*place, UsageWindow.meter)  # type: ignore[call-overload]
    return {Place(i, w, c, m): int(quantity) for i, w, c, m, quantity in session.exec(query)}


def _unrecorded(session: Session) -> dict[tuple[str, int], int]:
    left = func.sum(UsageWindow.quantity - UsageWindow.recorded)
    query = (
        select(UsageWindow.instance_id, UsageWindow.origin, left)
        .where(UsageWindow.instance_id != "", UsageWindow.quantity > UsageWindow.recorded)
        .group_by(col(UsageWindow.instance_id), col(UsageWindow.origin))
    )
    return {(instance, window): int(waiting) for instance, window, waiting in session.exec(query)}


def _buckets(session: Session) -> dict[tuple[str, int, str], int]:
    return {
        (row.instance_id, row.window, row.name): row.quantity
        for row in session.exec(select(Bucket))
    }


def _adjusted(session: Session) -> dict[str, int]:
    """What persons added to instances, or took from them; nothing where there is no such table."""
    table = SQLModel.metadata.tables.get("adjustment")
    if table is None:
        return {}
    query = select(table.c.instance_id, func.sum(table.c.quantity)).group_by(table.c.instance_id)
    return {instance: int(quantity) for instance, quantity in session.execute(query)}


def _origins(many: Iterable[tuple[str, Origins]]) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    for instance, parts in many:
        for window, quantity in parts:
            found[instance, window] += quantity
    return found


def _record(record: UsageRecord) -> Record:
    steps = _steps(record.value, record.unit)
    return Record(record.metering_sn, record.instance_id, record.window, steps, record.state)


def _collected(sdr: StoredRecord, units: Mapping[str, int]) -> Record:
    record, instance = sdr.record, sdr.instance_id
    steps = _steps(str(record["usage_value"]), units.get(instance, 1))
    begin = parse_record_time(record["begin_time"]) or 0
    return Record(str(record.get("metering_sn")), instance, window_of(begin), steps, "collected")


def _steps(value: str, unit: int) -> int:
    """Billing units as ten-thousandths of the meter's smallest unit."""
    return int(Decimal(value) * SCALE) * unit
