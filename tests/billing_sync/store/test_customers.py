"""Buyers, their keys, and the customers of the configuration."""

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.errors import StaticConflict
from billing_sync.key_making import MadeKey
from billing_sync.key_models import ApiKey
from billing_sync.models import CustomerRow, Instance
from billing_sync.store.customers import (
    StaticCustomer,
    ensure,
    sealed_keys,
    upsert_static,
)
from billing_sync.store.engine import reading, writing
from billing_sync.store.projections import pending_projections
from tests.billing_sync.marketplace import CATALOGUE

AT = 1_790_000_000_000
ALICE = StaticCustomer("alice", "Alice", [("i1", "TOKENS"), ("i2", "PACK")])


def configure(engine: Engine, *static: StaticCustomer, at: int = AT) -> None:
    with writing(engine) as session:
        upsert_static(session, static, CATALOGUE, at)


def instances(engine: Engine) -> dict[str, Instance]:
    with reading(engine) as session:
        return {row.id: row for row in session.exec(select(Instance))}


def customers(engine: Engine) -> dict[str, CustomerRow]:
    with reading(engine) as session:
        return {row.id: row for row in session.exec(select(CustomerRow))}


def test_a_first_purchase_makes_customer_and_key(engine: Engine) -> None:
    """The second purchase only brings the newest name."""
    with writing(engine) as session:
        ensure(session, "c", "Old", MadeKey("d1", "s1"), AT)
    with writing(engine) as session:
        ensure(session, "c", "New", MadeKey("d2", "s2"), AT)
        ensure(session, "c", "", MadeKey("d3", "s3"), AT)
    assert customers(engine)["c"].name == "New"
    with reading(engine) as session:
        assert sealed_keys(session, ["c", "nobody"], AT) == {"c": "s1"}


def test_a_revoked_key_is_not_replaced(engine: Engine) -> None:
    """Whom the merchant shut out does not get in by buying again, nor sees the old key."""
    with writing(engine) as session:
        ensure(session, "c", "C", MadeKey("d1", "s1"), AT)
        session.exec(select(ApiKey)).one().revoked = AT
    with writing(engine) as session:
        ensure(session, "c", "C", MadeKey("d2", "s2"), AT)
    with reading(engine) as session:
        assert len(session.exec(select(ApiKey)).all()) == 1
        assert sealed_keys(session, ["c"], AT) == {}


def test_the_newest_key_is_shown(engine: Engine) -> None:
    """Of several usable keys the last one made is handed over."""
    with writing(engine) as session:
        for number in (1, 2):
            key = ApiKey(customer_id="c", digest=f"d{number}", sealed=f"s{number}", created=AT)
            session.add(key)
            session.flush()
    with reading(engine) as session:
        assert sealed_keys(session, ["c"], AT) == {"c": "s2"}


def test_static_customers(engine: Engine) -> None:
    """Listed customers get active instances, started now, and are projected."""
    configure(engine, ALICE)
    made = instances(engine)
    assert {i: (row.customer_id, row.product_id, row.status) for i, row in made.items()} == {
        "i1": ("alice", "TOKENS", "active"),
        "i2": ("alice", "PACK", "active"),
    }
    assert {i: row.is_package for i, row in made.items()} == {"i1": False, "i2": True}
    assert all((row.source, row.started) == ("static", AT) for row in made.values())
    assert customers(engine)["alice"].source == "static"
    with reading(engine) as session:
        assert pending_projections(session, 10) == [("alice", AT)]


def test_the_same_configuration_again(engine: Engine) -> None:
    """A second start changes nothing but a changed name."""
    configure(engine, ALICE)
    configure(engine, ALICE._replace(name="Alicia"), at=AT + 9)
    assert {row.started for row in instances(engine).values()} == {AT}
    assert customers(engine)["alice"].name == "Alicia"


def test_what_is_no_longer_listed_is_released(engine: Engine) -> None:
    """An instance taken out of the configuration ends, and begins again when put back."""
    configure(engine, ALICE)
    configure(engine, StaticCustomer("alice", "Alice", [("i1", "TOKENS")]), at=AT + 1)
    gone = instances(engine)["i2"]
    assert (gone.status, gone.released) == ("released", AT + 1)
    configure(engine, at=AT + 2)
    assert {row.released for row in instances(engine).values()} == {AT + 1, AT + 2}
    configure(engine, ALICE, at=AT + 3)
    assert {(row.status, row.released) for row in instances(engine).values()} == {("active", 0)}


def test_an_instance_of_the_marketplace_is_not_touched(engine: Engine) -> None:
    """An id that KooGallery's instance has is refused by name, and nothing is written."""
    with writing(engine) as session:
        session.add(Instance(id="i1", customer_id="c", status="frozen", started=1))
    with pytest.raises(StaticConflict, match="i1 belongs to the marketplace"):
        configure(engine, ALICE)
    assert list(instances(engine)) == ["i1"]
    configure(engine)
    assert instances(engine)["i1"].status == "frozen"


def test_an_id_listed_twice(engine: Engine) -> None:
    """One instance cannot belong to two customers."""
    with pytest.raises(StaticConflict, match="i1 is listed twice"):
        configure(engine, ALICE, StaticCustomer("bob", "Bob", [("i1", "TOKENS")]))


def test_a_buyer_may_also_be_configured(engine: Engine) -> None:
    """A static entry for a buyer adds its instances and leaves his row alone."""
    with writing(engine) as session:
        ensure(session, "alice", "Bought Name", MadeKey("d", "s"), AT)
    configure(engine, ALICE)
    row = customers(engine)["alice"]
    assert (row.source, row.name) == ("koogallery", "Bought Name")


def test_a_static_customer_may_buy(engine: Engine) -> None:
    """A purchase gives a static customer a key and keeps the configured name."""
    configure(engine, ALICE)
    with writing(engine) as session:
        ensure(session, "alice", "Bought Name", MadeKey("d", "s"), AT)
    assert customers(engine)["alice"].name == "Alice"
    with reading(engine) as session:
        assert sealed_keys(session, ["alice"], AT) == {"alice": "s"}
