"""Tells the gateways of a change at once, where Redis is there; the control plane would, a second later."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import click

from billing_sync.parts import Parts
from billing_sync.projector import Projector
from metering.errors import MeteringError

_TELL_S: Final = 2.0
_NOT_TOLD: Final = "gateways are not told yet; the control plane does it when it and Redis are up"


@asynccontextmanager
async def telling(parts: Parts) -> AsyncIterator[Callable[[], None]]:
    """Gives what is called at a change; where it was, they are told when the block is done."""
    changed: list[bool] = []
    yield lambda: changed.append(True)
    if changed:
        await tell(parts)


async def tell(parts: Parts) -> None:
    """Project what changed; says so where that is not possible now."""
    told = False
    with anyio.move_on_after(_TELL_S):
        try:
            await Projector(parts.engine, parts.redis, parts.clock).project_pending()
            told = True
        except MeteringError:
            pass
    if not told:
        click.echo(_NOT_TOLD, err=True)
