"""The bodies of the five syncs, as the tables of spec §5 have them, in either version. Pure.

`timeStamp` is added when a sync is signed. V2 sends lists of objects, V1 the same lists as JSON text;
the examples of V2 do that as well, and so does `as_text`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from .debug_case import Version
from .directory import App, Org, Person, Tenant
from .kit_signing import beijing_stamp

MOST_PEOPLE: Final = 500  # of one authSync
_IN_EXTENSION: Final = ("email", "workPlace", "entryDate")  # of V1


class Flag(IntEnum):
    """What a sync does."""

    DELETE = 0
    ADD = 1
    MODIFY = 2
    CANCEL = 3  # authSync of V2 only


@dataclass(frozen=True)
class Dialect:
    """How bodies are written: by which version, as a debug call or not, with lists as text."""

    version: Version = Version.KIT_V2
    test_flag: int = 1
    as_text: bool = False

    def listed(self, entries: Sequence[Mapping[str, object]]) -> object:
        """A list as this dialect writes it."""
        if self.as_text or self.version is Version.KIT_V1:
            return json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
        return list(entries)


def tenant_body(tenant: Tenant, flag: Flag, dialect: Dialect) -> dict[str, object]:
    """tenantSync."""
    return {
        **_about(tenant, dialect),
        "orderId": tenant.order_id,
        "tenantCode": tenant.tenant_code,
        "name": tenant.name,
        "domainName": tenant.domain_name,
        "flag": int(flag),
    }


def app_body(
    tenant: Tenant, app: App, sealed_secret: str, flag: Flag, dialect: Dialect
) -> dict[str, object]:
    """applicationSync; the secret is encrypted for the merchant."""
    return {
        **_about(tenant, dialect),
        "appId": app.app_id,
        "clientId": app.client_id,
        "clientSecret": sealed_secret,
        "flag": int(flag),
    }


def people_body(
    tenant: Tenant, app_id: str, people: Sequence[Person], flag: Flag, dialect: Dialect
) -> dict[str, object]:
    """authSync without its `currentSyncTime`."""
    entries = [person_entry(person, dialect.version) for person in people]
    return {
        **_about(tenant, dialect),
        "appId": app_id,
        "userList": dialect.listed(entries),
        "flag": int(flag),
    }


def org_body(tenant: Tenant, org: Org, flag: Flag, dialect: Dialect) -> dict[str, object]:
    """singleOrgSync."""
    return {
        **_about(tenant, dialect),
        "orgCode": org.code,
        "orgName": org.name,
        "parentCode": org.parent_code,
        "flag": int(flag),
    }


def orgs_body(tenant: Tenant, orgs: Sequence[Org], dialect: Dialect) -> dict[str, object]:
    """allOrgSync; V1 names the list and its members otherwise."""
    is_v1 = dialect.version is Version.KIT_V1
    named = "name" if is_v1 else "orgName"
    entries = [
        {"orgCode": org.code, named: org.name, "parentCode": org.parent_code} for org in orgs
    ]
    name = "orgInfo" if is_v1 else "orgInfoList"
    return {**_about(tenant, dialect), name: dialect.listed(entries)}


def person_entry(person: Person, version: Version) -> dict[str, object]:
    """One entry of userList; `enable` is text."""
    entry: dict[str, object] = {
        "userName": person.user_name,
        "name": person.name,
        "orgCode": person.org_code,
        "role": person.role,
        "enable": "true" if person.enabled else "false",
    }
    if version is not Version.KIT_V1:
        return {**entry, **person.more}
    extension = {name: person.more[name] for name in _IN_EXTENSION if name in person.more}
    plain = {name: value for name, value in person.more.items() if name not in extension}
    return {**entry, **plain, **({"extension": extension} if extension else {})}


def synced_at(fields: Mapping[str, object], now_ms: int) -> dict[str, object]:
    """With the time of the sync, in UTC+8."""
    return {**fields, "currentSyncTime": beijing_stamp(now_ms)}


def _about(tenant: Tenant, dialect: Dialect) -> dict[str, object]:
    return {
        "instanceId": tenant.instance_id,
        "tenantId": tenant.tenant_id,
        "testFlag": dialect.test_flag,
    }
