"""Callbacks as events, and the answers to debugging ones."""

import json

import pytest

from billing_sync.errors import BadEvent
from billing_sync.koogallery.answers import encode
from billing_sync.koogallery.fields import SCENES, parse
from billing_sync.koogallery.query import Addresses
from billing_sync.koogallery.v2 import debug_answer, to_event
from billing_sync.lifecycle import Activity, Event, LifecycleEvent, instance_id_of

AT = 1_790_000_000_000


def event_of(**body: str) -> LifecycleEvent:
    return to_event(parse(json.dumps(body).encode()), AT)


def debugged(**body: str) -> dict[str, object]:
    callback = parse(json.dumps({**body, "testFlag": "1"}).encode())
    answer: dict[str, object] = json.loads(
        encode(debug_answer(callback, AT, Addresses("https://api")))
    )
    return answer


def test_events() -> None:
    """Each activity becomes its event, with the fields that matter to it."""
    frozen = event_of(activity="updateInstanceStatus", instanceId="i", status="FREEZE")
    assert (frozen.event, frozen.instance_id, frozen.sent_at) == (Event.FREEZE, "i", AT)
    thawed = event_of(activity="updateInstanceStatus", instanceId="i", status="UNFREEZE")
    assert thawed.event is Event.UNFREEZE
    released = event_of(activity="releaseInstance", instanceId="i")
    assert (released.event, released.activity) == (Event.RELEASE, Activity.RELEASE)
    new = event_of(activity="newInstance", businessId="b", orderId="o", orderLineId="l")
    assert new.instance_id == instance_id_of("o", "l")


def refreshed(expire_time: str, scene: str = "RENEWAL") -> LifecycleEvent:
    return event_of(
        activity="refreshInstance",
        scene=scene,
        orderId="o",
        orderLineId="l",
        instanceId="i",
        productId="P",
        expireTime=expire_time,
    )


def test_a_refresh() -> None:
    """A refresh carries its order, scene, product and the new expiry in UTC ms."""
    event = refreshed("20221124023618256")
    assert event.expires == 1_669_257_378_256
    assert (event.order_id, event.scene, event.product_id) == ("o", "RENEWAL", "P")


def test_a_refresh_without_a_date() -> None:
    """An expiry that is no date is refused by name."""
    with pytest.raises(BadEvent, match="expireTime"):
        refreshed("20221340000000")


def test_debug_create() -> None:
    """A debug creation gets the very id a real one would get."""
    answer = debugged(activity="newInstance", businessId="b", orderId="o", orderLineId="l")
    assert answer == {
        "resultCode": "000000",
        "resultMsg": "success",
        "instanceId": instance_id_of("o", "l"),
    }


def test_debug_query() -> None:
    """A debug query shows an entry with access data and usage for every id, known or not."""
    answer = debugged(activity="queryInstance", instanceId="a,b")
    assert answer["resultCode"] == "000000"
    info = answer["info"]
    assert isinstance(info, list)
    assert [entry["instanceId"] for entry in info] == ["a", "b"]
    for entry in info:
        assert {"frontEndUrl", "userName", "password", "memo"} <= set(entry["appInfo"])
        assert entry["usageInfo"][0].keys() == {"usageValue", "statisticalTime"}


@pytest.mark.parametrize("status", ["FREEZE", "UNFREEZE"])
def test_debug_status(status: str) -> None:
    """Debug status changes succeed whatever the instance."""
    answer = debugged(activity="updateInstanceStatus", instanceId="none", status=status)
    assert answer["resultCode"] == "000000"


@pytest.mark.parametrize("scene", sorted(SCENES))
@pytest.mark.parametrize("product", ["", "P"])
def test_debug_refresh(scene: str, product: str) -> None:
    """Debug refreshes succeed in each scene, with and without a product."""
    answer = debugged(
        activity="refreshInstance",
        scene=scene,
        orderId="o",
        orderLineId="l",
        instanceId="none",
        productId=product,
        expireTime="20270101000000",
    )
    assert answer["resultCode"] == "000000"


def test_debug_release() -> None:
    """A debug release succeeds with and without its order."""
    assert debugged(activity="releaseInstance", instanceId="n")["resultCode"] == "000000"
    full = debugged(activity="releaseInstance", instanceId="n", orderId="o", orderLineId="l")
    assert full["resultCode"] == "000000"


def test_debug_still_checks_fields() -> None:
    """Debugging a broken request shows the breakage."""
    with pytest.raises(BadEvent, match="expireTime"):
        debugged(
            activity="refreshInstance",
            scene="RENEWAL",
            orderId="o",
            orderLineId="l",
            instanceId="i",
            expireTime="tomorrow",
        )
