"""The bodies of the joint-operation Kit (spec §5) as tables, and how they are read. Pure.

Fields that are not in a table are accepted: the signature covers them anyway. What only describes
people (telephone, mail, place of work, …) is checked and kept nowhere.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from billing_sync.errors import BadEvent
from billing_sync.kit_calls import (
    AppTold,
    KitCall,
    OrgTold,
    Sync,
    TenantTold,
    Told,
    TreeTold,
    UsersTold,
    UserTold,
)
from billing_sync.kit_marks import Flag
from billing_sync.koogallery.fields import TEST, Field, checked
from billing_sync.koogallery.kit_values import (
    SECRET,
    list_of,
    maybe_empty,
    stamp_ms,
    value_of,
    values_of,
)

MAX_USERS: Final = 500
MAX_ORGS: Final = 10_000
MAX_BODY: Final[Mapping[Sync, int]] = {
    **dict.fromkeys(Sync, 64 * 1024),
    Sync.AUTH: 2 * 1024 * 1024,
    Sync.ALL_ORGS: 2 * 1024 * 1024,
}
AHEAD_MS: Final = 60_000

_FLAGS: Final[Mapping[int, Mapping[Sync, frozenset[Flag]]]] = {
    1: {
        Sync.TENANT: frozenset({Flag.DELETE, Flag.ADD}),
        **dict.fromkeys(
            (Sync.APPLICATION, Sync.AUTH, Sync.ONE_ORG),
            frozenset({Flag.DELETE, Flag.ADD, Flag.MODIFY}),
        ),
    },
    2: {
        **dict.fromkeys(
            (Sync.TENANT, Sync.APPLICATION, Sync.ONE_ORG),
            frozenset({Flag.DELETE, Flag.ADD, Flag.MODIFY}),
        ),
        Sync.AUTH: frozenset(Flag),
    },
}
_TENANT_ID: Final = Field("tenantId")
_APP_ID: Final = Field("appId")
_TENANT: Final = (
    Field("tenantCode"),
    Field("name", length=255),
    Field("domainName", length=255),
)
_APP: Final = (Field("clientId"), Field(SECRET, length=4096))
_ORG: Final = (
    Field("orgCode"),
    Field("orgName", length=128),
    Field("parentCode", required=False),
)
_USER: Final = (
    Field("userName"),
    Field("name"),
    Field("orgCode"),
    Field("position", required=False),
    Field("employeeCode", required=False),
    Field("employeeType", required=False, length=1, allowed=frozenset("1234")),
    Field("role", length=32, allowed=frozenset({"user", "admin"})),
    Field("enable", length=8, allowed=frozenset({"true", "false"})),
    Field("mobile", required=False, length=32),
    Field("email", required=False, length=128),
    Field("workPlace", required=False, length=255),
    Field("entryDate", required=False, length=10),
)
_USER_KEYS: Final = frozenset({"userName"})  # what a deletion needs
_KEYS: Final = frozenset({"orgCode"})
_IN_EXTENSION: Final = ("mobile", "email", "workPlace", "entryDate")


def parse(version: int, sync: Sync, data: Mapping[str, Any], now_ms: int) -> KitCall:
    """Read one call. Raises BadEvent naming the field that is wrong.

    Times are never taken for later than a minute from now: a clock that is ahead would shut out what
    comes after it.
    """
    flag = _flag(version, sync, data)
    at = stamp_ms("timeStamp", data.get("timeStamp"))
    if sync is Sync.AUTH:
        at = stamp_ms("currentSyncTime", data.get("currentSyncTime"))
    return KitCall(
        sync=sync,
        instance_id=maybe_empty("instanceId", data),
        tenant_id=value_of(_TENANT_ID, data),
        flag=flag,
        at=min(at, now_ms + AHEAD_MS),
        told=_told(sync, flag, data),
        test=checked(TEST, data.get(TEST.name)) == "1",  # absent is real, as in base calls
    )


def _flag(version: int, sync: Sync, data: Mapping[str, Any]) -> Flag:
    if sync is Sync.ALL_ORGS:
        return Flag.ADD
    given = data.get("flag")
    text = str(given) if type(given) is int or isinstance(given, str) else ""
    allowed = {str(int(flag)): flag for flag in _FLAGS[version][sync]}
    if text not in allowed:
        raise BadEvent(f"flag is none of {', '.join(sorted(allowed))}")
    return allowed[text]


def _told(sync: Sync, flag: Flag, data: Mapping[str, Any]) -> Told:
    match sync:
        case Sync.TENANT:
            order_id = maybe_empty("orderId", data)
            values = values_of(_TENANT, data, flag, _KEYS)
            return TenantTold(values["tenantCode"], values["name"], values["domainName"], order_id)
        case Sync.APPLICATION:
            values = values_of(_APP, data, flag, _KEYS)
            return AppTold(value_of(_APP_ID, data), values["clientId"], values["clientSecret"])
        case Sync.AUTH:
            users = list_of("userList", data.get("userList"), MAX_USERS)
            if not users:
                raise BadEvent("userList is empty")
            told = tuple(_user(flag, number, user) for number, user in enumerate(users))
            return UsersTold(value_of(_APP_ID, data), told)
        case Sync.ONE_ORG:
            return _org(data, flag)
        case Sync.ALL_ORGS:
            name = "orgInfo" if "orgInfoList" not in data else "orgInfoList"
            orgs = list_of(name, data.get(name), MAX_ORGS)
            return TreeTold(tuple(_at(name, number, org) for number, org in enumerate(orgs)))


def _at(name: str, number: int, org: Mapping[str, Any]) -> OrgTold:
    try:
        # V1.0 calls it `name` here, and orgName elsewhere.
        return _org(org if "orgName" in org else {**org, "orgName": org.get("name")}, Flag.ADD)
    except BadEvent as problem:
        raise BadEvent(f"{name}[{number}]: {problem}") from None


def _org(data: Mapping[str, Any], flag: Flag) -> OrgTold:
    values = values_of(_ORG, data, flag, _KEYS)
    return OrgTold(values["orgCode"], values["orgName"], values["parentCode"])


def _user(flag: Flag, number: int, given: Mapping[str, Any]) -> UserTold:
    try:
        values = values_of(_USER, _extended(given), flag, _USER_KEYS)
        _check_date(values["entryDate"])
    except BadEvent as problem:
        raise BadEvent(f"userList[{number}]: {problem}") from None
    return UserTold(
        user_name=values["userName"],
        name=values["name"],
        org_code=values["orgCode"],
        role=values["role"],
        enabled=values["enable"] == "true",
    )


def _extended(user: Mapping[str, Any]) -> Mapping[str, Any]:
    """V1.0 puts some fields into one of their own."""
    extension = user.get("extension")
    if isinstance(extension, str) and extension:
        try:
            extension = json.loads(extension)
        except (ValueError, RecursionError):
            raise BadEvent("extension is not JSON") from None
    if not extension:
        return user
    if not isinstance(extension, dict):
        raise BadEvent("extension is not an object")
    return {name: extension[name] for name in _IN_EXTENSION if name in extension} | {**user}


def _check_date(text: str) -> None:
    try:
        if text and date.fromisoformat(text).isoformat() != text:
            raise ValueError  # noqa: TRY301  (another way of writing it)
    except ValueError:
        raise BadEvent("entryDate is not yyyy-MM-dd") from None
