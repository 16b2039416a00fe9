"""Asks the configured licence maker: a Python function in a thread of its own, or an HTTP hook.

A function cannot be stopped, so one that takes too long is left to its thread, which keeps no
process alive; what it returns then is thrown away.
"""

import asyncio
import importlib
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anyio

from billing_sync.errors import MakerUnusable
from billing_sync.licences import (
    LicenceRefused,
    LicenceRequest,
    Made,
    MakerFailed,
    NotYet,
    made_of,
)

MOST_LEFT: Final = 16  # functions that hang; with more of them no further one is started
_MAX_TEXT: Final = 200


class Maker(Protocol):
    """Makes one licence. Raises LicenceRefused, NotYet or MakerFailed."""

    async def make(self, request: LicenceRequest) -> Made: ...


class NoMaker:
    """Where none is configured."""

    async def make(self, request: LicenceRequest) -> Made:
        """Raises MakerFailed."""
        raise MakerFailed(
            f"is not set, and {request.product_id} needs one: koogallery.licence.maker"
        )


@dataclass
class FunctionMaker:
    """Calls `function(request)`; `timeout_s` bounds the wait for it, `most_left` how many may hang."""

    function: Callable[[LicenceRequest], Any]
    timeout_s: float
    most_left: int = MOST_LEFT
    _left: list[str] = field(default_factory=list)

    async def make(self, request: LicenceRequest) -> Made:
        """As Maker."""
        if len(self._left) >= self.most_left:
            raise MakerFailed(f"{self.most_left} earlier calls still hang; mend it and start again")
        call = _Call(self.function, request)
        self._left.append(request.id)
        call.start(lambda: self._left.remove(request.id))
        try:
            with anyio.fail_after(self.timeout_s):
                await call.done.wait()
        except TimeoutError:
            raise MakerFailed(f"took longer than {self.timeout_s:g} s") from None
        return made_of(call.result())


class _Call:
    """One call in a daemon thread."""

    def __init__(self, function: Callable[[LicenceRequest], Any], request: LicenceRequest) -> None:
        self._function, self._request = function, request
        self._given: Any = None
        self._failure: BaseException | None = None
        self.done = asyncio.Event()

    def start(self, ended: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def tell() -> None:
            ended()
            self.done.set()

        def run() -> None:
            try:
                self._given = self._function(self._request)
            except BaseException as failure:  # noqa: BLE001  (whatever it was, somebody waits)
                self._failure = failure
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell)

        threading.Thread(target=run, name="licence maker", daemon=True).start()

    def result(self) -> Any:
        """What it returned. Raises LicenceRefused and NotYet as they are, anything else as failed."""
        if isinstance(self._failure, LicenceRefused | NotYet):
            raise self._failure
        if self._failure is not None:
            raise MakerFailed(said(self._failure))
        return self._given


def said(failure: BaseException) -> str:
    """What a maker's exception is called; its text may quote a customer's data, or a key."""
    frames = inspect.getinnerframes(failure.__traceback__) if failure.__traceback__ else []
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"raised {type(failure).__name__}{place}"[:_MAX_TEXT]


def function_of(name: str) -> Callable[[LicenceRequest], Any]:
    """The function that `package.module:function` names. Raises MakerUnusable, which says why not."""
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute, None)
    except Exception as failure:
        what = f"{type(failure).__name__}: {failure}".splitlines()[0][:_MAX_TEXT]
        raise MakerUnusable(
            f"koogallery.licence.maker: {module_name} cannot be imported ({what}); "
            "install it beside tallygate, or add its folder to PYTHONPATH"
        ) from failure
    if not callable(found):
        raise MakerUnusable(
            f"koogallery.licence.maker: {module_name} has no function {attribute!r}"
        )
    if inspect.iscoroutinefunction(found):
        raise MakerUnusable(
            f"koogallery.licence.maker: {attribute} is async; write a plain function, it may block"
        )
    function: Callable[[LicenceRequest], Any] = found
    return function
