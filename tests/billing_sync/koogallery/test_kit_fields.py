"""Bodies of the Kit: every field of the tables at its bound and beyond it, in all the forms met."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import BadEvent
from billing_sync.kit_calls import AppTold, KitCall, OrgTold, Sync, TenantTold, TreeTold, UsersTold
from billing_sync.kit_marks import Flag
from billing_sync.koogallery.kit_fields import AHEAD_MS, MAX_ORGS, parse
from billing_sync.koogallery.kit_values import object_of

NOW = 1_790_000_000_000
STAMP = "20220413093539534"  # UTC+8
AT = 1_649_813_739_534
COMMON = {"instanceId": "i", "tenantId": "t", "testFlag": 0, "timeStamp": STAMP}
TENANT = COMMON | {
    "orderId": "CS1",
    "tenantCode": "huawei",
    "name": "name",
    "domainName": "https://x",
    "flag": 1,
}
APP = COMMON | {"appId": "a", "clientId": "c", "clientSecret": "s", "flag": 1}
USER = {
    "userName": "li.na",
    "name": "李娜",
    "orgCode": "o1",
    "role": "admin",
    "enable": "true",
    "position": "lead",
    "employeeCode": "7",
    "employeeType": 1,
    "mobile": "1",
    "email": "a@b",
    "workPlace": "here",
    "entryDate": "2026-01-31",
}
AUTH = COMMON | {"appId": "a", "userList": [USER], "currentSyncTime": STAMP, "flag": 1}
ORG = COMMON | {"orgCode": "o1", "orgName": "Sales", "parentCode": "o0", "flag": 1}
TREE = COMMON | {"orgInfoList": [{"orgCode": "o1", "orgName": "Sales", "parentCode": "o0"}]}
BODIES: dict[Sync, dict[str, Any]] = {
    Sync.TENANT: TENANT,
    Sync.APPLICATION: APP,
    Sync.AUTH: AUTH,
    Sync.ONE_ORG: ORG,
    Sync.ALL_ORGS: TREE,
}


def read(sync: Sync, body: dict[str, Any], version: int = 2) -> KitCall:
    return parse(version, sync, body, NOW)


def refusal(sync: Sync, body: dict[str, Any], version: int = 2) -> str:
    with pytest.raises(BadEvent) as caught:
        read(sync, body, version)
    return str(caught.value)


@pytest.mark.parametrize("sync", list(Sync))
@pytest.mark.parametrize("version", [1, 2])
def test_what_every_call_has(sync: Sync, version: int) -> None:
    """Instance, tenant, flag, and a time that is UTC+8."""
    call = read(sync, BODIES[sync], version)
    assert (call.instance_id, call.tenant_id, call.flag, call.at) == ("i", "t", Flag.ADD, AT)
    assert not call.test


def test_what_is_kept() -> None:
    """A person's telephone, mail and place are not."""
    assert read(Sync.TENANT, TENANT).told == TenantTold("huawei", "name", "https://x", "CS1")
    assert read(Sync.APPLICATION, APP).told == AppTold("a", "c", "s")
    told = read(Sync.AUTH, AUTH).told
    assert isinstance(told, UsersTold)
    (user,) = told.users
    assert (user.user_name, user.name, user.org_code) == ("li.na", "李娜", "o1")
    assert (user.role, user.enabled) == ("admin", True)
    assert read(Sync.ONE_ORG, ORG).told == OrgTold("o1", "Sales", "o0")
    assert read(Sync.ALL_ORGS, TREE).told == TreeTold((OrgTold("o1", "Sales", "o0"),))


MANDATORY = [
    (Sync.TENANT, ["tenantId", "tenantCode", "name", "domainName", "timeStamp", "flag"]),
    (Sync.TENANT, ["instanceId", "orderId"]),
    (Sync.APPLICATION, ["tenantId", "appId", "clientId", "clientSecret", "instanceId", "flag"]),
    (Sync.AUTH, ["tenantId", "appId", "userList", "currentSyncTime", "timeStamp", "flag"]),
    (Sync.ONE_ORG, ["tenantId", "orgCode", "orgName", "timeStamp", "flag"]),
    (Sync.ALL_ORGS, ["tenantId", "timeStamp", "instanceId", "orgInfoList"]),
]


@pytest.mark.parametrize(
    ("sync", "name"), [(sync, name) for sync, names in MANDATORY for name in names]
)
def test_mandatory_fields(sync: Sync, name: str) -> None:
    """The reason names what is missing."""
    body = {key: value for key, value in BODIES[sync].items() if key != name}
    said = refusal(sync, body)
    assert ("orgInfo" if name == "orgInfoList" else name) in said


LENGTHS = {
    "instanceId": 64,
    "tenantId": 64,
    "orderId": 64,
    "tenantCode": 64,
    "name": 255,
    "domainName": 255,
    "appId": 64,
    "clientId": 64,
    "orgCode": 64,
    "orgName": 128,
    "parentCode": 64,
}


@pytest.mark.parametrize(
    ("sync", "name"),
    [(sync, name) for sync, body in BODIES.items() for name in LENGTHS if name in body],
)
def test_lengths(sync: Sync, name: str) -> None:
    """The bound fits, one more does not."""
    read(sync, BODIES[sync] | {name: "x" * LENGTHS[name]})
    assert name in refusal(sync, BODIES[sync] | {name: "x" * (LENGTHS[name] + 1)})


@pytest.mark.parametrize(
    ("name", "fits", "wrong"),
    [
        ("userName", "x" * 64, "x" * 65),
        ("name", "x" * 64, ""),
        ("orgCode", "x" * 64, None),
        ("position", None, "x" * 65),
        ("employeeCode", "x" * 64, "x" * 65),
        ("employeeType", "4", 5),
        ("role", "user", "owner"),
        ("enable", False, "no"),
        ("mobile", "x" * 32, "x" * 33),
        ("email", "x" * 128, "x" * 129),
        ("entryDate", "", "31.01.2026"),
        ("entryDate", "2024-02-29", "2026-02-29"),
        ("entryDate", None, "20260131"),
        ("extension", {"email": "a@b"}, "{"),
        ("extension", '{"entryDate":"2026-01-31"}', []),
    ],
)
def test_fields_of_users(name: str, fits: object, wrong: object) -> None:
    """The reason says which user."""
    read(Sync.AUTH, AUTH | {"userList": [USER | {name: fits}]})
    if wrong == []:  # an empty extension is none
        return
    said = refusal(Sync.AUTH, AUTH | {"userList": [USER, USER | {name: wrong}]})
    assert said.startswith("userList[1]: ")
    assert name in said


def test_an_extension_is_read_as_the_fields_it_holds() -> None:
    """As V1.0 sends it, object or string."""
    plain = {key: value for key, value in USER.items() if key not in ("email", "entryDate")}
    for extension in ({"entryDate": "never"}, '{"entryDate":"never"}'):
        users = [plain | {"extension": extension}]
        said = refusal(Sync.AUTH, AUTH | {"userList": json.dumps(users)}, version=1)
        assert said == "userList[0]: entryDate is not yyyy-MM-dd"


@pytest.mark.parametrize("version", [1, 2])
def test_lists_come_as_lists_and_as_strings(version: int) -> None:
    """Pages of both versions disagree."""
    as_text = AUTH | {"userList": json.dumps([USER])}
    assert read(Sync.AUTH, as_text, version) == read(Sync.AUTH, AUTH, version)
    orgs = [{"orgCode": "o1", "name": "Sales", "parentCode": "o0"}]
    for name, value in (("orgInfo", json.dumps(orgs)), ("orgInfo", orgs), ("orgInfoList", orgs)):
        assert read(Sync.ALL_ORGS, COMMON | {name: value}, version) == read(Sync.ALL_ORGS, TREE)


def test_lists_that_are_none() -> None:
    """Whatever stands there, the field is named."""
    values: list[object] = ["[", "{}", "7", "[7]", 7, {}, "", None, "[" * 100_000, "[NaN]", [[]]]
    for value in values:
        assert "userList" in refusal(Sync.AUTH, AUTH | {"userList": value})
        assert "orgInfoList" in refusal(Sync.ALL_ORGS, COMMON | {"orgInfoList": value})


def test_five_hundred_people() -> None:
    """And no more, nor none; an empty tree is one."""
    read(Sync.AUTH, AUTH | {"userList": [USER] * 500})
    assert "500" in refusal(Sync.AUTH, AUTH | {"userList": [USER] * 501})
    assert "empty" in refusal(Sync.AUTH, AUTH | {"userList": []})
    assert read(Sync.ALL_ORGS, COMMON | {"orgInfoList": []}).told == TreeTold(())
    org = {"orgCode": "o", "orgName": "n"}
    assert str(MAX_ORGS) in refusal(Sync.ALL_ORGS, COMMON | {"orgInfoList": [org] * (MAX_ORGS + 1)})


@pytest.mark.parametrize(
    ("version", "sync", "flags"),
    [
        (1, Sync.TENANT, "01"),
        (1, Sync.APPLICATION, "012"),
        (1, Sync.AUTH, "012"),
        (1, Sync.ONE_ORG, "012"),
        (2, Sync.TENANT, "012"),
        (2, Sync.APPLICATION, "012"),
        (2, Sync.AUTH, "0123"),
        (2, Sync.ONE_ORG, "012"),
    ],
)
def test_flags(version: int, sync: Sync, flags: str) -> None:
    """As numbers and as texts; V1.0 lacks some."""
    for flag in range(5):
        if str(flag) in flags:
            for written in (flag, str(flag)):
                assert read(sync, BODIES[sync] | {"flag": written}, version).flag == flag
        else:
            assert "flag" in refusal(sync, BODIES[sync] | {"flag": flag}, version)
    for nonsense in (None, "", True, 1.0, [1]):
        assert "flag" in refusal(sync, BODIES[sync] | {"flag": nonsense}, version)


def test_a_deletion_needs_only_the_keys() -> None:
    """Repeated deletions succeed, whatever else they say."""
    keys = COMMON | {"flag": 0, "appId": "a", "orgCode": "o1", "orderId": ""}
    for sync in (Sync.TENANT, Sync.APPLICATION, Sync.ONE_ORG):
        assert read(sync, keys).flag is Flag.DELETE
    for flag in (0, 3):
        body = keys | {"userList": [{"userName": "li.na"}], "currentSyncTime": STAMP, "flag": flag}
        assert read(Sync.AUTH, body).flag == flag
    assert "userName" in refusal(Sync.AUTH, AUTH | {"userList": [{}], "flag": 0})
    assert "orgCode" in refusal(Sync.ONE_ORG, {**keys, "orgCode": ""})


def test_before_anything_was_sold() -> None:
    """Instance and order are empty while the seller applies for credentials."""
    call = read(Sync.TENANT, TENANT | {"instanceId": "", "orderId": None})
    assert call.instance_id == ""


def test_the_test_flag() -> None:
    """A number here, and texts are taken; without it a call is real."""
    for flag in (1, "1", 0, "0", None, ""):
        assert read(Sync.TENANT, TENANT | {"testFlag": flag}).test == (str(flag) == "1")
    assert "testFlag" in refusal(Sync.TENANT, TENANT | {"testFlag": 2})


@pytest.mark.parametrize("stamp", ["", "2022", "20221313093539534", "19700101000000", 7, None])
def test_times_that_are_none(stamp: object) -> None:
    """Both times are checked; people count by when they were synchronised."""
    assert "timeStamp" in refusal(Sync.TENANT, TENANT | {"timeStamp": stamp})
    assert "currentSyncTime" in refusal(Sync.AUTH, AUTH | {"currentSyncTime": stamp})
    assert read(Sync.AUTH, AUTH | {"timeStamp": "20260101000000000"}).at == AT


def test_a_clock_that_is_ahead() -> None:
    """A year ahead counts as a minute: what comes later must not be older for a year."""
    assert read(Sync.TENANT, TENANT | {"timeStamp": "20991231235959000"}).at == NOW + AHEAD_MS


def test_texts_may_hold_anything_and_ids_may_not() -> None:
    """Wide spaces and line ends in names become spaces."""
    told = read(Sync.TENANT, TENANT | {"name": "A　B\n\ud800"}).told
    assert isinstance(told, TenantTold)
    assert told.name == "A B  "
    assert "tenantId" in refusal(Sync.TENANT, TENANT | {"tenantId": "t\x00"})


def test_secrets_do_not_show() -> None:
    """In the text of a call that a traceback or a log may hold."""
    assert "clientSecret-x" not in repr(
        read(Sync.APPLICATION, APP | {"clientSecret": "clientSecret-x"})
    )
    assert "li.na" not in repr(read(Sync.AUTH, AUTH))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(Sync),
    st.sampled_from([1, 2]),
    st.data(),
)
def test_whatever_stands_in_a_field(sync: Sync, version: int, data: st.DataObject) -> None:
    """A call is read or refused with a reason."""
    body = dict(BODIES[sync])
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(_JSON)
    with suppress(BadEvent):
        read(sync, body, version)


@given(st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_body_is(raw: bytes) -> None:
    """An object or a reason."""
    with suppress(BadEvent):
        assert isinstance(object_of(raw), dict)
