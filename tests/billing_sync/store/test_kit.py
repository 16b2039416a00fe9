"""What calls of the Kit leave in the ledger, held against the same calls in the order of their times."""

from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import Session, SQLModel, select

from billing_sync.kit_calls import KitCall, Sync
from billing_sync.kit_models import KitApp, KitOrg, KitTenant, KitUser
from billing_sync.koogallery import kit_fields
from billing_sync.models import Instance
from billing_sync.store import kit
from billing_sync.store.engine import reading, writing
from billing_sync.store.kit_access import access_of, revision_of
from tests.billing_sync.kit_model import Model, stored

NOW = 1_790_000_000_000
_NUMBERS = count()
_FLAGS = {"tenantSync": 3, "applicationSync": 3, "authSync": 4, "singleOrgSync": 3}


def some_call(dice: Random, number: int) -> tuple[str, dict[str, Any]]:
    """Any of the five, of few names; its time is its own."""
    sync = dice.choice(list(Sync)).value
    orgs = [
        {"orgCode": f"o{n}", "orgName": f"Org {n} at {number}", "parentCode": ""}
        for n in range(3)
        if dice.random() < 0.5
    ]
    people = [
        {
            "userName": f"u{n}",
            "name": f"User {n} at {number}",
            "orgCode": "o",
            "role": dice.choice(["user", "admin"]),
            "enable": dice.choice(["true", "true", "false"]),
        }
        for n in dice.sample(range(3), dice.randint(1, 3))
    ]
    stamp = f"20260901{number:09}"
    body = {
        "instanceId": "",
        "tenantId": "t",
        "timeStamp": stamp,
        "currentSyncTime": stamp,
        "flag": dice.choices(range(_FLAGS.get(sync, 2)), [1, 4, 2, 1][: _FLAGS.get(sync, 2)])[0],
        "orderId": "CS",
        "tenantCode": f"code at {number}",
        "name": f"Tenant at {number}",
        "domainName": f"https://{number}",
        "appId": f"a{dice.randint(0, 1)}",
        "clientId": f"client at {number}",
        "clientSecret": "secret",
        "userList": people,
        "orgCode": f"o{dice.randint(0, 2)}",
        "orgName": f"One at {number}",
        "parentCode": "",
        "orgInfoList": orgs,
    }
    return sync, body


def read(sync: str, body: dict[str, Any]) -> KitCall:
    return kit_fields.parse(2, Sync(sync), body, NOW)


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_any_order_is_the_order_of_their_times(engine: Engine, seed: int, size: int) -> None:
    """Shuffled, some twice: tenants, applications, people, the tree, and who may sign in."""
    dice = Random(seed)
    tenant = f"t{next(_NUMBERS)}"
    calls = [some_call(dice, number) for number in range(size)]
    for _, body in calls:
        body["tenantId"] = tenant
    order = calls + dice.sample(calls, size // 2)
    dice.shuffle(order)
    model = Model.of(calls)
    with writing(engine) as session:
        before = _seen(session, tenant)
        for sync, body in order:
            assert kit.apply(session, read(sync, body))
            after = _seen(session, tenant)
            assert before[1:] == after[1:] or before[0] != after[0]
            before = after
        found = stored(session, "")
        _keep(found, tenant)
        assert found == model
        for app in ("a0", "a1"):
            for user in ("u0", "u1", "u2"):
                access = access_of(session, tenant, app, user)
                assert bool(access and access.enabled) == model.sees(("", tenant, app, user))


def _seen(session: Session, tenant: str) -> list[Any]:
    """The revision, and what it must tell of."""
    return [revision_of(session, tenant), access_of(session, tenant, None, "u0")]


def _keep(found: Model, tenant: str) -> None:
    """Only this example's."""
    for table in (found.tenants, found.apps, found.users, found.orgs):
        for key in [key for key in table if key[1] != tenant]:
            del table[key]


def rows(engine: Engine, table: type[SQLModel]) -> list[Any]:
    with reading(engine) as session:
        return list(session.exec(select(table)))


def told(engine: Engine, *calls: tuple[int, str, dict[str, Any]]) -> None:
    """These calls one after the other; each says what is different from any."""
    for number, sync, changes in calls:
        with writing(engine) as session:
            kit.apply(session, read(sync, body_of(number, sync, changes)))


def body_of(number: int, sync: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Any body of this time, with an addition's flag and these changes."""
    return some_call(Random(f"{number} {sync}"), number)[1] | {"flag": 1, "appId": "a0"} | changes


def test_what_a_deletion_leaves(engine: Engine) -> None:
    """Of a person his user name, of an application and a tenant only that it was there: no data."""
    people = [{"userName": "u0", "name": "Li Na", "orgCode": "o", "role": "user", "enable": "true"}]
    told(engine, (1, "tenantSync", {}), (2, "applicationSync", {}))
    told(engine, (3, "authSync", {"userList": people}), (4, "singleOrgSync", {}))
    told(engine, (5, "authSync", {"userList": people, "flag": 3}))
    told(engine, (4, "authSync", {"userList": people}))
    (user,) = rows(engine, KitUser)
    assert (user.user_name, user.name, user.org_code, user.enabled) == ("u0", "", "", False)
    told(engine, (6, "applicationSync", {"flag": 0}))
    assert rows(engine, KitUser) == []
    told(engine, (5, "authSync", {"userList": people}))
    assert rows(engine, KitUser) == []
    (app,) = rows(engine, KitApp)
    assert (app.client_id, app.sealed_secret) == ("", "")
    told(engine, (7, "tenantSync", {"flag": 0}))
    assert (rows(engine, KitApp), rows(engine, KitOrg)) == ([], [])
    (tenant,) = rows(engine, KitTenant)
    assert (tenant.code, tenant.name, tenant.domain_name, tenant.order_id) == ("", "", "", "")
    told(engine, (6, "authSync", {"userList": people}), (5, "singleOrgSync", {}))
    assert (rows(engine, KitUser), rows(engine, KitOrg)) == ([], [])


LI = {"userName": "u0", "orgCode": "o", "role": "user", "enable": "true"}
ADD, CHANGE = {"flag": 1, "userList": [LI | {"name": "Old"}]}, {"userList": [LI | {"name": "New"}]}


@pytest.mark.parametrize(
    "arrivals",
    [
        [
            (9, "authSync", CHANGE | {"flag": 2}),
            (7, "applicationSync", {"flag": 0}),
            (8, "authSync", ADD),
        ],
        [
            (5, "applicationSync", {}),
            (9, "applicationSync", {"flag": 2}),
            (7, "tenantSync", {"flag": 0}),
            (10, "tenantSync", {}),
            (11, "authSync", ADD),
        ],
        [(9, "allOrgSync", {}), (8, "singleOrgSync", {}), (7, "allOrgSync", {})],
    ],
    ids=["changed before it was added", "an application of before", "trees"],
)
def test_rare_crossings(engine: Engine, arrivals: list[tuple[int, str, dict[str, Any]]]) -> None:
    """As they arrive; what counts is their time."""
    told(engine, *arrivals)
    calls = [(sync, body_of(number, sync, more)) for number, sync, more in arrivals]
    with reading(engine) as session:
        model = Model.of(calls)
        assert stored(session, "") == model
        seen = bool(access_of(session, "t", "a0", "u0"))
        assert seen == model.sees(("", "t", "a0", "u0"))


def test_five_hundred_people_at_once(engine: Engine) -> None:
    """Twice, and then deleted."""
    people = [
        {"userName": f"u{n}", "name": "n", "orgCode": "o", "role": "user", "enable": "true"}
        for n in range(500)
    ]
    for number, flag in ((1, 1), (2, 1), (3, 0)):
        told(engine, (number, "authSync", {"userList": people, "flag": flag}))
        assert len(rows(engine, KitUser)) == 500


def test_instances_of_the_configuration_are_none_of_the_marketplaces(engine: Engine) -> None:
    """It cannot add people to a static customer's."""
    with writing(engine) as session:
        session.add(Instance(id="i", source="static", status="active", started=1))
    with writing(engine) as session:
        _, body = some_call(Random(1), 1)
        assert not kit.apply(session, read("allOrgSync", body | {"instanceId": "i"}))
