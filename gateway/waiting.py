"""How a task waits for what its call lacks of its limits."""

import anyio

from gateway.desk import Desk
from gateway.errors import GatewayError
from gateway.holds import Hold


class _Waiter:
    def __init__(self) -> None:
        self.told = anyio.Event()
        self.refusal: GatewayError | None = None

    def let_in(self, refusal: GatewayError | None) -> None:
        self.refusal = refusal
        self.told.set()


async def let_by(desk: Desk, hold: Hold) -> None:
    """Return when the hold has all it needs. Raises GatewayError where the call is refused.

    Whoever is cancelled meanwhile has to release the hold all the same.
    """
    refusal = desk.take(hold)
    if refusal is not None:
        raise refusal
    if hold.lacks < 0:
        return
    waiter = _Waiter()
    desk.wait(waiter, hold)
    try:
        await waiter.told.wait()
    finally:
        desk.leave(waiter)
    if waiter.refusal is not None:
        raise waiter.refusal


def give_back(desk: Desk | None, hold: Hold | None) -> None:
    """The call is over; what it did not settle is released."""
    if desk is not None and hold is not None:
        desk.give_back(hold)
