"""The SQL of API keys as people manage them, and of when each was last used.

A key is never deleted: what once let a customer in can be looked up for ever. Only digests and
sealed copies pass through here.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import case
from sqlmodel import Session, col, select

from billing_sync.asking import KeyPage
from billing_sync.errors import KeyRefused, UnknownCustomer, UnknownKey
from billing_sync.key_making import MadeKey
from billing_sync.key_models import ApiKey, KeyUse
from billing_sync.key_terms import KeyAsked, RotationAsked
from billing_sync.models import CustomerRow
from billing_sync.store import projections
from billing_sync.store.engine import in_parts, inserting

MOST_KEYS: Final = 100  # of one customer that are not revoked: all of them travel to every worker
OPERATOR: Final = "operator"


def create(session: Session, asked: KeyAsked, made: MadeKey, at: int) -> ApiKey:
    """A further key of a customer. Raises UnknownCustomer or KeyRefused."""
    if not _lock(session, asked.customer_id):
        raise UnknownCustomer(
            f"there is no customer {asked.customer_id!r}; customers come with a purchase, or stand "
            "under `customers:` in the configuration"
        )
    return _add(
        session,
        ApiKey(
            customer_id=asked.customer_id,
            digest=made.digest,
            sealed=made.sealed if asked.deliver else "",
            created=at,
            expires=asked.expires,
            name=asked.name,
            shown=made.shown,
            routes=json.dumps(asked.routes, ensure_ascii=False),
            source=OPERATOR,
        ),
    )


def rotate(session: Session, key_id: int, asked: RotationAsked, made: MadeKey, at: int) -> ApiKey:
    """A key in place of another one, of the same name and scope. Raises UnknownKey or KeyRefused.

    Where the old one is delivered through appInfo the new one is, and the old one no longer.
    """
    old = _locked(session, key_id)
    if old.revoked or old.replaced_by is not None:
        what = "revoked" if old.revoked else f"replaced by key {old.replaced_by} already"
        raise KeyRefused(f"key {key_id} was {what}")
    expires = old.expires if asked.expires is None else asked.expires
    if 0 < expires <= at:
        raise KeyRefused(f"key {key_id} has expired; say when the new one shall (expires)")
    new = _add(
        session,
        ApiKey(
            customer_id=old.customer_id,
            digest=made.digest,
            sealed=made.sealed if old.sealed else "",
            created=at,
            expires=expires,
            name=old.name,
            shown=made.shown,
            routes=old.routes,
            source=old.source,
        ),
    )
    end = at + asked.overlap_ms
    old.expires = min(old.expires, end) if old.expires else end
    old.replaced_by, old.sealed = new.id, ""
    return new


def revoke(session: Session, key_id: int, at: int) -> ApiKey:
    """The key lets nobody in any more; a second time changes nothing. Raises UnknownKey."""
    key = _locked(session, key_id)
    if not key.revoked:
        key.revoked, key.sealed = at, ""
        projections.enqueue(session, key.customer_id, at)
        session.flush()
    return key


def listed(session: Session, page: KeyPage) -> list[ApiKey]:
    """Keys in the order they were made."""
    query = select(ApiKey).order_by(col(ApiKey.id)).limit(page.limit)
    if page.customer_id is not None:
        query = query.where(ApiKey.customer_id == page.customer_id)
    if page.after is not None:
        query = query.where(col(ApiKey.id) > page.after)
    return list(session.exec(query))


def last_uses(session: Session, key_ids: Iterable[str]) -> dict[str, int]:
    """When keys were last used, UTC ms; who was never used is left out."""
    found: dict[str, int] = {}
    for some in in_parts(list(key_ids)):
        query = select(KeyUse).where(col(KeyUse.key_id).in_(some))
        found |= {use.key_id: use.at for use in session.exec(query)}
    return found


def take_in(session: Session, uses: Mapping[str, int], now_ms: int) -> None:
    """Note uses; an earlier one changes nothing, and none is later than now."""
    if not uses:
        return
    # In one order, or two control planes that do so wait for each other.
    rows = [{"key_id": key_id, "at": min(at, now_ms)} for key_id, at in sorted(uses.items())]
    insert = inserting(session, KeyUse)
    known = col(KeyUse.at)
    latest = case((insert.excluded.at > known, insert.excluded.at), else_=known)
    session.execute(
        insert.on_conflict_do_update(index_elements=["key_id"], set_={"at": latest}), rows
    )


def _add(session: Session, key: ApiKey) -> ApiKey:
    _make_room(session, key.customer_id, key.created)
    session.add(key)
    projections.enqueue(session, key.customer_id, key.created)
    session.flush()
    return key


def _make_room(session: Session, customer_id: str, at: int) -> None:
    """Expired keys are only kept so that their holders are told why they are refused."""
    query = select(ApiKey).where(ApiKey.customer_id == customer_id, ApiKey.revoked == 0)
    keys = session.exec(query.order_by(col(ApiKey.id))).all()
    expired = [key for key in keys if 0 < key.expires <= at]
    for key in expired[: max(0, len(keys) - MOST_KEYS + 1)]:
        key.revoked, key.sealed = at, ""
    if len(keys) - len(expired) >= MOST_KEYS:
        raise KeyRefused(
            f"customer {customer_id} has {MOST_KEYS} keys; revoke those that nobody uses"
        )


def _locked(session: Session, key_id: int) -> ApiKey:
    """The key, under the lock of its customer. Raises UnknownKey."""
    key = session.get(ApiKey, key_id)
    if key is None:
        raise UnknownKey(f"there is no key {key_id}")
    _lock(session, key.customer_id)
    session.refresh(key)
    return key


def _lock(session: Session, customer_id: str) -> bool:
    """Whoever changes a customer's keys does so alone; False where there is no such customer."""
    query = select(CustomerRow.id).where(CustomerRow.id == customer_id).with_for_update()
    return session.exec(query).first() is not None
