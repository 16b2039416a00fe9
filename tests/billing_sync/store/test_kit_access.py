"""Who may see what where a tenant has several instances, applications and roles."""

from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from sqlalchemy import Engine

from billing_sync.kit_models import KitApp, KitTenant, KitUser
from billing_sync.models import Instance
from billing_sync.store.engine import reading, writing
from billing_sync.store.kit_access import (
    CLIENT_SECRET,
    KitAccess,
    access_of,
    applications,
    revision_of,
)
from metering import keys

SECRET = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def ledger(engine: Engine) -> Engine:
    """Two instances of one customer, one of another; one without any."""
    with writing(engine) as session:
        for name, customer in (("i1", "c1"), ("i2", "c1"), ("i3", "c2"), ("", "")):
            if name:
                session.add(Instance(id=name, customer_id=customer, status="active", started=1))
            session.add(KitTenant(instance_id=name, tenant_id="t", granted=1, code="acme"))
            sealed = keys.seal(SECRET, f"secret of {name}", bytes(12), CLIENT_SECRET)
            key: dict[str, Any] = {"instance_id": name, "tenant_id": "t", "app_id": "a"}
            session.add(KitApp(**key, granted=1, client_id=f"c-{name}", sealed_secret=sealed))
    return engine


def add(engine: Engine, instance_id: str, user: str, role: str, *, on: bool = True) -> None:
    with writing(engine) as session:
        key: dict[str, Any] = {
            "instance_id": instance_id,
            "tenant_id": "t",
            "app_id": "a",
            "user_name": user,
        }
        session.add(KitUser(**key, granted=2, told=4, name=user, role=role, enabled=on))


def access(engine: Engine, user: str, app_id: str | None = None) -> KitAccess | None:
    with reading(engine) as session:
        return access_of(session, "t", app_id, user)


def test_the_least_of_several_roles(ledger: Engine) -> None:
    """An administrator of one instance is none of the other; the customer is the common one."""
    add(ledger, "i1", "li", "admin")
    assert access(ledger, "li") == KitAccess(("i1",), "c1", "li", "admin", enabled=True)
    add(ledger, "i2", "li", "user")
    assert access(ledger, "li") == KitAccess(("i1", "i2"), "c1", "li", "user", enabled=True)
    add(ledger, "i3", "li", "admin")
    assert access(ledger, "li") == KitAccess(("i1", "i2", "i3"), "", "li", "user", enabled=True)
    assert access(ledger, "li", "other") is None
    assert access(ledger, "wang") is None
    with reading(ledger) as session:
        assert access_of(session, "other", None, "li") is None


def test_switched_off_in_one_instance(ledger: Engine) -> None:
    """The others stay; switched off everywhere nothing is seen."""
    add(ledger, "i1", "li", "admin", on=False)
    assert access(ledger, "li") == KitAccess((), "c1", "li", "admin", enabled=False)
    add(ledger, "i2", "li", "user")
    assert access(ledger, "li") == KitAccess(("i2",), "c1", "li", "user", enabled=True)


@pytest.mark.parametrize(
    ("status", "sees"),
    [("active", True), ("creating", True), ("frozen", False), ("released", False)],
)
def test_what_an_instance_must_be(ledger: Engine, status: str, sees: bool) -> None:
    """Giving service, or about to; the revision tells of it."""
    add(ledger, "i1", "li", "user")
    with reading(ledger) as session:
        before = revision_of(session, "t")
    with writing(ledger) as session:
        instance = session.get(Instance, "i1")
        assert instance
        instance.status = status
    assert bool(access(ledger, "li")) == sees
    with reading(ledger) as session:
        assert (revision_of(session, "t") == before) == (status == "active")


def test_as_whom_people_are_signed_in(ledger: Engine) -> None:
    """Instances first, one on demand; a wrong installation secret opens nothing."""
    with reading(ledger) as session:
        found = applications(session, SECRET, "t")
        assert [app.instance_id for app in found] == ["i3", "i2", "i1", ""]
        assert [app.client_secret for app in found][:2] == ["secret of i3", "secret of i2"]
        (one,) = applications(session, SECRET, "t", instance_id="i1", app_id="a")
        assert (one.client_id, one.tenant_code) == ("c-i1", "acme")
        assert applications(session, SECRET, "t", app_id="b") == []
        assert applications(session, SECRET, "other") == []
        with pytest.raises(InvalidTag):
            applications(session, b"another", "t")
