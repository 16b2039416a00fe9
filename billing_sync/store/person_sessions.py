"""The SQL of sessions of tenants' users, and of what each may see now.

A session does not outlive its person's authorization: whoever is told of again under the same name may
be somebody else, and signs in anew.
"""

from typing import NamedTuple

from sqlalchemy import delete
from sqlmodel import Session, col, select

from billing_sync.kit_models import KitTenant
from billing_sync.models import Instance
from billing_sync.people_models import PersonSession
from billing_sync.store import kit_access
from billing_sync.store.engine import in_parts
from billing_sync.store.kit_access import ADMIN


class Present(NamedTuple):
    """A session that is good now: his instances by customer, and whether he may change anything."""

    row: PersonSession
    name: str
    is_admin: bool
    instances: dict[str, frozenset[str]]


def hold(session: Session, tenant_id: str) -> None:
    """Nobody tells of the tenant until this transaction ends: who may sign in now may at its end."""
    query = select(KitTenant.instance_id).where(KitTenant.tenant_id == tenant_id)
    session.exec(query.order_by(col(KitTenant.instance_id)).with_for_update(read=True)).all()


def open_(session: Session, row: PersonSession, now_ms: int) -> None:
    """Keep a new session; those that are over go."""
    session.execute(delete(PersonSession).where(col(PersonSession.ends) <= now_ms))
    session.add(row)


def close(session: Session, session_id: str) -> PersonSession | None:
    """End a session; the row there was."""
    row = session.get(PersonSession, session_id)
    if row is not None:
        session.delete(row)
    return row


def close_stale(session: Session, session_id: str, sealed: str) -> bool:
    """End a session whose tokens were refused, unless it has others by now."""
    row = session.get(PersonSession, session_id, with_for_update=True)
    if row is None or row.sealed != sealed:
        return False
    session.delete(row)
    return True


def close_lost(session: Session, tenant_id: str) -> None:
    """End the sessions of those who may not sign in any more; in the transaction that takes it from
    them."""
    session.flush()
    query = select(PersonSession.app_id, PersonSession.user_name).where(
        PersonSession.tenant_id == tenant_id
    )
    for app_id, user_name in session.exec(query.distinct()).all():
        access = kit_access.access_of(session, tenant_id, app_id, user_name)
        if access is None or not access.enabled:
            session.execute(
                delete(PersonSession).where(
                    col(PersonSession.tenant_id) == tenant_id,
                    col(PersonSession.app_id) == app_id,
                    col(PersonSession.user_name) == user_name,
                )
            )


def touch(session: Session, session_id: str, now_ms: int) -> None:
    """He was here."""
    row = session.get(PersonSession, session_id, with_for_update=True)
    if row is not None:
        row.seen = max(row.seen, now_ms)


def renew(session: Session, session_id: str, sealed: str, renew_at: int) -> None:
    """He has other tokens."""
    row = session.get(PersonSession, session_id, with_for_update=True)
    if row is not None:
        row.sealed, row.renew_at = sealed, renew_at


def exists(session: Session, session_id: str) -> bool:
    """Whether there is such a session, good or over."""
    return session.get(PersonSession, session_id) is not None


def present(session: Session, session_id: str, now_ms: int, idle_ms: int) -> Present | None:
    """The session, if it is neither over nor idle, and its person may still sign in."""
    row = session.get(PersonSession, session_id)
    if row is None or now_ms >= row.ends or now_ms - row.seen >= idle_ms:
        return None
    access = kit_access.access_of(session, row.tenant_id, row.app_id, row.user_name)
    if access is None or not access.enabled:
        return None
    by_customer = _by_customer(session, access.instance_ids)
    return Present(row, access.name or row.user_name, access.role == ADMIN, by_customer)


def _by_customer(session: Session, ids: tuple[str, ...]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for some in in_parts(ids):
        query = select(Instance.id, Instance.customer_id).where(col(Instance.id).in_(some))
        for instance_id, customer_id in session.exec(query):
            if customer_id:
                found.setdefault(customer_id, set()).add(instance_id)
    return {customer: frozenset(found[customer]) for customer in sorted(found)}
