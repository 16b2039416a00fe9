"""The marketplace's side of a usage push, as the outbox meets it, and outboxes to meet it with."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
from sqlalchemy import Engine

from billing_sync.koogallery.outcomes import Kind, PushOutcome
from billing_sync.outbox import Outbox, Pusher
from billing_sync.push_log import PushLog
from metering.clock import Clock
from tests.databases import folder_of

ACCEPTED = PushOutcome(Kind.ACCEPTED, "MKT.0000")
Judge = Callable[[list[str]], PushOutcome]


def log_of(engine: Engine) -> PushLog:
    """The push log beside a ledger."""
    return PushLog(folder_of(engine) / "push")


def outbox_of(engine: Engine, pusher: Pusher, clock: Clock, **given: Any) -> Outbox:
    """An outbox with its push log beside the ledger."""
    return Outbox(engine, pusher, clock, log_of(engine), lambda: uuid.uuid4().hex, **given)


class Marketplace:
    """Takes what it is sent; `judge` says what it answers to these serials.

    Where it gives no answer it has taken them all the same. A record that comes again must be the
    same word for word.
    """

    def __init__(self, judge: Judge = lambda _: ACCEPTED) -> None:
        self.judge = judge
        self.pushed: list[list[str]] = []
        self.bodies: list[bytes] = []
        self.taken: dict[str, dict[str, str]] = {}
        self.hang: anyio.Event | None = None
        self.called = anyio.Event()

    async def push(self, body: bytes) -> PushOutcome:
        records = json.loads(body)["usage_records"]
        serials = [record["metering_sn"] for record in records]
        self.pushed.append(serials)
        self.bodies.append(body)
        outcome = self.judge(serials)
        if outcome.kind in (Kind.ACCEPTED, Kind.AMBIGUOUS):
            for record in records:
                assert self.taken.setdefault(record["metering_sn"], record) == record
        self.called.set()
        if self.hang is not None:
            await self.hang.wait()
        await anyio.lowlevel.checkpoint()
        return outcome
