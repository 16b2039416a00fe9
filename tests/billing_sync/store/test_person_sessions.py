"""Sessions of tenants' users in the ledger: what each may see is what was told last."""

from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.kit_calls import KitCall, Sync, TenantTold, UsersTold, UserTold
from billing_sync.kit_marks import Flag
from billing_sync.models import CustomerRow, Instance
from billing_sync.people_models import PersonSession
from billing_sync.store import kit, kit_access
from billing_sync.store import person_sessions as store
from billing_sync.store.engine import reading, writing
from billing_sync.store.person_sessions import Present
from tests.billing_sync.people_site import authorize, told

AT = 1_790_000_000_000
IDLE, LIFE = 1_000, 10_000


def row(session_id: str = "s", user: str = "ann", at: int = AT) -> PersonSession:
    return PersonSession(
        id=session_id,
        tenant_id="t",
        app_id="app",
        user_name=user,
        created=at,
        seen=at,
        ends=at + LIFE,
        sealed="sealed",
        renew_at=at + LIFE,
    )


def present(engine: Engine, at: int = AT, session_id: str = "s") -> Present | None:
    with reading(engine) as session:
        return store.present(session, session_id, at, IDLE)


@pytest.fixture(autouse=True)
def signed_in(engine: Engine) -> None:
    with writing(engine) as session:
        for customer_id in ("c", "d"):
            session.add(CustomerRow(id=customer_id))
            instance: dict[str, Any] = {"started": AT, "status": "active", "product_id": "TOKENS"}
            session.add(Instance(id=f"of-{customer_id}", customer_id=customer_id, **instance))
    told(engine, "of-c", "t", "https://t.example.com", AT - 100, {"ann": "admin", "bob": "user"})
    with writing(engine) as session:
        store.open_(session, row(), AT)


def test_who_is_there(engine: Engine) -> None:
    """With what he may see, by customer."""
    found = present(engine)
    assert found is not None
    assert (found.name, found.is_admin, found.instances) == (
        "Ann",
        True,
        {"c": frozenset({"of-c"})},
    )
    told(engine, "of-d", "t", "https://t.example.com", AT - 50, {"ann": "user"})
    found = present(engine)
    assert found is not None
    assert not found.is_admin  # not everywhere
    assert list(found.instances) == ["c", "d"]


def test_over_and_idle(engine: Engine) -> None:
    """Each ends it; being there puts off only the one."""
    assert present(engine, AT + IDLE) is None
    for at in range(AT, AT + LIFE, IDLE // 2):
        assert present(engine, at) is not None
        with writing(engine) as session:
            store.touch(session, "s", at)
    with writing(engine) as session:
        store.touch(session, "s", AT)  # a late word
    assert present(engine, AT + LIFE - 1) is not None
    assert present(engine, AT + LIFE) is None


def test_no_longer_authorized(engine: Engine) -> None:
    """At once."""
    authorize(engine, "of-c", "t", AT + 1, {"ann": "admin"}, Flag.CANCEL)
    assert present(engine) is None


def test_old_ones_go(engine: Engine) -> None:
    """With the next sign-in."""
    with writing(engine) as session:
        store.open_(session, row("later", "bob", AT + LIFE), AT + LIFE)
    with reading(engine) as session:
        assert not store.exists(session, "s")
        assert store.exists(session, "later")
    assert present(engine, AT + LIFE, "later") is not None


def test_tokens_that_were_refused(engine: Engine) -> None:
    """End the session, unless somebody else got other ones meanwhile."""
    with writing(engine) as session:
        store.renew(session, "s", "newer", AT + 5)
    with writing(engine) as session:
        assert not store.close_stale(session, "s", "sealed")
    assert present(engine) is not None
    with writing(engine) as session:
        assert store.close_stale(session, "s", "newer")
        assert not store.close_stale(session, "s", "newer")
        store.touch(session, "s", AT)
        store.renew(session, "s", "x", AT)
        assert store.close(session, "s") is None


def held(engine: Engine) -> set[str]:
    """The sessions there are rows of."""
    with reading(engine) as session:
        return {row.id for row in session.exec(select(PersonSession))}


@pytest.mark.parametrize("flag", [Flag.DELETE, Flag.CANCEL])
def test_whoever_comes_back_signs_in_anew(engine: Engine, flag: Flag) -> None:
    """A name may be given to somebody else: what was signed in before is over, others' sessions are not."""
    with writing(engine) as session:
        store.open_(session, row("bob's", "bob"), AT)
    authorize(engine, "of-c", "t", AT + 1, {"ann": "admin"}, flag)
    assert held(engine) == {"bob's"}
    authorize(engine, "of-c", "t", AT + 2, {"ann": "admin"}, Flag.ADD)
    assert present(engine) is None
    assert present(engine, session_id="bob's") is not None


def test_a_tenant_that_comes_back(engine: Engine) -> None:
    """So too."""
    gone = KitCall(
        Sync.TENANT,
        "of-c",
        "t",
        Flag.DELETE,
        AT + 1,
        TenantTold("code", "E", "https://x.test", "o"),
    )
    with writing(engine) as session:
        assert kit.apply(session, gone)
    assert held(engine) == set()


def test_who_is_still_known_elsewhere(engine: Engine) -> None:
    """Stays signed in."""
    told(engine, "of-d", "t", "https://t.example.com", AT - 50, {"ann": "user"})
    authorize(engine, "of-c", "t", AT + 1, {"ann": "admin"}, Flag.DELETE)
    found = present(engine)
    assert found is not None
    assert found.instances == {"d": frozenset({"of-d"})}


def test_switched_off(engine: Engine) -> None:
    """By a modification: the session is over too."""
    users = UsersTold("app", (UserTold("ann", "Ann", "org", "admin", False),))
    call = KitCall(Sync.AUTH, "of-c", "t", Flag.MODIFY, AT + 1, users)
    with writing(engine) as session:
        assert kit.apply(session, call)
    assert held(engine) == set()


def test_an_instance_whose_data_are_erased(engine: Engine) -> None:
    """Takes the sessions along, which name a person."""
    with writing(engine) as session:
        kit.forget(session, "of-c")
    assert held(engine) == set()


def test_dismissed_while_signing_in(engine: Engine) -> None:
    """Whoever comes first, no session is left."""
    dismissal = Thread(
        target=authorize, args=(engine, "of-c", "t", AT + 1, {"bob": ""}, Flag.DELETE)
    )
    with writing(engine) as session:
        store.hold(session, "t")
        access = kit_access.access_of(session, "t", "app", "bob")
        assert access is not None
        store.open_(session, row("bob's", "bob"), AT)
        dismissal.start()
        dismissal.join(0.5)  # it waits for us
    dismissal.join()
    assert held(engine) == {"s"}
