"""The marketplace's side of a usage push, as the outbox meets it."""

import json
from collections.abc import Callable

import anyio
import anyio.lowlevel

from billing_sync.koogallery.outcomes import Kind, PushOutcome

ACCEPTED = PushOutcome(Kind.ACCEPTED, "MKT.0000")
Judge = Callable[[list[str]], PushOutcome]


class Marketplace:
    """Takes what it is sent; `judge` says what it answers to these serials."""

    def __init__(self, judge: Judge = lambda _: ACCEPTED) -> None:
        self.judge = judge
        self.pushed: list[list[str]] = []
        self.bodies: list[bytes] = []
        self.taken: dict[str, str] = {}
        self.hang: anyio.Event | None = None
        self.called = anyio.Event()

    async def push(self, body: bytes) -> PushOutcome:
        records = json.loads(body)["usage_records"]
        serials = [record["metering_sn"] for record in records]
        self.pushed.append(serials)
        self.bodies.append(body)
        outcome = self.judge(serials)
        if outcome.kind is Kind.ACCEPTED:
            for record in records:
                assert self.taken.setdefault(record["metering_sn"], str(record)) == str(record)
        self.called.set()
        if self.hang is not None:
            await self.hang.wait()
        await anyio.lowlevel.checkpoint()
        return outcome
