"""The SQL of upgrades: which are there, which still wait for the old product's last interval."""

from collections.abc import Callable, Sequence
from typing import Final

from sqlmodel import Session, col, select

from billing_sync.models import Carry
from billing_sync.store.engine import in_parts
from billing_sync.upgrade_models import Upgrade
from billing_sync.upgrades import FOREIGN, Change, in_force, remainder_key, tenures
from metering.windows import end_ms, window_of

MeterOf = Callable[[str], str | None]

_EVER: Final = 2**62


def changes_of(session: Session, instance_ids: Sequence[str]) -> dict[str, list[Change]]:
    """The upgrades of those instances that had any, oldest first."""
    if session.exec(select(Upgrade.instance_id).limit(1)).first() is None:
        return {}  # as good as always
    found: dict[str, list[Change]] = {}
    for some in in_parts(instance_ids):
        query = select(Upgrade).where(col(Upgrade.instance_id).in_(some))
        for row in session.exec(query.order_by(col(Upgrade.at), col(Upgrade.received_at))):
            change = Change(row.at, row.old_product_id, bool(row.settled))
            found.setdefault(row.instance_id, []).append(change)
    return found


def open_ones(session: Session, partition: int, *, received_until: int) -> list[str]:
    """The instances whose upgrade came in by then, and whose old product still waits to be cut."""
    query = select(Upgrade.instance_id).where(
        Upgrade.partition == partition,
        Upgrade.settled == 0,
        Upgrade.received_at <= received_until,
    )
    return list(session.exec(query.distinct()))


def partitions_with_open(session: Session, *, received_until: int) -> set[int]:
    """The partitions of such instances."""
    query = select(Upgrade.partition).where(
        Upgrade.settled == 0, Upgrade.received_at <= received_until
    )
    return set(session.exec(query.distinct()))


def settle(
    session: Session, instance_ids: Sequence[str], meter_of: MeterOf, *, ended_by: int = _EVER
) -> None:
    """What was used before is recorded: the rest of that hour is the new product's.

    Only upgrades whose hour is over by `ended_by`. Where the meter changed, the remainder changes
    its place, because nothing of the new meter can be added to it.
    """
    for some in in_parts(instance_ids):
        query = select(Upgrade).where(col(Upgrade.instance_id).in_(some), Upgrade.settled == 0)
        for row in session.exec(query.order_by(col(Upgrade.at), col(Upgrade.received_at))):
            if end_ms(window_of(row.at)) <= ended_by:
                row.settled = 1
                session.add(row)
                _move_remainders(session, row, meter_of)
    session.flush()


def _move_remainders(session: Session, upgrade: Upgrade, meter_of: MeterOf) -> None:
    old, new = upgrade.old_product_id, upgrade.new_product_id
    if remainder_key("", old, new, meter_of) == "":
        return
    rows = session.exec(select(Carry).where(Carry.instance_id == upgrade.instance_id)).all()
    moved = [{**row.model_dump(), "package_id": _moved(row.package_id, old, new)} for row in rows]
    for row in rows:
        session.delete(row)
    session.flush()
    session.add_all(Carry(**columns) for columns in moved)
    session.flush()


def _moved(key: str, old: str, new: str) -> str:
    package_id, foreign, product_id = key.partition(FOREIGN)
    if not foreign:
        return f"{package_id}{FOREIGN}{old}"
    return package_id if product_id == new else key


def remainder_place(
    session: Session, instance: tuple[str, str], record: tuple[str, str], meter_of: MeterOf
) -> str:
    """The key of the remainder that a record of `(product, package)` of an instance
    `(id, product)` took from."""
    instance_id, product_now = instance
    product_id, package_id = record
    changes = changes_of(session, [instance_id]).get(instance_id)
    if not changes:
        return package_id
    current = in_force(tenures(product_now, changes)).product_id
    return remainder_key(package_id, product_id, current, meter_of)
