"""The SQL of who may see what, as the joint-operation Kit told it (spec §5): for the sign-in of people.

All three functions only read, by the newest state that is committed: asked on each request, they are
right at once after a deletion, a cancellation, a freeze or a release. A tenant counts while it was
added and not deleted since; so do its applications and their users. Instances that are frozen or
released show nothing. While the seller applies for credentials there is no instance: such people can
sign in, and see nothing.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import Session, col, select

from billing_sync.kit_models import KitApp, KitTenant, KitUser
from billing_sync.models import Instance
from billing_sync.store.instances import MARKETPLACE
from metering import keys
from metering.entitlement import InstanceStatus

ADMIN = "admin"
USER = "user"
CLIENT_SECRET = "tallygate sealed client-secret"  # noqa: S105  (the purpose of its subkey)
_SERVED = (InstanceStatus.ACTIVE, InstanceStatus.CREATING)


@dataclass(frozen=True, slots=True)
class KitApplication:
    """As whom people of a tenant are signed in.

    `domain_name` is the base URL of the tenant's authorization centre as the marketplace sent it: it was
    not checked to be https://. `instance_id` is empty while the seller applies for credentials.
    """

    instance_id: str
    tenant_id: str
    tenant_code: str
    tenant_name: str
    domain_name: str
    app_id: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KitAccess:
    """What a person may see: these instances and nothing else of their customer.

    `customer_id` is empty where it is not known yet, or where the instances are of several customers.
    `role` is `admin` only where it is so for each of the instances. `enabled` is False where the person
    is known everywhere as switched off; then `instance_ids` is empty.
    """

    instance_ids: tuple[str, ...]
    customer_id: str
    name: str
    role: str
    enabled: bool


def applications(
    session: Session,
    secret: bytes,
    tenant_id: str,
    *,
    instance_id: str | None = None,
    app_id: str | None = None,
) -> list[KitApplication]:
    """The applications of a tenant as which a sign-in may be tried, those of instances first.

    `secret` is the installation's. Raises cryptography's InvalidTag where it is another one than when
    the secrets were sealed.
    """
    query = (
        select(KitTenant, KitApp)
        .join(KitApp, and_(*_same(KitTenant, KitApp, "instance_id", "tenant_id")))
        .outerjoin(Instance, col(Instance.id) == KitTenant.instance_id)
        .where(KitTenant.tenant_id == tenant_id, *tenant_lives(), *app_lives(), _is_served())
        .order_by(col(KitTenant.instance_id).desc(), col(KitApp.app_id))
    )
    if instance_id is not None:
        query = query.where(KitTenant.instance_id == instance_id)
    if app_id is not None:
        query = query.where(KitApp.app_id == app_id)
    return [_application(tenant, app, secret) for tenant, app in session.exec(query)]


def access_of(
    session: Session, tenant_id: str, app_id: str | None, user_name: str
) -> KitAccess | None:
    """What this person of a tenant may see, through this application or through any.

    None where he may not even sign in: nobody told of him, his authorization was cancelled, he, his
    tenant or the application was deleted, or every instance is frozen or released.
    """
    query = (
        select(KitUser, Instance.id, Instance.customer_id)
        .join(KitTenant, and_(*_same(KitUser, KitTenant, "instance_id", "tenant_id")))
        .join(KitApp, and_(*_same(KitUser, KitApp, "instance_id", "tenant_id", "app_id")))
        .outerjoin(Instance, col(Instance.id) == KitUser.instance_id)
        .where(
            KitTenant.tenant_id == tenant_id,
            KitUser.user_name == user_name,
            *tenant_lives(),
            *app_lives(),
            *user_lives(),
            _is_served(),
        )
        .order_by(col(KitUser.instance_id).desc(), col(KitUser.told).desc())
    )
    if app_id is not None:
        query = query.where(KitUser.app_id == app_id)
    found = session.exec(query).all()
    if not found:
        return None
    enabled = [row for row in found if row[0].enabled]
    return _access(enabled or found, enabled=bool(enabled))


def revision_of(session: Session, tenant_id: str) -> str:
    """A text that changes whenever an answer of the two functions above may have changed for this
    tenant. One look at an index; equal texts mean equal answers."""
    query = (
        select(KitTenant.instance_id, KitTenant.changes, Instance.status, Instance.customer_id)
        .outerjoin(Instance, col(Instance.id) == KitTenant.instance_id)
        .where(KitTenant.tenant_id == tenant_id)
        .order_by(col(KitTenant.instance_id))
    )
    seen = json.dumps([list(row) for row in session.exec(query)])
    return hashlib.sha256(seen.encode()).hexdigest()[:32]


def _access(rows: Iterable[Any], *, enabled: bool) -> KitAccess:
    users, instance_ids, customer_ids = zip(*rows, strict=True)
    known = tuple(dict.fromkeys(sorted(i for i in instance_ids if i))) if enabled else ()
    customers = set(customer_ids) - {None, ""}
    return KitAccess(
        instance_ids=known,
        customer_id=customers.pop() if len(customers) == 1 else "",
        name=users[0].name,
        role=ADMIN if all(user.role == ADMIN for user in users) else USER,
        enabled=enabled,
    )


def _application(tenant: KitTenant, app: KitApp, secret: bytes) -> KitApplication:
    return KitApplication(
        instance_id=tenant.instance_id,
        tenant_id=tenant.tenant_id,
        tenant_code=tenant.code,
        tenant_name=tenant.name,
        domain_name=tenant.domain_name,
        app_id=app.app_id,
        client_id=app.client_id,
        client_secret=keys.unseal(secret, app.sealed_secret, CLIENT_SECRET),
    )


def _same(one: Any, other: Any, *names: str) -> list[ColumnElement[bool]]:
    return [getattr(one, name) == getattr(other, name) for name in names]


def tenant_lives() -> list[ColumnElement[bool]]:
    """Of a row of KitTenant: it was added and not deleted since."""
    return [col(KitTenant.granted) > col(KitTenant.revoked)]


def app_lives() -> list[ColumnElement[bool]]:
    """Of a row of KitApp beside its tenant's."""
    granted = col(KitApp.granted)
    return [granted > col(KitApp.revoked), granted > col(KitTenant.revoked)]


def user_lives() -> list[ColumnElement[bool]]:
    """Of a row of KitUser beside its tenant's and its application's."""
    granted = col(KitUser.granted)
    tables = (KitUser, KitApp, KitTenant)
    return [granted > col(table.revoked) for table in tables]


def _is_served() -> ColumnElement[bool]:
    """Of a tenant that was told without an instance there is nothing to serve."""
    served = and_(col(Instance.source) == MARKETPLACE, col(Instance.status).in_(_SERVED))
    return or_(served, col(KitTenant.instance_id) == "")
