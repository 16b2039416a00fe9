"""From a usage record downwards: the hours whose use it carries, and the calls of those hours."""

from functools import partial
from typing import NamedTuple

from anyio import to_thread
from sqlmodel import Session

from billing_sync import origins
from billing_sync.live import Live
from billing_sync.models import Instance, UsageRecord
from billing_sync.records import SCALE
from billing_sync.store import explaining as store
from billing_sync.store.engine import reading
from billing_sync.store.explaining import Adjusted, Used
from metering.deltas import DeltaKey
from metering.lanes import lanes_in
from metering.partitions import partition_of
from tallygate.reconciliation.amounts import steps_of
from tallygate.reconciliation.explaining import Account, Hour, RecordExplained
from tallygate.reconciliation.from_request import account_of
from tallygate.reconciliation.opening import Stores
from tallygate.reconciliation.searching import Charges
from tallygate.reconciliation.trail import left_of


class _InLedger(NamedTuple):
    """What the ledger knows of the hours behind a record."""

    instance: Instance | None
    accounts: list[Account]
    buckets: dict[str, int]
    adjustments: list[Adjusted]
    packages: dict[str, int]


async def explain_record(stores: Stores, metering_sn: str, limit: int) -> RecordExplained | None:
    """What is behind the usage record; None for an id that is none. At most `limit` calls are named.

    Raises SQLAlchemyError when the ledger is away.
    """
    record = await to_thread.run_sync(_record, stores, metering_sn)
    if record is None:
        return None
    here = dict(origins.decode(record.origins)) or {record.window: record.quantity}
    partition = partition_of(record.customer_id, stores.installation.config.partitions)
    live = Live(stores.engine, stores.counters, stores.clock)
    ask = partial(_in_ledger, record=record, windows=sorted(here))
    moment = await live.moment([partition], ask)
    charges = Charges(record.instance_id, record.meter, frozenset(here), limit)
    covered = await to_thread.run_sync(_read, stores, charges)
    pending = dict.fromkeys(here, 0)
    for key, quantity in moment.deltas():
        if _is_of(key, record) and key.window in pending:
            pending[key.window] += quantity
    said = moment.ledger
    return RecordExplained(
        record=record,
        instance=said.instance,
        hours=[
            Hour(
                account,
                charges.calls.get(account.window, 0),
                charges.used.get(account.window, 0),
                pending[account.window],
                here[account.window],
            )
            for account in said.accounts
        ],
        buckets=said.buckets,
        first=charges.first,
        redis_read=moment.live,
        covered_from=covered,
        netted=(steps_of(record.value) or 0) * record.unit - record.quantity * SCALE,
        adjustments=said.adjustments,
        packages=said.packages,
    )


def _record(stores: Stores, metering_sn: str) -> UsageRecord | None:
    with reading(stores.engine) as session:
        return store.record(session, metering_sn)


def _in_ledger(session: Session, *, record: UsageRecord, windows: list[int]) -> _InLedger:
    accounts = [
        account_of(session, Used(record.instance_id, record.meter, window)) for window in windows
    ]
    booked = {place.window for account in accounts for place in account.booked}
    return _InLedger(
        session.get(Instance, record.instance_id),
        accounts,
        store.buckets(session, record.instance_id, booked),
        store.adjustments_for(session, record),
        store.given_by_packages(session, record.instance_id, booked),
    )


def _read(stores: Stores, charges: Charges) -> int:
    """Find the calls; the first hour of which the journals have everything."""
    journal = stores.installation.journal_dir
    charges.find(journal)
    now_ms = stores.clock.now_ms()
    ends = [left_of(lane, 0, now_ms).window for lane in lanes_in(journal)]
    return max(ends, default=0)


def _is_of(key: DeltaKey, record: UsageRecord) -> bool:
    return (key.instance_id, key.meter) == (record.instance_id, record.meter)
