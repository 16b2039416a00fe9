"""`tallygate sync`: the control plane's sync run, without its listeners."""

import anyio
import httpx

from billing_sync.app import EVERY_S, Parts, runner_of, set_up
from billing_sync.runner import Runner
from metering.counters import Counters
from tallygate.installation import Installation


async def run_once(installation: Installation, *, close_now: bool) -> None:
    """One run. Raises MeteringError when Redis is away."""
    async with httpx.AsyncClient() as http:
        parts = installation.parts(http)
        try:
            await (await _runner(parts)).run_once(close_now=close_now)
        finally:
            await _close(parts)


async def run_loop(installation: Installation) -> None:
    """Runs until cancelled."""
    async with httpx.AsyncClient() as http:
        parts = installation.parts(http)
        try:
            await (await _runner(parts)).run_forever(EVERY_S, anyio.lowlevel.checkpoint)
        finally:
            await _close(parts)


async def _runner(parts: Parts) -> Runner:
    await anyio.to_thread.run_sync(set_up, parts)
    return runner_of(parts, Counters(parts.redis))


async def _close(parts: Parts) -> None:
    with anyio.CancelScope(shield=True):
        await parts.redis.aclose()
    parts.engine.dispose()
