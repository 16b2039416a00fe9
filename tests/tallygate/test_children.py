import sys
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.errors import MeteringUnavailable
from tallygate.children import Backoff, Child, Keeper


def test_pauses_double_up_to_ten_seconds() -> None:
    """What dies again and again is started ever more rarely, and never given up."""
    backoff = Backoff()
    pauses = [round(backoff.after(0.0), 1) for _ in range(9)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_long_life_forgives_earlier_deaths() -> None:
    """Who ran for a minute is started again at once."""
    backoff = Backoff()
    for _ in range(9):
        backoff.after(0.0)
    assert [round(backoff.after(lived), 1) for lived in (60.0, 1.0)] == [0.1, 0.2]


@given(st.lists(st.floats(min_value=0, max_value=1e9), max_size=2000))
def test_no_history_breaks_the_pauses(lives: list[float]) -> None:
    """After thousands of deaths the pause is still one of a few seconds."""
    backoff = Backoff()
    assert all(0.1 <= backoff.after(lived) <= 10.0 for lived in lives)


@dataclass
class Frail:
    """Something that dies when told, and starts as often as it may."""

    alive: bool = True
    starts: int = 0
    fails: bool = False

    def start(self) -> None:
        self.starts += 1
        if self.fails:
            raise MeteringUnavailable("no room")
        self.alive = True

    def keeper(self) -> Keeper:
        return Keeper("frail", lambda: self.alive, self.start, started_at=0.0)


def test_what_lives_is_left_alone() -> None:
    """Looking after it does nothing."""
    frail = Frail()
    frail.keeper().tend(1.0)
    assert frail.starts == 0


def test_what_died_is_started_after_its_pause(caplog: pytest.LogCaptureFixture) -> None:
    """Not before, and once."""
    frail = Frail(alive=False)
    keeper = frail.keeper()
    keeper.tend(1.0)
    keeper.tend(1.05)
    assert frail.starts == 0
    keeper.tend(1.2)
    keeper.tend(1.3)
    assert frail.starts == 1
    assert caplog.messages == ["frail ended; starting it again in 0.1 s"]


def test_a_start_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """Its reason is said, and the pause grows."""
    frail = Frail(alive=False, fails=True)
    keeper = frail.keeper()
    for now in (1.0, 1.1, 1.2, 1.4):
        keeper.tend(now)
    assert frail.starts == 2
    assert caplog.messages == [
        "frail ended; starting it again in 0.1 s",
        "frail did not start: no room",
        "frail ended; starting it again in 0.2 s",
        "frail did not start: no room",
    ]


def stubborn(seconds: int) -> Child:
    """A child that takes SIGTERM for nothing."""
    child = Child("gateway", "-", [], 0, "http://admin")
    child._argv = [
        sys.executable,
        "-c",
        "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print('on', file=sys.stderr);"
        f"time.sleep({seconds})",
    ]
    return child


@pytest.mark.anyio
async def test_who_does_not_stop_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """Patience has an end, and it is said."""
    child = stubborn(60)
    child.start()
    await anyio.sleep(0.3)
    await child.end(0.2, anyio.Event())
    assert not child.alive()
    assert caplog.messages == ["gateway did not stop within 0 s; killed"]


@pytest.mark.anyio
async def test_ending_what_never_ran_does_nothing() -> None:
    """Also a second time."""
    child = Child("control", "-", [], 0, "http://admin")
    assert not child.alive()
    await child.end(1.0, anyio.Event())
    await child.end(1.0, anyio.Event())


def test_a_child_is_asked_where_its_plane_answers() -> None:
    """The gateway is up before it is ready; the control plane is ready when it is up."""
    gateway = Child("gateway", "-", [], 0, "http://g")
    control = Child("control", "-", [], 0, "http://c")
    assert (gateway.health_url, gateway.ready_url) == ("http://g/-/healthz", "http://g/-/readyz")
    assert (control.health_url, control.ready_url) == ("http://c/healthz", "http://c/healthz")
