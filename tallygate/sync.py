"""`tallygate sync`: the control plane's sync run, without its listeners."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio import lowlevel, to_thread

from billing_sync.app import EVERY_S
from billing_sync.parts import runner_of, set_up
from billing_sync.runner import Runner
from metering.counters import Counters
from tallygate.control_plane import parts_of
from tallygate.installation import Installation
from tallygate.stopping import told_to_stop


async def run_once(installation: Installation, *, close_now: bool) -> None:
    """One run. Raises MeteringError when Redis is away or must not be used."""
    await installation.check_redis()
    async with _runner(installation) as runner:
        await runner.run_once(close_now=close_now)


async def run_loop(installation: Installation) -> None:
    """Runs until told to stop. Raises StoreUnsuitable; a Redis that is away is waited for.

    What a run leaves undone is found by the next one.
    """
    async with told_to_stop() as stop:
        await installation.refuse_bad_redis()
        async with _runner(installation) as runner, anyio.create_task_group() as group:
            group.start_soon(runner.run_forever, EVERY_S, lowlevel.checkpoint)
            await stop.told.wait()
            group.cancel_scope.cancel()


@asynccontextmanager
async def _runner(installation: Installation) -> AsyncIterator[Runner]:
    async with parts_of(installation) as parts:
        await to_thread.run_sync(set_up, parts)
        yield runner_of(parts, Counters(parts.redis))
