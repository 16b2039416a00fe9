import os
import signal
import subprocess
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
    """Who ran for ten seconds is started again at once."""
    backoff = Backoff()
    for _ in range(9):
        backoff.after(0.0)
    assert [round(backoff.after(lived), 1) for lived in (10.0, 1.0)] == [0.1, 0.2]


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


def test_what_somebody_else_starts_again_is_left_alone() -> None:
    """Or there would be two of it."""
    frail = Frail(alive=False)
    keeper = frail.keeper()
    keeper.resting = True
    for now in (1.0, 2.0):
        keeper.tend(now)
    assert frail.starts == 0


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


def child(code: str) -> Child:
    """A gateway worker that is any Python; it runs once it has printed something."""
    reading, writing = os.pipe()
    made = Child("gateway-1", ["gateway"], [], 0, "http://admin")
    made._argv = [sys.executable, "-c", f"import os, signal, sys, time\n{code}", str(writing)]
    made._inherited = (writing,)
    made.start()
    os.close(writing)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    return made


# In naps: a signal that comes just before a sleep is heard after it.
READY = "os.write(int(sys.argv[1]), b'x')\nwhile True: time.sleep(0.05)"


@pytest.mark.anyio
async def test_who_does_not_stop_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """Patience has an end, and it is said."""
    stubborn = child(f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}")
    await stubborn.end(0.2, anyio.Event())
    assert not stubborn.alive()
    assert caplog.messages == ["gateway-1 did not stop in time; killed"]


@pytest.mark.anyio
async def test_a_stopped_process_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    """It goes on for as long as it takes to stop in good order: nobody needs to kill it."""
    frozen = child(READY)
    assert frozen.pid is not None
    os.kill(frozen.pid, signal.SIGSTOP)
    await frozen.end(60, anyio.Event())
    assert not frozen.alive()
    assert caplog.messages == []


@pytest.mark.anyio
async def test_told_to_hurry_it_is_told_again_and_waited_for_less(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By SIGINT, for a second SIGTERM may be anybody's."""
    hurried = anyio.Event()
    hurried.set()
    patient = child(f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}")
    await patient.end(60, hurried)
    assert caplog.messages == []
    both = "for n in (signal.SIGTERM, signal.SIGINT): signal.signal(n, signal.SIG_IGN)"
    stubborn = child(f"{both}\n{READY}")
    await stubborn.end(60, hurried, hurried_s=0.2)
    assert not stubborn.alive()
    assert caplog.messages == ["gateway-1 did not stop in time; killed"]


@pytest.mark.anyio
async def test_ending_what_never_ran_does_nothing() -> None:
    """Also a second time."""
    never = Child("control", ["control"], [], 0, "http://admin")
    assert not never.alive()
    assert never.pid is None
    await never.end(1.0, anyio.Event())
    await never.end(1.0, anyio.Event())


def test_a_child_is_asked_where_its_plane_answers() -> None:
    """The gateway is up before it is ready; the control plane is ready when it is up."""
    gateway = Child("gateway-1", ["gateway", "--name", "gateway-1"], [], 0, "http://g")
    control = Child("control", ["control"], [], 0, "http://c")
    assert (gateway.health_url, gateway.ready_url) == ("http://g/-/healthz", "http://g/-/readyz")
    assert (control.health_url, control.ready_url) == ("http://c/healthz", "http://c/healthz")
    assert (gateway.plane, control.plane) == ("gateway", "control")


FOSTER = """
import ctypes, os, subprocess
from tallygate.children import reap_orphans
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans below come to us, as to process 1
reap_orphans([])
own = subprocess.Popen(["/bin/sh", "-c", "sh -c 'echo $$; exit 3' & exit 7"], stdout=subprocess.PIPE)
orphan = int(own.stdout.readline())
os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)  # from now on the orphan is ours
os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOWAIT)
reap_orphans([own.pid])
assert own.wait() == 7, own.returncode
reap_orphans([own.pid])
try:
    os.waitid(os.P_PID, orphan, os.WEXITED | os.WNOHANG)
except ChildProcessError:
    print("let go")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to us")
def test_orphans_are_let_go_of_and_our_own_kept() -> None:
    """Process 1 of a container gets every orphan; dead ones would pile up."""
    done = subprocess.run(
        [sys.executable, "-c", FOSTER], check=True, capture_output=True, text=True
    )
    assert done.stdout == "let go\n"
