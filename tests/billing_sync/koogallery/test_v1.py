"""V1.0 calls as events and orders, and the answers to debugging ones."""

import json

import pytest

from billing_sync.errors import BadEvent
from billing_sync.koogallery import v1_fields
from billing_sync.koogallery.query import Addresses
from billing_sync.koogallery.v1 import debug_answer, order_of, to_event
from billing_sync.lifecycle import Activity, Event, LifecycleEvent, identity, instance_id_of
from tests.billing_sync.koogallery.test_v1_fields import (
    EXPIRE,
    LEAST,
    NEW,
    QUERY,
    REFRESH,
    RELEASE,
    STATUS,
    UPGRADE,
)
from tests.billing_sync.v1_marketplace import as_text

AT = 1_790_000_000_000


def event_of(call: dict[str, str], at: int = AT, **more: str) -> LifecycleEvent:
    return to_event(v1_fields.parse({**call, **more}), at)


@pytest.mark.parametrize(
    ("call", "activity", "event"),
    [
        (NEW, Activity.NEW, Event.KNOWN),
        (REFRESH, Activity.REFRESH, Event.REFRESH),
        (EXPIRE, Activity.EXPIRE, Event.EXPIRE),
        (RELEASE, Activity.RELEASE, Event.RELEASE),
        (UPGRADE, Activity.UPGRADE, Event.UPGRADE),
        (STATUS, Activity.STATUS, Event.FREEZE),
        (STATUS | {"instanceStatus": "NORMAL"}, Activity.STATUS, Event.UNFREEZE),
    ],
)
def test_events(call: dict[str, str], activity: Activity, event: Event) -> None:
    """Each activity becomes its event at its own time."""
    made = event_of(call)
    assert (made.activity, made.event, made.sent_at) == (activity, event, AT)
    assert made.instance_id == call.get("instanceId", instance_id_of("o", "p"))


@pytest.mark.parametrize(
    ("mode", "line"), [("", "p"), ("0", "p"), ("7", "p"), ("1", ""), ("3", "")]
)
def test_one_instance_or_several(mode: str, line: str) -> None:
    """An order for a period or paid once is one instance; any other one for each product."""
    assert event_of(NEW, chargingMode=mode).instance_id == instance_id_of("o", line)


def test_a_refresh() -> None:
    """It carries product and new expiry, and is known by its order alone."""
    first = event_of(REFRESH, productId="q")
    assert (first.product_id, first.expires) == ("q", 1_798_761_600_000)
    again = event_of(REFRESH, AT + 5, trialToFormal="1", expireTime="20280101000000")
    assert identity(first) == identity(again)
    assert identity(first) != identity(event_of(REFRESH, orderId="another"))


def test_an_acceptance() -> None:
    """The second newInstance says when billing begins."""
    assert event_of(NEW, acceptanceTime="20270101000000123").accepted == 1_798_761_600_123
    assert event_of(NEW).accepted == 0


@pytest.mark.parametrize(
    ("call", "name"), [(REFRESH, "expireTime"), (NEW, "acceptanceTime")], ids=["expiry", "accepted"]
)
def test_dates_that_matter(call: dict[str, str], name: str) -> None:
    """An expiry or an acceptance that is no date is refused by name."""
    with pytest.raises(BadEvent, match=name):
        event_of(call | {name: "20271340000000"})


def test_the_order_of_a_purchase() -> None:
    """The call itself says who bought what; contact data is not in what is kept."""
    told = {
        "customerName": "买家",
        "chargingMode": "1",
        "amount": "5",
        "expireTime": "20270101000000",
        "mobilePhone": "hidden",
        "saasExtendParams": as_text([{"name": "n", "value": "v"}]),
    }
    order = order_of(v1_fields.parse(NEW | told))
    assert order is not None
    assert order.complete
    assert (order.order_id, order.order_line_id, order.product_ids) == ("o", "", ("p",))
    assert (order.customer_id, order.customer_name) == ("c", "买家")
    assert (order.charging_mode, order.expires) == ("PERIOD", 1_798_761_600_000)
    assert order.linear_value("p") == 5
    raw = json.loads(order.raw)
    assert raw["extendParams"] == [{"name": "n", "value": "v"}]
    assert "hidden" not in order.raw


@pytest.mark.parametrize(("amount", "value"), [("", 1), ("0", 1), ("-3", 1), ("7", 7)])
def test_amounts(amount: str, value: int) -> None:
    """Whatever amount is told, at least one was bought."""
    order = order_of(v1_fields.parse(NEW | {"amount": amount}))
    assert order is not None
    assert order.linear_value("p") == value


def test_an_expiry_that_only_informs() -> None:
    """Of a purchase it may be nonsense: no order fails because of it."""
    order = order_of(v1_fields.parse(NEW | {"expireTime": "soon"}))
    assert order is not None
    assert order.expires == 0


def test_the_order_of_an_upgrade() -> None:
    """It names the product to go on with, and no buyer."""
    order = order_of(v1_fields.parse(UPGRADE | {"amount": "3"}))
    assert order is not None
    assert (order.product_ids, order.order_line_id, order.linear_values) == (("p",), "", {"p": 3})
    assert order_of(v1_fields.parse(REFRESH)) is None


@pytest.mark.parametrize("call", LEAST, ids=lambda call: call["activity"])
def test_debugging(call: dict[str, str]) -> None:
    """testFlag=1 gets success, with access data where a buyer would see it."""
    answer = debug_answer(v1_fields.parse(call | {"testFlag": "1"}), AT, Addresses("https://api"))
    assert answer.code == "000000"
    if call in (NEW, QUERY):
        shown = answer.app_info or (answer.info or ({},))[0].get("appInfo")
        assert isinstance(shown, dict)
        assert shown["frontEndUrl"] == "https://api"
    assert bool(answer.instance_id) is (call["activity"] in ("newInstance", "getLicense"))


def test_debugging_with_impossible_fields() -> None:
    """They are refused as in real calls."""
    with pytest.raises(BadEvent, match="expireTime"):
        debug_answer(
            v1_fields.parse(REFRESH | {"expireTime": "x", "testFlag": "1"}), AT, Addresses("u")
        )
