import os
import signal

import anyio
import pytest

from tallygate.stopping import told_to_stop

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_tells_and_a_second_one_hurries(number: signal.Signals) -> None:
    """Neither ends the process by itself."""
    async with told_to_stop() as stop:
        os.kill(os.getpid(), number)
        with anyio.fail_after(5):
            await stop.told.wait()
        assert not stop.hurried.is_set()
        os.kill(os.getpid(), number)
        with anyio.fail_after(5):
            await stop.hurried.wait()


async def test_the_end_of_the_owner_tells() -> None:
    """The pipe closes when its other end does, however the owner ended."""
    reading, writing = os.pipe()
    async with told_to_stop(reading) as stop:
        await anyio.sleep(0.05)
        assert not stop.told.is_set()
        os.close(writing)
        with anyio.fail_after(5):
            await stop.told.wait()
        assert not stop.hurried.is_set()
        assert stop.orphaned


async def test_what_has_an_owner_is_hurried_by_sigint_alone() -> None:
    """A service manager sends SIGTERM to all of us, and the owner then sends it again."""
    reading, writing = os.pipe()
    async with told_to_stop(reading) as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            with anyio.fail_after(5):
                await stop.told.wait()
            await anyio.sleep(0.05)
        assert not stop.hurried.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        with anyio.fail_after(5):
            await stop.hurried.wait()
        assert not stop.orphaned
    os.close(writing)
    os.close(reading)


async def test_sighup_ends_no_service(caplog: pytest.LogCaptureFixture) -> None:
    """It is said that it came, and nothing else; but who hangs up with its terminal stops."""
    async with told_to_stop() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        with anyio.fail_after(5):
            while not caplog.messages:  # noqa: ASYNC110  (a line of a log)
                await anyio.sleep(0.01)
        assert not stop.told.is_set()
    assert caplog.messages == ["SIGHUP changes nothing; a new configuration needs a new start"]
    async with told_to_stop(hangs_up=True) as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        with anyio.fail_after(5):
            await stop.told.wait()


async def test_what_reloads_hears_every_sighup() -> None:
    """Those that come while it is busy are one."""
    async with told_to_stop(reloads=True) as stop:
        for times in (1, 3):
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGHUP)
                await anyio.sleep(0.02)
            with anyio.fail_after(5):
                await stop.hung_up()
        with anyio.move_on_after(0.05) as again:
            await stop.hung_up()
        assert again.cancelled_caught
        assert not stop.told.is_set()


async def test_afterwards_signals_do_what_they_did_before() -> None:
    """The handlers are put back."""
    before = signal.getsignal(signal.SIGTERM)
    async with told_to_stop():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
