"""Syncs of the Kit that a merchant must refuse: our own tests, by the tables of spec §5. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from . import case_making
from .debug_case import ONLY_SUCCESS, DebugCase, Version
from .directory import Person
from .kit_bodies import MOST_PEOPLE, Flag, people_body, person_entry, synced_at
from .kit_cases import ADA, APP, Debugged, goods, tenant_of
from .tampering import BAD_PARAMETER, EXPECTED
from .v1_calls import V1_EXPECTED
from .v2_refusals import NO_BODIES

NOT_DECRYPTED: Final = frozenset({"000101"})
_V2_SPOILT: Final[Mapping[str, str]] = {
    "signature": "wrong x-sign",
    "missing_signature": "without x-sign",
    "nonce": "another x-nonce",
    "body": "another body",
    "timestamp": "x-timestamp of ten minutes ago",
    "future_timestamp": "x-timestamp in ten minutes",
    "missing_timestamp": "without x-timestamp",
    "missing_nonce": "without x-nonce",
    "replay": "the same x-nonce again",
    "shift": "again, the end of its x-nonce moved to x-timestamp",
}
_V1_SPOILT: Final[Mapping[str, str]] = {
    "signature": "wrong authToken",
    "missing_signature": "without authToken",
    "body": "another body",
    "timestamp": "timeStamp of thirty days ago",
    "future_timestamp": "timeStamp in ten minutes",
    "missing_timestamp": "without timeStamp",
}
# Mandatory text fields and their greatest lengths; instanceId and orderId may be empty.
_FIELDS: Final[Mapping[str, Mapping[str, int]]] = {
    "tenantSync": {"tenantId": 64, "tenantCode": 64, "name": 255, "domainName": 255},
    "applicationSync": {"tenantId": 64, "appId": 64, "clientId": 64},
    "authSync": {"tenantId": 64, "appId": 64},
    "singleOrgSync": {"tenantId": 64, "orgCode": 64, "orgName": 128},
    "allOrgSync": {"tenantId": 64},
}


def refused(debugged: Debugged, wrongly_sealed: Mapping[str, str]) -> Iterator[DebugCase]:
    """Debug calls that are wrong in one respect each."""
    good = goods(debugged)
    yield from _badly_signed(debugged, good)
    for name, lengths in _FIELDS.items():
        for field, length in lengths.items():
            if name in good:
                yield from _spoilt(debugged.version, name, good[name], field, length)
    for name, fields in good.items():
        yield case_making.too_long(debugged.version, name, fields, "instanceId", 64)
    yield from _flags(debugged, good)
    for title, secret in wrongly_sealed.items():
        fields = {**good["applicationSync"], "clientSecret": secret}
        shown = f"clientSecret {title}"
        yield DebugCase(debugged.version, "applicationSync", shown, fields, accepted=NOT_DECRYPTED)
    yield from _people(debugged, good["authSync"])
    yield from _orgs(debugged, good)
    if debugged.version is Version.KIT_V2:
        for title, raw in NO_BODIES.items():
            yield DebugCase(debugged.version, "tenantSync", title, accepted=BAD_PARAMETER, raw=raw)


def unknown(debugged: Debugged, instance_id: str) -> Iterator[DebugCase]:
    """Real syncs about an instance that nobody made: on delete nobody may ask for it.

    Without testFlag a sync lacks a field, or is a real one, as V2.0's are since 2025.
    """
    for name, good in goods(debugged, instance_id).items():
        absent = _without(good, "testFlag")
        codes = BAD_PARAMETER | case_making.UNKNOWN
        title = "unknown instance, without testFlag"
        yield DebugCase(debugged.version, name, title, absent, accepted=codes, real=True)
        fields = {**good, "testFlag": 0, "tenantId": f"t-{instance_id}"[:64]}
        for flag, codes in ((Flag.ADD, case_making.UNKNOWN), (Flag.DELETE, ONLY_SUCCESS)):
            if "flag" in good:
                title = f"unknown instance, {flag.name.lower()}"
                whole = {**fields, "flag": int(flag)}
                yield DebugCase(debugged.version, name, title, whole, accepted=codes, real=True)


def _badly_signed(
    debugged: Debugged, good: Mapping[str, Mapping[str, object]]
) -> Iterator[DebugCase]:
    is_v1 = debugged.version is Version.KIT_V1
    titles, codes = (_V1_SPOILT, V1_EXPECTED) if is_v1 else (_V2_SPOILT, EXPECTED)
    first = debugged.case("tenantSync", "", good["tenantSync"])
    yield from case_making.badly_signed(first, titles, codes)
    for name in good:
        if name != "tenantSync":
            case = debugged.case(name, "", good[name])
            only = {"signature": titles["signature"]}
            yield from case_making.badly_signed(case, only, codes)
    real = {**good["tenantSync"], "testFlag": 0}
    yield case_making.forged(debugged.version, "tenantSync", real)


def _spoilt(
    version: Version, name: str, good: Mapping[str, object], field: str, length: int
) -> Iterator[DebugCase]:
    """What is no text can be signed in V2 only."""
    for case in case_making.spoilt(version, name, good, field, length):
        if version is Version.KIT_V2 or not case.title.endswith("no text"):
            yield case


def _flags(debugged: Debugged, good: Mapping[str, Mapping[str, object]]) -> Iterator[DebugCase]:
    for name, fields in good.items():
        if "flag" not in fields:
            continue
        absent = {each: value for each, value in fields.items() if each != "flag"}
        yield case_making.wrong(debugged.version, name, "without flag", absent)
        for flag in (4, "add"):
            wrong = {**fields, "flag": flag}
            yield case_making.wrong(debugged.version, name, f"flag={flag}", wrong)


def _people(debugged: Debugged, good: Mapping[str, object]) -> Iterator[DebugCase]:
    """Lists and entries that make no sense."""
    many = [Person(f"user-{number:03}", "N", "D-001") for number in range(MOST_PEOPLE + 1)]
    body = people_body(tenant_of(), APP.app_id, many, Flag.ADD, debugged.dialect)
    title = f"{len(many)} users"
    version = debugged.version
    yield case_making.wrong(version, "authSync", title, synced_at(body, debugged.now_ms))
    for name in ("userList", "currentSyncTime"):
        absent = {each: value for each, value in good.items() if each != name}
        yield case_making.wrong(version, "authSync", f"without {name}", absent)
    yield case_making.wrong(version, "authSync", "userList no list", {**good, "userList": "{}"})
    yield case_making.wrong(version, "authSync", "userList no JSON", {**good, "userList": "[{"})
    entry = person_entry(ADA, version)
    for title, spoilt in (
        *((f"without {name}", _without(entry, name)) for name in entry),
        ("userName of 65 characters", {**entry, "userName": "x" * 65}),
        ("role=king", {**entry, "role": "king"}),
        ("enable=maybe", {**entry, "enable": "maybe"}),
    ):
        fields = {**good, "userList": debugged.dialect.listed([spoilt])}
        yield case_making.wrong(version, "authSync", f"a user {title}", fields)


def _orgs(debugged: Debugged, good: Mapping[str, Mapping[str, object]]) -> Iterator[DebugCase]:
    body, version = good["allOrgSync"], debugged.version
    name = "orgInfo" if version is Version.KIT_V1 else "orgInfoList"
    named = "name" if version is Version.KIT_V1 else "orgName"
    entry: dict[str, object] = {"orgCode": "D-000", named: "Head office", "parentCode": ""}
    yield case_making.wrong(version, "allOrgSync", f"without {name}", _without(body, name))
    yield case_making.wrong(version, "allOrgSync", f"{name} no JSON", {**body, name: "[{"})
    for title, spoilt in (
        ("without orgCode", _without(entry, "orgCode")),
        (f"without {named}", _without(entry, named)),
        ("orgCode of 65 characters", {**entry, "orgCode": "x" * 65}),
    ):
        fields = {**body, name: debugged.dialect.listed([spoilt])}
        yield case_making.wrong(version, "allOrgSync", f"a department {title}", fields)
    long = {**good["singleOrgSync"], "parentCode": "x" * 65}
    yield case_making.wrong(version, "singleOrgSync", "parentCode of 65 characters", long)


def _without(fields: Mapping[str, object], name: str) -> dict[str, object]:
    return {each: value for each, value in fields.items() if each != name}
