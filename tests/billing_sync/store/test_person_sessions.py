"""Sessions of tenants' users in the ledger: what each may see is what was told last."""

from typing import Any

import pytest
from sqlalchemy import Engine

from billing_sync.kit_marks import Flag
from billing_sync.models import CustomerRow, Instance
from billing_sync.people_models import PersonSession
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
