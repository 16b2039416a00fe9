"""V1.0 calls as events and orders, and the computed answers to debugging ones (spec §3.4, §3.5). Pure.

A call tells buyer, product and expiry itself, so no order is asked for.
"""

import json
from dataclasses import replace
from typing import Final

from billing_sync.errors import BadEvent
from billing_sync.koogallery import answers, query, v1_fields
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.fields import Callback, instance_ids, utc_ms
from billing_sync.koogallery.order import Order
from billing_sync.koogallery.query import Addresses
from billing_sync.lifecycle import Activity, Event, LifecycleEvent, instance_id_of

_EVENTS: Final = {
    Activity.NEW: Event.KNOWN,
    Activity.REFRESH: Event.REFRESH,
    Activity.EXPIRE: Event.EXPIRE,
    Activity.RELEASE: Event.RELEASE,
    Activity.UPGRADE: Event.UPGRADE,
}
_STATUS: Final = {"FREEZE": Event.FREEZE, "NORMAL": Event.UNFREEZE}
_CHARGING: Final = {"0": "ON_DEMAND", "1": "PERIOD", "3": "ONE_TIME"}
_DEBUG_LICENCE: Final = "debug-licence"
_ONE_INSTANCE_AN_ORDER: Final = frozenset({"PERIOD", "ONE_TIME"})


def to_event(callback: Callback, sent_at: int) -> LifecycleEvent:
    """The event of a call that changes something. Raises BadEvent for an impossible date.

    In place of an order line stands the product of an order that may buy several (spec §3.4), and
    nothing elsewhere: a repeat of an order's refresh or upgrade is known by the order.
    """
    values, activity = callback.values, callback.activity
    order_id, line_id = values.get("orderId", ""), _line_of(callback)
    refreshed = values.get("expireTime", "") if activity is Activity.REFRESH else ""
    accepted = values.get("acceptanceTime", "")
    return LifecycleEvent(
        activity=activity,
        event=_event(callback),
        instance_id=values.get("instanceId") or instance_id_of(order_id, line_id),
        sent_at=sent_at,
        body=callback.body,
        order_id=order_id,
        order_line_id=line_id,
        product_id=values.get("productId", ""),
        expires=utc_ms("expireTime", refreshed) if refreshed else 0,
        accepted=utc_ms("acceptanceTime", accepted) if accepted else 0,
        formal=values.get("trialToFormal") == "1",
    )


def _event(callback: Callback) -> Event:
    if callback.activity is Activity.STATUS:
        return _STATUS[callback.values["instanceStatus"]]
    return _EVENTS[callback.activity]


def _line_of(callback: Callback) -> str:
    mode = _CHARGING.get(callback.values.get("chargingMode", ""), "")
    has_lines = callback.activity is Activity.NEW and mode not in _ONE_INSTANCE_AN_ORDER
    return callback.values["productId"] if has_lines else ""


def order_of(callback: Callback) -> Order | None:
    """What a newInstance or an upgrade tells of its order; None for any other call."""
    if callback.activity not in (Activity.NEW, Activity.UPGRADE):
        return None
    values = callback.values
    product_id, amount = values["productId"], values.get("amount", "")
    return Order(
        order_id=values["orderId"],
        order_line_id=_line_of(callback),
        product_ids=(product_id,),
        charging_mode=_CHARGING.get(values.get("chargingMode", ""), ""),
        customer_id=values.get("customerId", ""),
        customer_name=values.get("customerName", ""),
        expires=_informational(values.get("expireTime", "")),
        raw=_raw(callback),
        linear_values={product_id: max(1, int(amount))} if amount else {},
        trial=values.get("trialFlag") == "1",
    )


def _informational(expire_time: str) -> int:
    try:
        return utc_ms("expireTime", expire_time) if expire_time else 0
    except BadEvent:
        return 0


def _raw(callback: Callback) -> str:
    extended = v1_fields.extend_params(callback.values.get("saasExtendParams", ""))
    return json.dumps({**json.loads(callback.body), "extendParams": extended})


def debug_answer(callback: Callback, now_ms: int, addresses: Addresses) -> Answer:
    """What testFlag=1 gets: success, from the request alone (as in V2.0)."""
    if callback.activity is Activity.QUERY:
        return query.debug_answer(instance_ids(callback), addresses, now_ms)
    if callback.activity is Activity.LICENCE:
        event = to_event(replace(callback, activity=Activity.NEW), now_ms)
        return replace(answers.created(event.instance_id, settled=True), licence=_DEBUG_LICENCE)
    event = to_event(callback, now_ms)
    if callback.activity is Activity.NEW:
        made_up = answers.created(event.instance_id, settled=True)
        return replace(made_up, app_info=query.debug_app_info(addresses))
    return Answer(ResultCode.SUCCESS)
