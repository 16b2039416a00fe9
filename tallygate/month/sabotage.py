"""Mistakes made on purpose: each must be found, or the balance proves nothing."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlmodel import col, select

from billing_sync.koogallery.usage_push import serialise
from billing_sync.models import Carry, UsageRecord
from billing_sync.records import SECOND_MS
from billing_sync.store.engine import reading, writing
from tallygate.month.stage import Stage

_SERIAL: Final = str(UUID(int=0))


class Sabotage(StrEnum):
    """What is done wrong."""

    DROP_RECORD = "a gateway forgets a call that was served"
    DOUBLE_PUSH = "a record is pushed again under another number and interval"
    LOSE_CARRY = "a remainder is lost"


async def at_half(stage: Stage, wrong: Collection[Sabotage]) -> None:
    """In the middle of the month."""
    if Sabotage.LOSE_CARRY not in wrong:
        return
    with writing(stage.plane.parts.engine) as session:
        query = select(Carry).where(Carry.quantity > 0).order_by(col(Carry.instance_id))
        carry = session.exec(query.limit(1)).one()
        carry.quantity = 0
        session.add(carry)


async def at_end(stage: Stage, wrong: Collection[Sabotage]) -> None:
    """When everything is pushed and collected."""
    if Sabotage.DOUBLE_PUSH not in wrong:
        return
    with reading(stage.plane.parts.engine) as session:
        query = select(UsageRecord).order_by(col(UsageRecord.begin).desc())
        last = session.exec(query.limit(1)).one()
    again = UsageRecord.model_validate(
        {**last.model_dump(), "metering_sn": _SERIAL, "end": last.end - SECOND_MS}
    )
    await stage.plane.control.runner.outbox.pusher.push(serialise([again]))
