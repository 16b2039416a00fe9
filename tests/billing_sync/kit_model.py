"""What the Kit's calls mean, plainly: one after the other in the order of their times (spec §5)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlmodel import Session, col, select

from billing_sync.kit_models import KitApp, KitOrg, KitTenant, KitUser

Body = dict[str, Any]


_Row = TypeVar("_Row", KitTenant, KitApp, KitUser, KitOrg)


@dataclass
class Model:
    """What is there. A modification of what is not there changes nothing: whoever adds it says more."""

    tenants: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    apps: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    users: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    orgs: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, calls: list[tuple[str, Body]]) -> "Model":
        """After these calls, given in any order and any number."""
        made = cls()
        for sync, body in sorted(calls, key=lambda call: str(call[1]["timeStamp"])):
            getattr(made, sync)(body, (body["instanceId"], body["tenantId"]))
        return made

    def tenantSync(self, body: Body, key: tuple[str, ...]) -> None:  # noqa: N802
        flag = body["flag"]
        if flag == 1:
            self.tenants[key] = (body["tenantCode"], body["name"], body["domainName"])
        elif flag == 2 and key in self.tenants:
            self.tenants[key] = (self.tenants[key][0], body["name"], body["domainName"])
        elif flag == 0:
            for table in (self.tenants, self.apps, self.users, self.orgs):
                _end(table, key)

    def applicationSync(self, body: Body, tenant: tuple[str, ...]) -> None:  # noqa: N802
        key = (*tenant, body["appId"])
        _put(self.apps, key, body["flag"], (body["clientId"],))
        if body["flag"] == 0:
            _end(self.users, key)

    def authSync(self, body: Body, tenant: tuple[str, ...]) -> None:  # noqa: N802
        for user in body["userList"]:
            key = (*tenant, body["appId"], user["userName"])
            data = (user["name"], user["orgCode"], user["role"], user["enable"])
            _put(self.users, key, body["flag"], data)

    def singleOrgSync(self, body: Body, tenant: tuple[str, ...]) -> None:  # noqa: N802
        key = (*tenant, body["orgCode"])
        _put(self.orgs, key, body["flag"], (body["orgName"], body["parentCode"]))

    def allOrgSync(self, body: Body, tenant: tuple[str, ...]) -> None:  # noqa: N802
        _end(self.orgs, tenant)
        for org in body["orgInfoList"]:
            self.orgs[*tenant, org["orgCode"]] = (org["orgName"], org["parentCode"])

    def sees(self, key: tuple[str, ...]) -> bool:
        """Whether a person may sign in through an application."""
        there = key in self.users and key[:3] in self.apps and key[:2] in self.tenants
        return there and self.users[key][3] == "true"


def _put(
    table: dict[tuple[str, ...], tuple[str, ...]],
    key: tuple[str, ...],
    flag: int,
    data: tuple[str, ...],
) -> None:
    if flag == 1 or (flag == 2 and key in table):
        table[key] = data
    elif flag in (0, 3):
        table.pop(key, None)


def _end(table: dict[tuple[str, ...], tuple[str, ...]], start: tuple[str, ...]) -> None:
    for key in [key for key in table if key[: len(start)] == start]:
        del table[key]


def _of(session: Session, table: type[_Row], instance_ids: tuple[str, ...]) -> Sequence[_Row]:
    return session.exec(select(table).where(col(table.instance_id).in_(instance_ids))).all()


def stored(session: Session, *instance_ids: str) -> Model:
    """What the ledger holds to be there, of these instances."""
    tenants = _of(session, KitTenant, instance_ids)
    apps = _of(session, KitApp, instance_ids)
    users = _of(session, KitUser, instance_ids)
    orgs = _of(session, KitOrg, instance_ids)
    ends = {_key(tenant): tenant.revoked for tenant in tenants}
    ends |= {(*_key(app), app.app_id): app.revoked for app in apps}
    trees = {_key(tenant): tenant.orgs_since for tenant in tenants}
    return Model(
        tenants={
            _key(t): (t.code, t.name, t.domain_name) for t in tenants if t.granted > t.revoked
        },
        apps={
            (*_key(app), app.app_id): (app.client_id,)
            for app in apps
            if app.granted > max(app.revoked, ends[_key(app)])
        },
        users={
            (*_key(user), user.app_id, user.user_name): _data_of(user)
            for user in users
            if user.granted
            > max(user.revoked, ends[_key(user)], ends.get((*_key(user), user.app_id), 0))
        },
        orgs={
            (*_key(org), org.org_code): (org.name, org.parent_code)
            for org in orgs
            if org.granted > max(org.revoked, ends[_key(org)]) and org.granted >= trees[_key(org)]
        },
    )


def _key(row: KitTenant | KitApp | KitUser | KitOrg) -> tuple[str, ...]:
    return row.instance_id, row.tenant_id


def _data_of(user: KitUser) -> tuple[str, ...]:
    return user.name, user.org_code, user.role, "true" if user.enabled else "false"
