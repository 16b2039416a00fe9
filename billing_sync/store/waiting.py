"""The SQL of overshoot that waits for a package bought later (policy `next_package`).

It stands as PackageUse and PackageTotal of WAITING, and in bucket `overshoot` once its window is
closed. When a package can give to it, the bucket gives it back as the remainder of that package's
next record; what is not closed yet becomes an ordinary slice. The caller has locked the partition's
row.
"""

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from sqlmodel import Session, col, select

from billing_sync import origins, packages
from billing_sync.models import Bucket, Carry, Instance, PackageUse, UsageWindow
from billing_sync.package_models import PackageTotal
from billing_sync.packages import WAITING
from billing_sync.records import SCALE
from billing_sync.store.engine import add_up, in_parts
from billing_sync.store.package_totals import Given, give
from billing_sync.store.packages import balances
from metering.catalogue import Catalogue
from metering.entitlement import InstanceStatus
from metering.windows import window_of

# What a released instance waits for comes too late: no record of it could say so.
_WAITS: Final = (
    PackageTotal.package_id == WAITING,
    PackageTotal.quantity > 0,
    Instance.status != InstanceStatus.RELEASED,
)


class _Owed(NamedTuple):
    customer_id: str
    item: str
    instance_id: str
    quantity: int


class _Piece(NamedTuple):
    """Of one window; `billed` is the part that stands in the bucket."""

    window: int
    quantity: int
    billed: int


def settle(
    session: Session, customer_ids: Collection[str], catalogue: Catalogue, now_ms: int
) -> None:
    """Deduct what waits of these customers from the stop-before-excess packages they have now."""
    owed = _owed(session, customer_ids)
    if not owed:
        return
    held = balances(session, {one.customer_id for one in owed}, catalogue, now_ms)
    for one in owed:
        mine = held.get((one.customer_id, one.item), [])
        stopping = [balance for balance in mine if balance.stop_before_excess]
        taken = packages.take(one.quantity, stopping, now_ms)
        held[one.customer_id, one.item] = packages.after(mine, taken)
        for part in taken:
            _hand_over(session, one, part, now_ms)


def settle_partition(session: Session, partition: int, catalogue: Catalogue, now_ms: int) -> None:
    """The same for every customer of the partition, whether he uses anything or not."""
    used_there = (
        select(UsageWindow.instance_id)
        .where(
            UsageWindow.instance_id == PackageTotal.instance_id,
            UsageWindow.partition == partition,
        )
        .exists()
    )
    query = (
        select(Instance.customer_id)
        .join(PackageTotal, col(PackageTotal.instance_id) == Instance.id)
        .where(*_WAITS, used_there)
        .distinct()
    )
    settle(session, session.exec(query).all(), catalogue, now_ms)


def outstanding(session: Session, customer_ids: Collection[str]) -> dict[tuple[str, str], int]:
    """What waits of each customer for each billing item: {(customer, item): quantity}."""
    found: dict[tuple[str, str], int] = {}
    for one in _owed(session, customer_ids):
        place = (one.customer_id, one.item)
        found[place] = found.get(place, 0) + one.quantity
    return found


def take_back(session: Session, instance_id: str, window: int, quantity: int) -> int:
    """A record of the push log proves that a package gave to what waits here: how much of it."""
    query = select(PackageUse, PackageTotal.item).join(
        PackageTotal, col(PackageTotal.instance_id) == PackageUse.instance_id
    )
    query = query.where(
        PackageUse.package_id == WAITING,
        PackageUse.instance_id == instance_id,
        PackageUse.window == window,
        PackageTotal.package_id == WAITING,
        PackageTotal.quantity > 0,
    )
    found = session.exec(query).first()
    if found is None:
        return 0
    use, item = found
    part = min(quantity, use.recorded)
    if part:
        give(session, [Given(WAITING, instance_id, item, window, -part, -part)])
        _out_of_the_bucket(session, instance_id, window, part)
        session.refresh(use)
    return part


def _owed(session: Session, customer_ids: Collection[str]) -> list[_Owed]:
    if (
        session.exec(
            select(PackageTotal.instance_id)
            .where(PackageTotal.package_id == WAITING, PackageTotal.quantity > 0)
            .limit(1)
        ).first()
        is None
    ):
        return []  # as good as always
    found: list[_Owed] = []
    for some in in_parts(sorted(customer_ids)):
        query = (
            select(
                Instance.customer_id,
                PackageTotal.item,
                PackageTotal.instance_id,
                PackageTotal.quantity,
            )
            .join(Instance, col(Instance.id) == PackageTotal.instance_id)
            .where(*_WAITS, col(Instance.customer_id).in_(some))
        )
        found += [_Owed(*row) for row in session.exec(query)]
    return sorted(found)


def _hand_over(session: Session, owed: _Owed, part: packages.Allocation, now_ms: int) -> None:
    """Move a part from WAITING to the package, the oldest window first."""
    i, item, package_id, now = owed.instance_id, owed.item, part.package_id, window_of(now_ms)
    billed = []
    for piece in _pieces(session, i, part.quantity):
        slice_ = piece.quantity - piece.billed
        moves = [
            Given(WAITING, i, item, piece.window, -piece.quantity, -piece.billed),
            Given(package_id, i, item, piece.window, slice_),
            Given(package_id, i, item, now, piece.billed, piece.billed),
        ]
        give(session, [move for move in moves if move.quantity])
        if piece.billed:
            _out_of_the_bucket(session, i, piece.window, piece.billed)
            billed.append((piece.window, piece.billed))
    _carry_over(session, i, package_id, origins.of(billed))


def _pieces(session: Session, instance_id: str, quantity: int) -> Iterator[_Piece]:
    query = (
        select(PackageUse.window, PackageUse.quantity, PackageUse.recorded)
        .where(
            PackageUse.package_id == WAITING,
            PackageUse.instance_id == instance_id,
            PackageUse.quantity > 0,
        )
        .order_by(col(PackageUse.window))
    )
    for window, there, recorded in session.exec(query).all():
        part = min(quantity, there)
        if part:
            yield _Piece(window, part, min(part, recorded))
        quantity -= part


def _out_of_the_bucket(session: Session, instance_id: str, window: int, quantity: int) -> None:
    row = {"instance_id": instance_id, "window": window, "name": "overshoot"}
    add_up(session, Bucket, [row | {"quantity": -quantity}], "quantity")


def _carry_over(session: Session, instance_id: str, package_id: str, used: origins.Origins) -> None:
    """It waits for the package's next record, as a remainder does."""
    quantity = origins.total(used)
    if not quantity:
        return
    place = (instance_id, package_id)
    row = session.get(Carry, place) or Carry(instance_id=instance_id, package_id=package_id)
    row.quantity += quantity * SCALE
    row.waiting += quantity
    row.origins = origins.encode(origins.of([*used, *origins.decode(row.origins)]))
    session.add(row)
    session.flush()
