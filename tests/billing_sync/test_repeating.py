"""Loops that outlive what happens in them."""

import logging
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy.exc import OperationalError

from billing_sync.errors import OrderUnavailable
from billing_sync.repeating import Repeater, Wake, describe
from metering.errors import MeteringUnavailable

pytestmark = pytest.mark.anyio


def away() -> MeteringUnavailable:
    return MeteringUnavailable("Redis cannot be reached")


async def play(events: list[Exception | None], repeater: Repeater) -> None:
    """Run a job that does these things one after the other, then stop."""
    left: Iterator[Exception | None] = iter(events)
    with anyio.CancelScope() as scope:

        async def job() -> None:
            await anyio.lowlevel.checkpoint()
            try:
                failure = next(left)
            except StopIteration:
                scope.cancel()
                return
            if failure is not None:
                raise failure

        await repeater.forever("sync", job, 0.0, Wake())


async def test_failures_are_counted_and_the_loop_goes_on() -> None:
    """By loop and reason, whatever kind of failure it is: a bug and a group of errors too."""
    repeater = Repeater()
    group = ExceptionGroup("unhandled", [ExceptionGroup("inner", [away(), ValueError()])])
    await play([away(), KeyError("bug"), None, away(), group], repeater)
    assert repeater.failures == {("sync", "MeteringUnavailable"): 3, ("sync", "KeyError"): 1}


async def test_trouble_is_said_when_it_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Not at every turn; and again when it comes back."""
    locked = OperationalError("update api_key set sealed=?", ("secret",), Exception("locked"))
    with caplog.at_level(logging.INFO, logger="tallygate"):
        await play([away(), away(), locked, None, None, away()], Repeater())
    said = [line.getMessage() for line in caplog.records]
    assert [line.split(": ")[0] for line in said] == [
        "sync failed and is tried again",
        "sync failed and is tried again",
        "sync works again",
        "sync failed and is tried again",
        "sync works again",
    ]
    assert "Redis cannot be reached" in said[0]
    assert "secret" not in str(said)


async def test_cancelling_ends_it() -> None:
    """Also in the middle of the job."""
    with anyio.move_on_after(0.05) as scope:
        await Repeater().forever("sync", anyio.sleep_forever, 0.0, Wake())
    assert scope.cancelled_caught


async def test_a_wake_ends_the_sleep() -> None:
    """Also one that comes while the job is running."""
    runs = 0
    wake = Wake()
    with anyio.CancelScope() as scope:

        async def job() -> None:
            nonlocal runs
            runs += 1
            await anyio.lowlevel.checkpoint()
            if runs == 3:
                scope.cancel()
            wake.set()

        with anyio.fail_after(10):
            await Repeater().forever("push", job, 3600.0, wake)
    assert runs == 3


def test_what_is_said() -> None:
    """Named conditions speak for themselves; of anything else only the place is told."""
    assert describe(away()) == "MeteringUnavailable: Redis cannot be reached"
    assert describe(OrderUnavailable("x" * 999)) == "OrderUnavailable: " + "x" * 300
    assert describe(OrderUnavailable()) == "OrderUnavailable: "
    with pytest.raises(KeyError) as bug:
        dict[str, str]()["the customer's secret"]
    said = describe(bug.value)
    assert said.startswith(f"KeyError at {__file__}:")
    assert "secret" not in said
