"""The SQL of tenants as they are shown to operators: no secret, and of people only how many."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, func
from sqlmodel import Session, col, select

from billing_sync.asking import TenantPage
from billing_sync.kit_models import KitApp, KitOrg, KitTenant, KitUser
from billing_sync.store.kit_access import app_lives, tenant_lives, user_lives

Row = dict[str, Any]
_Key = tuple[str, str]


def listed(session: Session, page: TenantPage) -> list[Row]:
    """Tenants that are there, by instance and id. `since` is UTC ms."""
    query = (
        select(KitTenant)
        .where(*tenant_lives())
        .order_by(col(KitTenant.instance_id), col(KitTenant.tenant_id))
        .offset(page.skip)
        .limit(page.limit)
    )
    if page.instance_id is not None:
        query = query.where(KitTenant.instance_id == page.instance_id)
    tenants = session.exec(query).all()
    apps, users, orgs = (read(session, tenants) for read in (_apps, _users, _orgs))
    return [
        {
            "instance_id": tenant.instance_id,
            "tenant_id": tenant.tenant_id,
            "code": tenant.code,
            "name": tenant.name,
            "domain_name": tenant.domain_name,
            "since": tenant.granted,
            "apps": apps.get((tenant.instance_id, tenant.tenant_id), []),
            "users": users.get((tenant.instance_id, tenant.tenant_id), 0),
            "organisations": orgs.get((tenant.instance_id, tenant.tenant_id), 0),
        }
        for tenant in tenants
    ]


def _apps(session: Session, tenants: Sequence[KitTenant]) -> dict[_Key, list[Row]]:
    query = (
        select(KitApp)
        .join(KitTenant, _of(KitApp))
        .where(*tenant_lives(), *app_lives(), _among(tenants))
        .order_by(col(KitApp.app_id))
    )
    found: dict[_Key, list[Row]] = {}
    for app in session.exec(query):
        shown = {"app_id": app.app_id, "client_id": app.client_id}
        found.setdefault((app.instance_id, app.tenant_id), []).append(shown)
    return found


def _users(session: Session, tenants: Sequence[KitTenant]) -> dict[_Key, int]:
    """How many people may sign in through any of its applications."""
    its_app = and_(_of(KitUser, KitApp), col(KitUser.app_id) == KitApp.app_id)
    query = (
        select(KitUser.instance_id, KitUser.tenant_id, func.count(func.distinct(KitUser.user_name)))
        .join(KitTenant, _of(KitUser))
        .join(KitApp, its_app)
        .where(*tenant_lives(), *app_lives(), *user_lives(), col(KitUser.enabled))
        .where(_among(tenants))
        .group_by(col(KitUser.instance_id), col(KitUser.tenant_id))
    )
    return {(instance, tenant): number for instance, tenant, number in session.exec(query)}


def _orgs(session: Session, tenants: Sequence[KitTenant]) -> dict[_Key, int]:
    granted = col(KitOrg.granted)
    query = (
        select(KitOrg.instance_id, KitOrg.tenant_id, func.count())
        .join(KitTenant, _of(KitOrg))
        .where(granted > col(KitOrg.revoked), granted > col(KitTenant.revoked))
        .where(granted >= col(KitTenant.orgs_since), _among(tenants))
        .group_by(col(KitOrg.instance_id), col(KitOrg.tenant_id))
    )
    return {(instance, tenant): number for instance, tenant, number in session.exec(query)}


def _of(table: Any, owner: Any = KitTenant) -> Any:
    return and_(table.instance_id == owner.instance_id, table.tenant_id == owner.tenant_id)


def _among(tenants: Sequence[KitTenant]) -> Any:
    """Some more than these, where ids of several instances cross; those are not looked at."""
    return and_(
        col(KitTenant.instance_id).in_({tenant.instance_id for tenant in tenants}),
        col(KitTenant.tenant_id).in_({tenant.tenant_id for tenant in tenants}),
    )
