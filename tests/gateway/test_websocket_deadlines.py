"""When a session ends by itself."""

import math

from gateway.settings import WebSocketSettings
from gateway.websocket_deadlines import Deadlines
from gateway.websocket_ends import IDLE, STOPPED, TOO_LONG


def started(idle: float = 10, **settings: float) -> Deadlines:
    """Of a session that opened at 0."""
    deadlines = Deadlines(idle, WebSocketSettings(**settings))  # type: ignore[arg-type]
    deadlines.start(0.0)
    return deadlines


def test_before_it_is_open_nothing_is_due() -> None:
    """The handshake has limits of its own."""
    deadlines = Deadlines(10, WebSocketSettings())
    assert deadlines.next_s == math.inf
    assert deadlines.over(1e9) is None


def test_every_message_puts_off_the_idle_end() -> None:
    """And nothing else does."""
    deadlines = started()
    deadlines.touch(5.0)
    assert (deadlines.next_s, deadlines.over(14.9), deadlines.over(15.0)) == (15.0, None, IDLE)


def test_a_bound_on_the_duration_is_not_put_off() -> None:
    """However much passes."""
    deadlines = started(max_duration=30)
    deadlines.touch(29.0)
    assert (deadlines.next_s, deadlines.over(30.0)) == (30.0, TOO_LONG)


def test_a_stretch_is_over_again_and_again() -> None:
    """Every `record_every` seconds."""
    deadlines = started(1000, record_every=60)
    assert (deadlines.next_s, deadlines.stretch_over(60.0)) == (60.0, True)
    deadlines.record(60.0)
    assert (deadlines.next_s, deadlines.stretch_over(60.0)) == (120.0, False)


def test_a_stopping_worker_waits_for_a_pause_but_not_for_ever() -> None:
    """The end says why."""
    deadlines = started()
    deadlines.touch(100.0)
    deadlines.stop(100.5, quiet=1, within=20)
    assert (deadlines.next_s, deadlines.over(100.9), deadlines.over(101.0)) == (
        101.0,
        None,
        STOPPED,
    )
    deadlines.touch(120.4)
    assert (deadlines.next_s, deadlines.over(120.5)) == (120.5, STOPPED)
