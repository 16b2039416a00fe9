"""Makers in Python: found by name, bounded in time, whatever they do."""

import threading
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from billing_sync.errors import MakerUnusable
from billing_sync.licence_makers import FunctionMaker, NoMaker, function_of
from billing_sync.licences import LicenceRefused, LicenceRequest, MakerFailed, NotYet, Reason

pytestmark = pytest.mark.anyio

HERE = "tests.billing_sync.licence_fixtures"


def request_for(fingerprint: str = "mac-1") -> LicenceRequest:
    return LicenceRequest(
        id="lic_1",
        event_id="e",
        instance_id="i",
        product_id="LIC",
        order_id="o",
        order_line_id="o-1",
        customer_id="c",
        customer_name="买家",
        charging_mode="PERIOD",
        quantity=2,
        effective=datetime(2026, 1, 1, tzinfo=UTC),
        expires=datetime(2027, 1, 1, tzinfo=UTC),
        fingerprint=fingerprint,
    )


async def test_a_function_by_its_name() -> None:
    """As the configuration writes it."""
    made = await FunctionMaker(function_of(f"{HERE}:make"), 5).make(request_for())
    assert made.content == b"licence of i"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module_x:make", "cannot be imported"),
        (f"{HERE}:nobody", "has no function 'nobody'"),
        (f"{HERE}:NOT_A_FUNCTION", "has no function"),
        (f"{HERE}:make_later", "async"),
    ],
)
def test_what_cannot_be_called(name: str, reason: str) -> None:
    """Is said at the start, and what to do."""
    with pytest.raises(MakerUnusable, match=reason):
        function_of(name)


async def test_no_maker() -> None:
    """The licence waits for one."""
    with pytest.raises(MakerFailed, match=r"koogallery\.licence\.maker"):
        await NoMaker().make(request_for())


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (LicenceRefused(Reason.QUOTA_USED_UP), LicenceRefused),
        (NotYet(), NotYet),
        (ValueError("secret words"), MakerFailed),
        (KeyboardInterrupt(), MakerFailed),
    ],
)
async def test_what_a_maker_raises(raised: BaseException, expected: type[Exception]) -> None:
    """Its own conditions pass; of anything else only kind and place are told."""

    def make(_: LicenceRequest) -> str:
        raise raised

    with pytest.raises(expected) as caught:
        await FunctionMaker(make, 5).make(request_for())
    assert "secret" not in str(caught.value)
    if expected is MakerFailed:
        assert "test_licence_makers.py" in str(caught.value)


async def test_makers_that_hang() -> None:
    """Are left alone, up to a number; those that come back are forgotten, and so is what they made."""
    leave, given = threading.Event(), []

    def make(request: LicenceRequest) -> Any:
        leave.wait(20)
        given.append(request.id)
        return "x"

    maker = FunctionMaker(make, 0.02, most_left=3)
    for _ in range(3):
        with pytest.raises(MakerFailed, match=r"took longer than 0\.02 s"):
            await maker.make(request_for())
    with pytest.raises(MakerFailed, match="3 earlier calls still hang"):
        await maker.make(request_for())
    leave.set()
    with anyio.fail_after(10):
        while maker._left:  # noqa: ASYNC110  (threads tell nobody)
            await anyio.sleep(0.01)
    assert (await maker.make(request_for())).content == b"x"
    assert len(given) == 4


async def test_the_loop_goes_on() -> None:
    """A maker that blocks holds up nobody: callbacks are answered beside it."""
    entered, leave = threading.Event(), threading.Event()

    def make(_: LicenceRequest) -> str:
        entered.set()
        assert leave.wait(20)
        return "x"

    async with anyio.create_task_group() as group:
        group.start_soon(FunctionMaker(make, 20).make, request_for())
        with anyio.fail_after(10):
            while not entered.is_set():  # noqa: ASYNC110  (set in a thread)
                await anyio.sleep(0.01)
        leave.set()
