"""The SQL of the joint-operation Kit: what calls leave behind (see kit_marks for why their order does
not matter).

A call is one transaction under the locks of its instance (shared) and its tenant, in this order, as
erasing takes them. What a deletion makes superfluous is deleted for good, personal data with it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from sqlalchemy import delete
from sqlmodel import Session, col, select

from billing_sync.kit_calls import (
    AppTold,
    KitCall,
    OrgTold,
    TenantTold,
    TreeTold,
    UsersTold,
    UserTold,
)
from billing_sync.kit_marks import Flag, Marks
from billing_sync.kit_models import KitApp, KitOrg, KitTenant, KitUser
from billing_sync.models import Instance
from billing_sync.store import person_sessions
from billing_sync.store.engine import in_parts, inserting
from billing_sync.store.instances import MARKETPLACE
from metering.entitlement import InstanceStatus

Row = TypeVar("Row", KitTenant, KitApp, KitUser, KitOrg)
Key = Mapping[str, Any]  # of a row, or of all rows below one
_Child = type[KitApp] | type[KitUser] | type[KitOrg]
_CHILDREN: tuple[_Child, ...] = (KitApp, KitUser, KitOrg)


def apply(session: Session, call: KitCall) -> bool:
    """Commit one call, whose secret is sealed; False where its instance does not exist, or was
    released before the call was made. Nobody checks that on a deletion.

    Calls about an instance that nobody knows or whose data were erased leave nothing behind.
    """
    if call.instance_id:
        instance = _shared(session, call.instance_id)
        if instance is None:
            return call.flag.revokes
        if instance.status == InstanceStatus.RELEASED and not call.flag.revokes:
            return call.at <= instance.released
        if instance.erased:
            return True
    _store(session, call)
    if _may_shut_out(call):
        person_sessions.close_lost(session, call.tenant_id)
    return True


def forget(session: Session, instance_id: str) -> None:
    """Everything the Kit told of an instance; in the transaction that marks it as erased."""
    tenants = select(KitTenant).where(KitTenant.instance_id == instance_id)
    locked = session.exec(tenants.order_by(col(KitTenant.tenant_id)).with_for_update()).all()
    tenant_ids = [tenant.tenant_id for tenant in locked]
    for table in (KitTenant, *_CHILDREN):
        session.execute(delete(table).where(col(table.instance_id) == instance_id))
    for tenant_id in tenant_ids:
        person_sessions.close_lost(session, tenant_id)


def _may_shut_out(call: KitCall) -> bool:
    if isinstance(call.told, UsersTold) and not all(user.enabled for user in call.told.users):
        return True
    return call.flag.revokes and not isinstance(call.told, OrgTold)


def _shared(session: Session, instance_id: str) -> Instance | None:
    """The instance, which nobody changes for the rest of the transaction."""
    query = select(Instance).where(Instance.id == instance_id, Instance.source == MARKETPLACE)
    return session.exec(query.with_for_update(read=True)).first()


def _store(session: Session, call: KitCall) -> None:
    tenant = _locked(session, call)
    match call.told:
        case TenantTold() as told:
            _tell_tenant(session, tenant, call, told)
        case _ if call.at <= tenant.revoked:
            return  # said before the tenant was last deleted
        case AppTold() as told:
            _tell_app(session, call, told)
        case UsersTold() as told:
            _tell_users(session, call, told)
        case OrgTold() as told:
            _tell_orgs(session, tenant, call, [told])
        case TreeTold(orgs=orgs):
            _tell_orgs(session, tenant, call, orgs)
            _replace_tree(session, tenant, call.at)
    tenant.changes += 1
    session.flush()


def _locked(session: Session, call: KitCall) -> KitTenant:
    """The tenant's row, for this transaction alone to change; made where it is the first word."""
    key = _tenant_key(call)
    first = KitTenant(**key).model_dump()
    session.execute(inserting(session, KitTenant).values(first).on_conflict_do_nothing())
    query = select(KitTenant).filter_by(**key)
    return session.exec(query.with_for_update()).one()


def _tell_tenant(session: Session, tenant: KitTenant, call: KitCall, told: TenantTold) -> None:
    before = marks_of(tenant)
    if call.flag is Flag.ADD and call.at >= before.granted and call.at > before.revoked:
        tenant.code, tenant.order_id = told.code, told.order_id
    _tell(tenant, call, {"name": told.name, "domain_name": told.domain_name})
    if tenant.granted <= tenant.revoked:
        tenant.code = tenant.order_id = ""
    if call.flag.revokes:
        for table in _CHILDREN:
            _drop(session, table, tenant.revoked, _tenant_key(call))


def _tell_app(session: Session, call: KitCall, told: AppTold) -> None:
    key = _tenant_key(call) | {"app_id": told.app_id}
    app = _found_or_new(session, KitApp, key)
    _tell(app, call, {"client_id": told.client_id, "sealed_secret": told.secret})
    if call.flag.revokes:
        _drop(session, KitUser, app.revoked, key)


def _tell_users(session: Session, call: KitCall, told: UsersTold) -> None:
    key = _tenant_key(call) | {"app_id": told.app_id}
    app = session.get(KitApp, tuple(key.values()))
    if app is not None and call.at <= app.revoked:
        return  # said before the application was last deleted
    known = _users(session, key, [user.user_name for user in told.users])
    for user in told.users:
        row = known.get(user.user_name)
        if row is None:
            row = known[user.user_name] = KitUser(**key, user_name=user.user_name)
            session.add(row)
        _tell(row, call, _data_of(user))


def _data_of(user: UserTold) -> dict[str, Any]:
    return {
        "name": user.name,
        "org_code": user.org_code,
        "role": user.role,
        "enabled": user.enabled,
    }


def _users(session: Session, key: Key, names: list[str]) -> dict[str, KitUser]:
    found: dict[str, KitUser] = {}
    for some in in_parts(names):
        query = select(KitUser).filter_by(**key).where(col(KitUser.user_name).in_(some))
        found |= {row.user_name: row for row in session.exec(query)}
    return found


def _tell_orgs(session: Session, tenant: KitTenant, call: KitCall, orgs: Iterable[OrgTold]) -> None:
    if call.at < tenant.orgs_since:
        return  # the whole tree was told since
    key = _tenant_key(call)
    query = select(KitOrg).filter_by(**key)
    if isinstance(call.told, OrgTold):
        query = query.where(KitOrg.org_code == call.told.org_code)
    known = {row.org_code: row for row in session.exec(query)}
    for org in orgs:
        row = known.get(org.org_code)
        if row is None:
            row = known[org.org_code] = KitOrg(**key, org_code=org.org_code)
            session.add(row)
        _tell(row, call, {"name": org.name, "parent_code": org.parent_code})


def _replace_tree(session: Session, tenant: KitTenant, at: int) -> None:
    """What was said before, and is not listed, is gone."""
    tenant.orgs_since = max(tenant.orgs_since, at)
    session.flush()
    key = {"instance_id": tenant.instance_id, "tenant_id": tenant.tenant_id}
    _drop(session, KitOrg, tenant.orgs_since - 1, key)


def _tenant_key(call: KitCall) -> dict[str, Any]:
    """What the rows below a tenant have in common."""
    return {"instance_id": call.instance_id, "tenant_id": call.tenant_id}


def marks_of(row: KitTenant | KitApp | KitUser | KitOrg) -> Marks:
    """What decides whether it is there."""
    return Marks(row.granted, row.revoked, row.told)


def _tell(row: Row, call: KitCall, data: Mapping[str, Any]) -> None:
    """One call more; data that nobody needs any longer are emptied."""
    before = marks_of(row)
    after = before.after(call.flag, call.at)
    row.granted, row.revoked, row.told = after.granted, after.revoked, after.told
    if before.takes_data(call.flag, call.at):
        told = dict(data)
    elif after.holds_data:
        return
    else:
        told = {name: type(row).model_fields[name].default for name in data}
    for name, value in told.items():
        setattr(row, name, value)


def _found_or_new(session: Session, table: type[Row], key: Key) -> Row:
    row = session.get(table, tuple(key.values()))
    if row is None:
        row = table(**key)
        session.add(row)
    return row


def _drop(session: Session, table: _Child, until: int, key: Key) -> None:
    """Rows of which nothing was said later: whoever comes back is told of anew."""
    session.flush()
    session.execute(
        delete(table).where(
            *(getattr(table, name) == value for name, value in key.items()),
            col(table.granted) <= until,
            col(table.revoked) <= until,
            col(table.told) <= 2 * until + 1,
        )
    )
