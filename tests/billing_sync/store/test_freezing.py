"""When instances were frozen, as both versions of the interface tell it."""

from dataclasses import replace

from sqlalchemy import Engine
from sqlmodel import select

from billing_sync.lifecycle import Activity, Event, LifecycleEvent
from billing_sync.models import Instance
from billing_sync.packages import NEVER
from billing_sync.store import instances
from billing_sync.store.engine import reading, writing
from billing_sync.store.freezing import freezes_of
from tests.billing_sync.store.test_lifecycle import AT, make, purchase, refresh, send, status


def expire(sent_at: int) -> LifecycleEvent:
    return LifecycleEvent(Activity.EXPIRE, Event.EXPIRE, "i-o", sent_at, body="{}")


def spans(engine: Engine) -> list[tuple[int, int]]:
    with reading(engine) as session:
        (row,) = session.exec(select(Instance)).all()
        return [(span.begin, span.end) for span in freezes_of(session, [row])[row.id]]


def renewal(sent_at: int, expire_time: str) -> LifecycleEvent:
    event = refresh(sent_at, NEVER, order_id=f"r{sent_at}")
    body = f'{{"expireTime":"{expire_time}"}}'
    return LifecycleEvent(
        Activity.REFRESH, Event.REFRESH, "i-o", sent_at, body, event.order_id, expires=NEVER
    )


def test_status_calls(engine: Engine) -> None:
    """From a freeze to the next unfreeze, by their own time and not by that of arrival."""
    make(engine, bought=purchase())
    for event, at in ((Event.UNFREEZE, 30), (Event.FREEZE, 40), (Event.FREEZE, 10)):
        send(engine, status(event, AT + at))
    assert spans(engine) == [(AT + 10, AT + 30), (AT + 40, NEVER)]


def test_expiry_and_renewal(engine: Engine) -> None:
    """V1.0's expiry freezes until a renewal that reaches into the future, and not before it."""
    make(engine, bought=purchase())
    send(engine, expire(AT + 10))
    assert spans(engine) == [(AT + 10, NEVER)]
    send(engine, renewal(AT + 20, "20990101000000"))
    assert spans(engine) == [(AT + 10, AT + 20)]


def test_a_body_that_says_nothing(engine: Engine) -> None:
    """A refresh without a date that can be read ends nothing."""
    make(engine, bought=purchase())
    send(engine, expire(AT + 10))
    send(engine, replace(renewal(AT + 20, "never"), expires=0))
    assert spans(engine) == [(AT + 10, NEVER)]


def test_nothing_happened(engine: Engine) -> None:
    """An instance without callbacks was never frozen, one that came in frozen always."""
    make(engine, bought=purchase())
    assert spans(engine) == []
    with writing(engine) as session:
        row = instances.by_ids(session, ["i-o"])["i-o"]
        row.status = "frozen"
    assert spans(engine) == [(0, NEVER)]
