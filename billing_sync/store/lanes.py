"""Lanes as the control plane knows them: their heartbeats, how far the ledger holds them, and giving up.

Giving a lane up names it `lost_lane`. The order, and what a crash after each step leaves:

1. the finding is in SQL          the lane still counts as silent; giving it up again changes nothing
2. its heartbeat is taken out     done: no window waits for it, no metric names it
"""

import json
from typing import Final, NamedTuple

from anyio import to_thread
from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from billing_sync.errors import LaneIsAlive, LaneUnknown
from billing_sync.models import Checkpoint
from billing_sync.store import findings
from billing_sync.store.engine import reading, writing
from metering import heartbeats
from metering.connection import Store
from metering.findings import Finding

SILENT_MS: Final = 120_000  # as long as windows wait for a lane by default


class KnownLane(NamedTuple):
    """A lane that was heard of. Times are UTC ms; `in_ledger` is its last record in the ledger."""

    lane: str
    flushed_through: int
    at: int
    silent: bool
    in_ledger: int


async def known_lanes(
    engine: Engine, redis: Store, now_ms: int, silent_ms: int = SILENT_MS
) -> list[KnownLane]:
    """Every lane that has not said farewell, by its id. Raises MeteringError, SQLAlchemyError."""
    beats = await heartbeats.read(redis)
    reached = await to_thread.run_sync(_reached, engine, sorted(beats))
    return [
        KnownLane(
            lane, beat.flushed_through, beat.at, now_ms - beat.at > silent_ms, reached.get(lane, 0)
        )
        for lane, beat in sorted(beats.items())
    ]


async def forget_lane(
    engine: Engine, redis: Store, lane: str, now_ms: int, silent_ms: int = SILENT_MS
) -> Finding:
    """Give up a lane whose disk is lost; the finding that names it, with its checkpoints.

    Raises LaneIsAlive while it beats, LaneUnknown for one that nobody ever heard of, and
    MeteringError or SQLAlchemyError when a store is away.
    """
    beat = (await heartbeats.read(redis)).get(lane)
    if beat is not None and now_ms - beat.at <= silent_ms:
        ago_s = max(now_ms - beat.at, 0) // 1000
        raise LaneIsAlive(
            f"lane {lane} said something {ago_s} s ago; only one that is silent for longer than "
            f"{silent_ms // 1000} s can be given up"
        )
    finding = await to_thread.run_sync(_name_lost, engine, lane, now_ms, beat is not None)
    await heartbeats.farewell(redis, lane)
    return finding


def _name_lost(engine: Engine, lane: str, now_ms: int, heard: bool) -> Finding:
    with writing(engine) as session:
        held = _checkpoints(session, lane)
        if not held and not heard:
            raise LaneUnknown(
                f"lane {lane} is unknown; `tallygate lanes list` shows those there are"
            )
        detail = json.dumps({"checkpoints": held})
        finding = Finding("lost_lane", lane, "", at=now_ms, detail=detail)
        findings.insert(session, [finding])
        return finding


def _checkpoints(session: Session, lane: str) -> dict[int, int]:
    query = select(Checkpoint.partition, Checkpoint.position).where(Checkpoint.lane == lane)
    return dict(session.exec(query.order_by(col(Checkpoint.partition))).all())


def _reached(engine: Engine, lanes: list[str]) -> dict[str, int]:
    query = (
        select(Checkpoint.lane, func.max(Checkpoint.position))
        .where(col(Checkpoint.lane).in_(lanes))
        .group_by(col(Checkpoint.lane))
    )
    with reading(engine) as session:
        return {lane: int(position) for lane, position in session.exec(query)}
