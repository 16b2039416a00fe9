"""What a call is charged to, and what the Agents gateway charges in our place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.charging import charges_elsewhere, charges_of
from gateway.errors import NotEntitled
from metering.catalogue import Product, agents_account
from metering.entitlement import EntitledInstance, InstanceStatus
from metering.usage import Charge

NOW = 1_790_000_000_000


def product(product_id: str, meter: str = "tokens_in", **said: Any) -> Product:
    return Product(product_id=product_id, routes=["chat"], meter=meter, **said)


UNSAID, OURS = product("UNSAID"), product("OURS", charged_by="merchant")
THEIRS = product("THEIRS", charged_by="agents_gateway")


def instance(
    product_id: str, status: InstanceStatus = InstanceStatus.ACTIVE, expires: int = 0
) -> EntitledInstance:
    return EntitledInstance(f"i-{product_id}", product_id, status, expires)


def elsewhere(*instances: EntitledInstance) -> tuple[Charge, ...]:
    return charges_elsewhere([UNSAID, OURS, THEIRS], "c", instances, NOW)


def test_what_the_merchant_charges_is_not_charged_elsewhere() -> None:
    """All others are, by an account of their own: nothing need be bought here."""
    accounts = [agents_account(each, "c") for each in ("UNSAID", "THEIRS")]
    assert elsewhere() == tuple(Charge(account, "tokens_in") for account in accounts)


def test_an_instance_is_named_only_where_it_is_never_charged_by_us() -> None:
    """That of a product without a word on it would be pushed."""
    charges = elsewhere(instance("UNSAID"), instance("OURS"), instance("THEIRS"))
    assert [each.instance_id for each in charges] == [agents_account("UNSAID", "c"), "i-THEIRS"]


@pytest.mark.parametrize(
    ("status", "expires"), [(InstanceStatus.FROZEN, 0), (InstanceStatus.ACTIVE, NOW)]
)
def test_an_instance_that_is_not_usable_is_not_named(status: InstanceStatus, expires: int) -> None:
    """The call passes all the same: the Agents gateway let it."""
    charges = elsewhere(instance("THEIRS", status, expires))
    assert charges == elsewhere()


def test_beside_what_others_charge_nothing_need_be_bought() -> None:
    """Alone it must be."""
    assert charges_of([OURS], (), beside=True) == ()
    with pytest.raises(NotEntitled):
        charges_of([OURS], ())


def test_what_is_frozen_refuses_beside_others_too() -> None:
    """Its share would go unpaid."""
    frozen = instance("OURS", InstanceStatus.FROZEN)
    with pytest.raises(NotEntitled):
        charges_of([OURS], (frozen,), beside=True)


@given(st.sampled_from([None, "merchant", "agents_gateway"]), st.booleans())
def test_nobody_is_charged_twice_for_a_call(charged_by: Any, bought: bool) -> None:
    """Of every product either the merchant charges a proved call, or the Agents gateway does."""
    sold = product("P", charged_by=charged_by)
    instances = (instance("P"),) if bought else ()
    theirs = charges_elsewhere([sold], "c", instances, NOW)
    ours = charges_of([sold], instances, beside=True) if charged_by == "merchant" else ()
    assert len(theirs) == (charged_by != "merchant")
    assert len(ours) == (charged_by == "merchant" and bought)
