"""Plays every debug case against a production address, and judges each reply.

The marketplace wants its cases repeatable, in any order and at any time (spec §9, §2.14). So each of
those that must succeed is sent once, then again, then all in a random order, then all at once. What
must be refused is sent once, and after it the first creations again: nothing may have changed.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import anyio

from .callbacks import Call, Callbacks
from .checks import RESULT_CODES, Reply, check_reply
from .clock import Clock
from .conversation import instance_id_of
from .debug_case import DebugCase, Version
from .findings import Finding
from .info_checks import check_info
from .kit_calls import SignedSync, shifted_sync
from .suites import Suite
from .tampering import SignedCallback, shifted

ONCE, AGAIN, SHUFFLED, AT_ONCE, LAST = "once", "again", "random order", "at once", "at the end"
_AT_ONCE: Final = 16
_COPIES: Final = 3  # of each creation among those at once


@dataclass
class Examined:
    """A case and what its replies were like. `seen` are findings by the ways they came up."""

    case: DebugCase
    calls: int = 0
    slowest_ms: int = 0
    codes: set[str] = field(default_factory=set)
    seen: dict[Finding, list[str]] = field(default_factory=dict)

    def hear(self, way: str, reply: Reply, findings: Iterable[Finding]) -> None:
        """One more reply."""
        self.calls += 1
        self.slowest_ms = max(self.slowest_ms, reply.elapsed_ms)
        if reply.result_code:
            self.codes.add(reply.result_code)
        for finding in findings:
            self.find(way, finding)

    def find(self, way: str, finding: Finding) -> None:
        ways = self.seen.setdefault(finding, [])
        if way not in ways:
            ways.append(way)


@dataclass(frozen=True)
class Order:
    """How it is examined. `seed` makes the random order; without `real` every call is a debug one."""

    seed: int = 0
    real: bool = True


class Examination:
    """Of one production address. `heard` is told of each reply, for whoever shows progress."""

    def __init__(
        self,
        callbacks: Callbacks,
        url: str,
        suites: Sequence[Suite],
        clock: Clock,
        order: Order,
        *,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._callbacks = callbacks
        self._url = url
        self._suites = {suite.version: suite for suite in suites}
        self._clock = clock
        self._order = order
        self._heard = heard
        self._ids: dict[tuple[Version, str], str] = {}

    async def run(self) -> list[Examined]:
        """Every case, in the order in which it was first sent; stops when nobody is there."""
        found = [Examined(case) for case in self._creations()]
        await self._one_by_one(found, ONCE)
        if found and all(not each.codes for each in found):
            return found
        creations = list(found)
        found += [Examined(case) for case in self._others()]
        await self._one_by_one(found[len(creations) :], ONCE)
        await self._repeated(found)
        refused = [Examined(case) for case in self._refused()]
        await self._one_by_one(refused, ONCE)
        await self._one_by_one(creations, LAST)
        return found + refused

    async def _repeated(self, found: list[Examined]) -> None:
        await self._one_by_one(found, AGAIN)
        shuffled = random.Random(self._order.seed).sample(found, len(found))
        await self._one_by_one(shuffled, SHUFFLED)
        copies = [each for each in shuffled for _ in range(_COPIES if each.case.line else 1)]
        limiter = anyio.CapacityLimiter(_AT_ONCE)
        async with anyio.create_task_group() as group:
            for each in copies:
                group.start_soon(self._play, each, AT_ONCE, limiter)

    async def _one_by_one(self, found: Iterable[Examined], way: str) -> None:
        limiter = anyio.CapacityLimiter(1)
        for each in found:
            await self._play(each, way, limiter)

    async def _play(self, each: Examined, way: str, limiter: anyio.CapacityLimiter) -> None:
        async with limiter:
            reply = await self._send(each.case)
        each.hear(way, reply, self._judge(each.case, reply))
        self._heard()

    async def _send(self, case: DebugCase) -> Reply:
        call = self._suites[case.version].signed(case)
        if case.tamper in ("replay", "shift"):
            await self._callbacks.deliver(self._url, call)
        if case.tamper == "shift":
            call = _shifted(call)
        return await self._callbacks.deliver(self._url, call)

    def _judge(self, case: DebugCase, reply: Reply) -> Iterator[Finding]:
        codes = case.accepted if case.is_right else RESULT_CODES
        yield from check_reply(case.activity, reply, codes)
        if not case.is_right and reply.result_code and reply.result_code not in case.accepted:
            right = " or ".join(sorted(case.accepted))
            yield Finding("refusal", f"answered {reply.result_code}, must be {right}")
        yield from self._suites[case.version].check(case, reply)
        if not case.is_right or reply.result_code not in case.accepted:
            return
        if case.asked:
            yield from check_info(reply, case.asked, self._clock.now_ms())
        if case.line:
            yield from self._check_id(case, instance_id_of(reply))

    def _check_id(self, case: DebugCase, given: str) -> Iterator[Finding]:
        """Every newInstance of an order line names the same instance (§2.6)."""
        known = self._ids.setdefault((case.version, case.line), given) if given else given
        if known != given:
            yield Finding("idempotency", "another instanceId than the first time")

    def _creations(self) -> Iterator[DebugCase]:
        for suite in self._suites.values():
            yield from suite.creations()

    def _others(self) -> Iterator[DebugCase]:
        for suite in self._suites.values():
            of = Version.V2 if suite.version is not Version.V1 else Version.V1
            ids = {line: given for (made_by, line), given in self._ids.items() if made_by is of}
            yield from suite.others(ids)

    def _refused(self) -> Iterator[DebugCase]:
        for suite in self._suites.values():
            yield from suite.refused()
            if self._order.real:
                yield from suite.unknown(f"unknown-{uuid4()}")


def _shifted(call: Call) -> Call:
    if isinstance(call, SignedSync):
        return shifted_sync(call)
    return shifted(call) if isinstance(call, SignedCallback) else call
