"""V2.0 callbacks as events, and the computed answers to debugging ones (spec §2.5, §2.14). Pure."""

from billing_sync.koogallery import answers, licence_fields, query
from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.fields import Callback, instance_ids, utc_ms, wanted_product
from billing_sync.koogallery.licence_fields import CODE_ACTIVITIES
from billing_sync.koogallery.query import Addresses
from billing_sync.lifecycle import TRIAL_TO_FORMAL, Activity, Event, LifecycleEvent, instance_id_of

_EVENTS = {
    Activity.NEW: Event.KNOWN,
    Activity.REFRESH: Event.REFRESH,
    Activity.RELEASE: Event.RELEASE,
    Activity.UPGRADE: Event.UPGRADE,
}
_STATUS = {"FREEZE": Event.FREEZE, "UNFREEZE": Event.UNFREEZE}


def to_event(callback: Callback, sent_at: int) -> LifecycleEvent:
    """The event of a callback that changes something. Raises BadEvent for an impossible date.

    A new instance gets the id of its order line; ids made per product need the order first.
    """
    values, activity = callback.values, callback.activity
    order_id, line_id = values.get("orderId", ""), values.get("orderLineId", "")
    expires = values.get("expireTime", "")
    return LifecycleEvent(
        activity=activity,
        event=_STATUS[values["status"]] if activity is Activity.STATUS else _EVENTS[activity],
        instance_id=values.get("instanceId") or instance_id_of(order_id, line_id),
        sent_at=sent_at,
        body=callback.body,
        order_id=order_id,
        order_line_id=line_id,
        scene=values.get("scene", ""),
        formal=values.get("scene") == TRIAL_TO_FORMAL,
        product_id=values.get("productId", ""),
        expires=utc_ms("expireTime", expires) if expires else 0,
    )


def debug_answer(callback: Callback, now_ms: int, addresses: Addresses) -> Answer:
    """What testFlag=1 gets: success, from the request alone.

    The saved cases are replayed twice a day for as long as the product is sold, so nothing here
    may depend on state; impossible fields are refused as in real requests.
    """
    if callback.activity is Activity.QUERY:
        return query.debug_answer(instance_ids(callback), addresses, now_ms)
    if callback.activity is Activity.CHECK:
        wanted_product(callback)
    if callback.activity in (Activity.CHECK, Activity.NOTIFY):
        return Answer(ResultCode.SUCCESS)
    if callback.activity is Activity.LICENCE:
        licence_fields.to_asked(callback)
        return Answer(ResultCode.SUCCESS)
    if callback.activity in CODE_ACTIVITIES:
        licence_fields.to_code_event(callback, "", now_ms)
        return Answer(ResultCode.SUCCESS)
    event = to_event(callback, now_ms)
    if callback.activity is Activity.NEW:
        return answers.created(event.instance_id, settled=True)
    return Answer(ResultCode.SUCCESS)
