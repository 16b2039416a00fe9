"""The cases of the Kit's interface debugging that must succeed (spec §5, §9), as a table. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from .case_making import PERIOD
from .debug_case import DebugCase, Ids, Style, Version, id_of
from .directory import ADMIN, App, Org, Person, Tenant
from .kit_bodies import (
    MOST_PEOPLE,
    Dialect,
    Flag,
    app_body,
    org_body,
    orgs_body,
    people_body,
    synced_at,
    tenant_body,
)
from .kit_signing import beijing_stamp

TOP: Final = Org("D-000", "总部 Head office")
SALES: Final = Org("D-001", "销售 + Sales/A&B=C", "D-000")
ADA: Final = Person("ada.debug", "Ada 李", "D-001", ADMIN)
# Every optional field at once.
BO: Final = Person(
    "bo.debug",
    "Bo",
    "D-001",
    "user",
    enabled=False,
    more={
        "position": "会计",
        "employeeCode": "E-0002",
        "employeeType": 2,
        "mobile": "18888888888",
        "email": "bo@example.com",
        "workPlace": "上海",
        "entryDate": "2024-02-29",
    },
)


@dataclass(frozen=True)
class Debugged:
    """What the cases are about. `secrets` are ciphertexts of one clientSecret by their padding;
    without any, applicationSync is left out."""

    version: Version
    now_ms: int
    secrets: Mapping[str, str] = field(default_factory=dict)

    @property
    def dialect(self) -> Dialect:
        return Dialect(self.version)

    def case(self, name: str, title: str, fields: Mapping[str, object]) -> DebugCase:
        return DebugCase(self.version, name, title, fields)


APP: Final = App("app-debug", "client-debug", "")


def tenant_of(instance_id: str = "debug-instance") -> Tenant:
    """The company of the cases."""
    domain = "https://debug.example.com"
    return Tenant("tenant-debug", "debugcorp", "调试 Co., Ltd.", domain, instance_id, PERIOD)


def creations(debugged: Debugged) -> Iterator[DebugCase]:
    """Each sync as it adds, in the order in which a company comes in."""
    for name, fields in goods(debugged).items():
        yield debugged.case(name, "add" if "flag" in fields else "all departments", fields)


def goods(debugged: Debugged, instance_id: str = "debug-instance") -> dict[str, dict[str, object]]:
    """A good body of each sync, by name; applicationSync only where there is a secret."""
    tenant, dialect, now_ms = tenant_of(instance_id), debugged.dialect, debugged.now_ms
    add = Flag.ADD
    made = {
        "tenantSync": tenant_body(tenant, add, dialect),
        "singleOrgSync": org_body(tenant, SALES, add, dialect),
        "authSync": synced_at(people_body(tenant, APP.app_id, [ADA], add, dialect), now_ms),
        "allOrgSync": orgs_body(tenant, [TOP, SALES], dialect),
    }
    for secret in list(debugged.secrets.values())[:1]:
        made["applicationSync"] = app_body(tenant, APP, secret, add, dialect)
    return made


def others(debugged: Debugged, ids: Ids) -> Iterator[DebugCase]:
    """Every other flag and every other shape. The order of these says nothing."""
    good = goods(debugged, id_of(ids, PERIOD))
    yield from _flags(debugged, good)
    yield from _credential(debugged, good)
    for title, secret in debugged.secrets.items():
        fields = {**good["applicationSync"], "clientSecret": secret}
        yield debugged.case("applicationSync", f"OAEP with {title}", fields)
    yield from _people(debugged)
    top = org_body(tenant_of(), TOP, Flag.ADD, debugged.dialect)
    yield debugged.case("singleOrgSync", "at the top", top)
    more = {"zzzNewField": "新字段/new"}
    yield debugged.case("tenantSync", "unknown fields", {**good["tenantSync"], **more})
    flags = {"testFlag": "1", "flag": "1"}
    yield debugged.case("singleOrgSync", "flags as text", {**good["singleOrgSync"], **flags})
    if debugged.version is Version.KIT_V2:
        yield from _of_v2(debugged, good)


def _flags(debugged: Debugged, good: Mapping[str, Mapping[str, object]]) -> Iterator[DebugCase]:
    """Modify and delete; V1's tenantSync knows no modify, and only V2 cancels."""
    is_v1 = debugged.version is Version.KIT_V1
    for name, fields in good.items():
        if "flag" not in fields:
            continue
        for flag in (Flag.MODIFY, Flag.CANCEL, Flag.DELETE):
            has_no_modify = is_v1 and name == "tenantSync" and flag is Flag.MODIFY
            has_no_cancel = (is_v1 or name != "authSync") and flag is Flag.CANCEL
            if not has_no_modify and not has_no_cancel:
                yield debugged.case(name, flag.name.lower(), {**fields, "flag": int(flag)})


def _credential(
    debugged: Debugged, good: Mapping[str, Mapping[str, object]]
) -> Iterator[DebugCase]:
    """The seller applies for the credential of his application: no instance, no order."""
    fields = {**good["tenantSync"], "instanceId": "", "orderId": ""}
    yield debugged.case("tenantSync", "credential: no instance, no order", fields)
    if "applicationSync" in good:
        fields = {**good["applicationSync"], "instanceId": ""}
        yield debugged.case("applicationSync", "credential: no instance", fields)


def _people(debugged: Debugged) -> Iterator[DebugCase]:
    many = [Person(f"user-{number:03}", f"员工 {number}", "D-001") for number in range(MOST_PEOPLE)]
    for title, people in (("every field, disabled", [BO]), (f"{MOST_PEOPLE} users", many)):
        fields = people_body(tenant_of(), APP.app_id, people, Flag.ADD, debugged.dialect)
        yield debugged.case("authSync", title, synced_at(fields, debugged.now_ms))


def _of_v2(debugged: Debugged, good: Mapping[str, Mapping[str, object]]) -> Iterator[DebugCase]:
    """Lists as text, as the examples have them; bodies whose bytes are not what is signed."""
    text = Dialect(debugged.version, as_text=True)
    stamp = {"currentSyncTime": beijing_stamp(debugged.now_ms)}
    people = people_body(tenant_of(), APP.app_id, [ADA, BO], Flag.ADD, text)
    yield debugged.case("authSync", "userList as text", {**people, **stamp})
    orgs = orgs_body(tenant_of(), [TOP, SALES], text)
    yield debugged.case("allOrgSync", "orgInfoList as text", orgs)
    nulls = {**good["singleOrgSync"], "parentCode": None}
    yield debugged.case("singleOrgSync", "a null field", nulls)
    for style in (Style.UNSORTED, Style.LOWER):
        fields = good["authSync"]
        yield DebugCase(debugged.version, "authSync", style.value, fields, style=style)
