"""The client's side of an exchange, and what may follow when it leaves."""

import math
from collections.abc import Awaitable, Callable

import anyio
import pytest
from starlette.types import Message

from gateway.disconnect import Caller, ClientLeft, Departure, Drains, Patience
from gateway.telemetry import Telemetry

pytestmark = pytest.mark.anyio


def says(*messages: Message) -> Callable[[], Awaitable[Message]]:
    """A server that has these messages for the application."""
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    return receive


async def test_a_body_comes_in_pieces() -> None:
    """The last piece says that it is the last."""
    caller = Caller(
        says(
            {"type": "http.request", "body": b"a", "more_body": True},
            {"type": "http.request"},
        ),
        has_body=True,
    )
    assert await caller.piece() == (b"a", True)
    assert not caller.body_over
    assert await caller.piece() == (b"", False)
    assert caller.body_over


async def test_a_client_that_leaves_inside_its_body_is_noticed() -> None:
    """Half a body is no body."""
    caller = Caller(says({"type": "http.disconnect"}), has_body=True)
    with pytest.raises(ClientLeft):
        await caller.piece()
    assert not caller.body_over


async def test_the_watch_ends_when_the_client_leaves() -> None:
    """What it still sends is dropped."""
    left: list[bool] = []
    caller = Caller(
        says({"type": "http.request", "body": b"late"}, {"type": "http.disconnect"}),
        has_body=False,
    )
    await caller.watch(lambda: left.append(True))
    assert left == [True]


async def test_only_so_many_drains_run_at_once() -> None:
    """The next client that leaves takes its upstream with it, and that is counted."""
    telemetry = Telemetry()
    drains = Drains(telemetry, at_once=1)
    first, second = (Departure(drains, Patience()) for _ in range(2))
    first.happens(drain=True)
    second.happens(drain=True)
    assert (telemetry.drains_active, telemetry.drains_capped) == (1, 1)
    first.over()
    second.over()
    assert telemetry.drains_active == 0


async def test_a_drain_has_a_bound_in_bytes() -> None:
    """Exactly that many may come, not one more."""
    telemetry = Telemetry()
    departure = Departure(Drains(telemetry, max_bytes=10), Patience())
    departure.happens(drain=True)
    departure.spend(10)
    with pytest.raises(ClientLeft):
        departure.spend(1)
    assert telemetry.drains_capped == 1


async def test_a_drain_has_a_bound_in_time() -> None:
    """Later deadlines cannot move it."""
    patience = Patience()
    departure = Departure(Drains(Telemetry(), seconds=0), patience)
    with patience.scope:
        departure.happens(drain=True)
        patience.for_upstream(60)
        await anyio.sleep(10)
    assert patience.scope.cancelled_caught


async def test_work_that_was_given_up_is_not_taken_up_again() -> None:
    """A client that was waited for in vain is not drained for."""
    telemetry, patience = Telemetry(), Patience()
    patience.scope.cancel()
    Departure(Drains(telemetry), patience).happens(drain=True)
    assert telemetry.drains_active == 0


async def test_without_draining_the_work_ends_at_once() -> None:
    """Policy abort."""
    telemetry, patience = Telemetry(), Patience()
    with patience.scope:
        Departure(Drains(telemetry), patience).happens(drain=False)
        await anyio.sleep(10)
    assert patience.scope.cancelled_caught
    assert telemetry.drains_capped == 0


async def test_patience_remembers_whose_turn_it_was() -> None:
    """A timeout is told to the one who caused it."""
    patience = Patience()
    assert patience.scope.deadline == math.inf
    patience.for_client(1)
    assert patience.on_client
    patience.for_upstream(1)
    assert not patience.on_client
