"""The SQL of erasing what is known of the buyers of instances that were released long ago.

Erased: bodies of callbacks, what orders told, what the Kit told, licences and fingerprints, and with
a customer's last instance his name and his keys. Kept, because bills rest on it: ids, times, products, usage, records, answers to callbacks, and
keys that were revoked, without their sealed copies: who was shut out stays so.
"""

import json
from collections.abc import Sequence

from sqlalchemy import and_, delete, func, or_, update
from sqlmodel import Session, col, select

from billing_sync.key_models import ApiKey, KeyUse
from billing_sync.lifecycle import Activity
from billing_sync.market_models import Erasure
from billing_sync.models import CustomerRow, Instance, LifecycleInbox, OrderLine
from billing_sync.store import kit, licences, projections
from billing_sync.store.instances import MARKETPLACE
from billing_sync.upgrade_models import Upgrade


def erase(session: Session, released_until: int, at: int, limit: int) -> list[str]:
    """Erase for some of the instances that were released by then; their ids."""
    query = (
        select(Instance)
        .where(
            Instance.source == MARKETPLACE,
            col(Instance.released) > 0,
            Instance.released <= released_until,
            Instance.erased == 0,
        )
        .order_by(col(Instance.released), col(Instance.id))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = session.exec(query).all()
    for instance in found:
        instance.erased = at
    session.flush()
    for instance in found:
        _erase_one(session, instance, at)
    return [instance.id for instance in found]


def _erase_one(session: Session, instance: Instance, at: int) -> None:
    told = session.exec(
        select(LifecycleInbox).where(
            LifecycleInbox.instance_id == instance.id, LifecycleInbox.body != ""
        )
    ).all()
    for row in told:
        row.body = _what_rules_need(row)
    _forget_orders(session, instance)
    kit.forget(session, instance.id)
    licences.forget(session, instance.id)
    keys, named = _forget_customer(session, instance.customer_id)
    done = Erasure(instance_id=instance.id, at=at, callbacks=len(told), keys=keys, named=named)
    session.add(done)
    if instance.customer_id:
        projections.enqueue(session, instance.customer_id, at)


def _what_rules_need(row: LifecycleInbox) -> str:
    """Late usage is judged by when the instance was frozen (see freezing), so expiries stay."""
    if row.activity != Activity.REFRESH:
        return ""
    return json.dumps({"expireTime": json.loads(row.body).get("expireTime", "")})


def _forget_orders(session: Session, instance: Instance) -> None:
    upgrades = select(Upgrade.order_id, Upgrade.order_line_id).where(
        Upgrade.instance_id == instance.id
    )
    lines = {(instance.order_id, instance.order_line_id), *session.exec(upgrades)}
    of_them = [
        and_(col(OrderLine.order_id) == order, col(OrderLine.order_line_id) == line)
        for order, line in sorted(lines)
    ]
    session.execute(update(OrderLine).where(or_(*of_them)).values(raw="", customer_name=""))


def _forget_customer(session: Session, customer_id: str) -> tuple[int, bool]:
    """With his last instance: how many keys were deleted, and whether his name went."""
    customer = session.get(CustomerRow, customer_id) if customer_id else None
    if customer is None or customer.source != MARKETPLACE or _has_more(session, customer_id):
        return 0, False
    customer.name = ""
    live = session.exec(
        select(ApiKey.id).where(ApiKey.customer_id == customer_id, ApiKey.revoked == 0)
    ).all()
    _forget_keys(session, customer_id, [key_id for key_id in live if key_id is not None])
    return len(live), True


def _has_more(session: Session, customer_id: str) -> bool:
    query = select(func.count()).select_from(Instance)
    return bool(
        session.exec(query.where(Instance.customer_id == customer_id, Instance.erased == 0)).one()
    )


def _forget_keys(session: Session, customer_id: str, live: Sequence[int]) -> None:
    session.execute(delete(KeyUse).where(col(KeyUse.key_id).in_([str(each) for each in live])))
    session.execute(delete(ApiKey).where(col(ApiKey.id).in_(live)))
    session.execute(
        update(ApiKey).where(col(ApiKey.customer_id) == customer_id).values(sealed="", name="")
    )


def count(session: Session) -> int:
    """For how many instances that was done."""
    return session.exec(select(func.count()).select_from(Erasure)).one()
