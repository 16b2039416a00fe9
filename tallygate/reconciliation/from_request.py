"""From a request id upwards: its record, its drain, its hour, and the usage records of that hour."""

from functools import partial
from typing import NamedTuple

from anyio import to_thread
from sqlmodel import Session

from billing_sync.finding_models import FindingRow
from billing_sync.live import Live
from billing_sync.models import Instance, UsageWindow
from billing_sync.store import explaining as store
from billing_sync.store import reconciling
from billing_sync.store.engine import reading
from billing_sync.store.explaining import DrainedBy, Used
from metering.lanes import Entry
from metering.usage import Charge
from metering.windows import Window, end_ms, window_of
from tallygate.reconciliation.explaining import (
    Account,
    Assigned,
    Booked,
    Carried,
    Charged,
    Placed,
    RequestExplained,
    Stands,
)
from tallygate.reconciliation.opening import Stores
from tallygate.reconciliation.searching import Hit, find_open, find_records


async def explain_request(stores: Stores, request_id: str) -> RequestExplained:
    """Everything this disk and the ledger know. Raises SQLAlchemyError when the ledger is away."""
    journal = stores.installation.journal_dir
    # Slots first: a request that ends in between is found by its record.
    slots = await to_thread.run_sync(find_open, journal, request_id)
    hits = await to_thread.run_sync(find_records, journal, request_id)
    findings = await to_thread.run_sync(_findings, stores, request_id)
    placed = [await _place(stores, hit) for hit in hits]
    ended = max((hit.entry.record.time_ms for hit in hits), default=-1)
    slots = [slot for slot in slots if slot.request.started > ended]
    return RequestExplained(request_id, placed, slots, findings)


def _findings(stores: Stores, request_id: str) -> list[FindingRow]:
    with reading(stores.engine) as session:
        return store.findings_of(session, request_id)


async def _place(stores: Stores, hit: Hit) -> Placed:
    entry = hit.entry
    live = Live(stores.engine, stores.counters, stores.clock)
    moment = await live.moment([entry.partition], partial(_in_ledger, entry=entry))
    said = moment.ledger
    reached = max((held.positions.get(entry.lane, 0) for held in moment.pending), default=0)
    stands = Stands.REDIS if entry.number <= reached else Stands.JOURNAL
    stands = Stands.LEDGER if said.booked else stands
    return Placed(hit, stands, moment.live, said.drain, said.charged, said.assigned)


class _InLedger(NamedTuple):
    """What the ledger knows of a record."""

    booked: bool
    drain: DrainedBy | None
    charged: list[Charged]
    assigned: list[Assigned]


def _in_ledger(session: Session, *, entry: Entry) -> _InLedger:
    lane, number, partition, record = entry
    checkpoint = reconciling.checkpoints(session, [partition])[partition].get(lane, 0)
    said = _InLedger(number <= checkpoint, None, [], [])
    if said.booked:
        said = said._replace(drain=store.drained_by(session, partition, lane, number))
    charged = [
        _charged(session, entry, charge, said)
        for charge in record.charges
        if charge.meter in record.quantities
    ]
    window = window_of(record.time_ms)
    assigned = store.assigned_of(session, record.customer_id, record.route, window)
    mine = [Assigned(*each) for each in assigned if each[1] in record.quantities]
    return said._replace(charged=charged, assigned=[] if charged else mine)


def _charged(session: Session, entry: Entry, charge: Charge, said: _InLedger) -> Charged:
    record = entry.record
    quantity = record.quantities[charge.meter]
    used = Used(charge.instance_id, charge.meter, window_of(record.time_ms))
    account = account_of(session, used)
    rows = [
        row
        for row in store.booked(session, used)
        if (row.route, row.grade) == (record.route, quantity.grade)
    ]
    instance = session.get(Instance, charge.instance_id)
    return Charged(
        charge.instance_id,
        charge.meter,
        quantity,
        instance.source if instance else "",
        _places_of(rows, used.origin, said.drain) if said.booked else [],
        account,
    )


def _places_of(rows: list[UsageWindow], window: int, drain: DrainedBy | None) -> list[Booked]:
    """Where it may stand: before an hour was over, nothing of it can have been late."""
    places = list(dict.fromkeys(Booked(row.window, row.mark) for row in rows))
    if len(places) > 1 and drain is not None and drain.at < end_ms(Window(window)):
        return [place for place in places if not place.mark]
    return places


def account_of(session: Session, used: Used) -> Account:
    """What became of an hour's use."""
    rows = store.booked(session, used)
    return Account(
        window=used.origin,
        held=sum(row.quantity for row in rows),
        booked=list(dict.fromkeys(Booked(row.window, row.mark) for row in rows)),
        carried=[Carried(*pair) for pair in store.records_of(session, used)],
        waiting=store.waiting(session, used),
        unrecorded=sum(row.quantity - row.recorded for row in rows),
        assigned=sum(row.quantity for row in rows if row.mark == store.ASSIGNED),
        buckets=store.buckets(session, used.instance_id, {row.window for row in rows}),
    )
