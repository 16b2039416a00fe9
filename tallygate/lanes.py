"""What `tallygate lanes` does: lists lanes, adopts those without an owner, gives lost ones up."""

import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import anyio
import click
from anyio import to_thread
from msgspec import MsgspecError

from metering import heartbeats
from metering.adoption import Adopter
from metering.clock import SystemClock
from metering.connection import Store
from metering.errors import MeteringError
from metering.heartbeats import Heartbeat
from metering.lanes import UNFINISHED, LaneFolder, State, lanes_in, unreadable_in
from metering.replaying import replay_living
from tallygate.installation import Installation
from tallygate.stopping import told_to_stop

_PATIENCE_S: Final = 20.0
_HELPER_PATIENCE_S: Final = 10.0


class NoSuchLane(Exception):
    """The folder is no lane, or the lane is unknown here."""


@dataclass(frozen=True)
class Row:
    """One lane as it is listed. Times are UTC ms, 0 where nobody knows."""

    lane: str
    host: str
    state: str  # as State says; elsewhere when it is not on this disk
    records: int
    made_at: int
    heard_at: int


def rows(found: list[LaneFolder], heard: Mapping[str, Heartbeat]) -> list[Row]:
    """The lanes on this disk in the order of their making, then those heard of elsewhere."""
    here = [_row(lane, heard) for lane in found]
    known = {row.lane for row in here}
    others = [
        Row(lane, "", "elsewhere", 0, 0, beat.at)
        for lane, beat in sorted(heard.items())
        if lane not in known
    ]
    return [*here, *others]


def _row(lane: LaneFolder, heard: Mapping[str, Heartbeat]) -> Row:
    beat = heard.get(lane.lane_id)
    heard_at = beat.at if beat else 0
    try:
        info = lane.info()
    except (OSError, MsgspecError):
        return Row(lane.lane_id, "", State.UNREADABLE, 0, 0, heard_at)
    records = lane.totals().records
    return Row(lane.lane_id, info.host, lane.state(), records, info.made_at, heard_at)


async def run_list(installation: Installation, *, as_json: bool) -> None:
    """Print the lanes. Redis may be away: then nobody is heard of."""
    heard: Mapping[str, Heartbeat] = {}
    async with _redis(installation) as redis:
        try:
            heard = await heartbeats.read(redis)
        except MeteringError as reason:
            click.echo(f"heartbeats are not shown: {reason}", err=True)
    journal = installation.journal_dir
    found = dict.fromkeys([*lanes_in(journal), *unreadable_in(journal)])
    listed = rows(list(found), heard)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in listed]))
        return
    now_ms = SystemClock().now_ms()
    click.echo(f"{'lane':<32}  {'state':<10}  {'records':>9}  {'last heard':>12}  host")
    for row in listed:
        ago = f"{(now_ms - row.heard_at) / 1000:.0f} s ago" if row.heard_at else "-"
        click.echo(f"{row.lane:<32}  {row.state:<10}  {row.records:>9}  {ago:>12}  {row.host}")


async def run_adopt(installation: Installation, path: Path | None, *, again: bool) -> None:
    """Adopt until the ledger holds all of it. Raises ClickException for what still waits."""
    if path is not None:
        await to_thread.run_sync(take_in, installation, path)
    async with _adopter(installation) as adopter:
        waiting = await adopter.run(patience_s=_PATIENCE_S, again=again)
    click.echo(f"{adopter.adopted} lanes adopted: the ledger holds all of them")
    if waiting:
        raise click.ClickException(
            f"{len(waiting)} lanes wait for Redis or for the control plane to take them over; "
            "adopting goes on by itself while a gateway runs"
        )
    if adopter.unreadable:
        raise click.ClickException(
            f"cannot be read: {', '.join(sorted(adopter.unreadable))}; "
            f"look at {installation.journal_dir}"
        )


async def run_help(installation: Installation, owner: int, *, again: bool) -> None:
    """The helper of a worker, for as long as the supervisor lives: the same without a word.

    Raises Exit while something is left to do: the worker asks for it again.
    """
    left = True
    async with _while_owned(owner), _adopter(installation) as adopter:
        left = bool(await adopter.run(patience_s=_HELPER_PATIENCE_S, again=again))
    if left:
        raise click.exceptions.Exit(1)


@asynccontextmanager
async def _adopter(installation: Installation) -> AsyncIterator[Adopter]:
    async with _redis(installation) as redis:
        partitions = installation.config.partitions
        yield Adopter(installation.journal_dir, redis, partitions, SystemClock())


@asynccontextmanager
async def _while_owned(owner: int | None) -> AsyncIterator[None]:
    """Told to stop, or left alone, the block is cancelled: what it leaves is found again."""
    async with told_to_stop(owner) as stop, anyio.create_task_group() as group:

        async def end() -> None:
            await stop.told.wait()
            group.cancel_scope.cancel()

        group.start_soon(end)
        yield
        group.cancel_scope.cancel()


def take_in(installation: Installation, path: Path) -> None:
    """Copy a lane from another disk into this data_dir. Raises NoSuchLane and OSError."""
    lane = LaneFolder(path.resolve())
    try:
        info = lane.info()
    except (OSError, MsgspecError):
        raise NoSuchLane(f"{path} is no lane: it has no lane.json") from None
    if info.partitions != installation.config.partitions:
        raise NoSuchLane(
            f"{path} was written with partitions: {info.partitions}, "
            f"here are {installation.config.partitions}"
        )
    journal = installation.journal_dir
    target = journal / info.lane
    if lane.path == target.resolve():
        return
    if target.exists():
        raise NoSuchLane(f"{target} is here already; `tallygate lanes adopt` looks after it")
    draft = journal / f"{UNFINISHED}{info.lane}"
    shutil.copytree(lane.path, draft, dirs_exist_ok=True)
    os.sync()  # before the name makes a lane of it
    draft.rename(target)


async def run_forget(installation: Installation, lane: str) -> None:
    """Name the lane lost. Raises LaneIsAlive while it beats, NoSuchLane for one that is here."""
    from billing_sync.store.lanes import forget_lane  # noqa: PLC0415  (SQL, for this one alone)
    from tallygate.control_plane import parts_of  # noqa: PLC0415

    if (installation.journal_dir / lane).exists():
        raise NoSuchLane(
            f"lane {lane} is on this disk: `tallygate lanes adopt` counts what it holds"
        )
    async with parts_of(installation) as parts:
        finding = await forget_lane(parts.engine, parts.redis, lane, parts.clock.now_ms())
    click.echo(f"lane {lane} is given up and named {finding.kind}")


async def run_replay(installation: Installation, lane_id: str, owner: int | None) -> None:
    """The helper of a worker that fell behind. Raises MeteringError when Redis is away, and Exit
    while something is left to do."""
    lane, done = LaneFolder(installation.journal_dir / lane_id), False
    async with _while_owned(owner), _redis(installation) as redis:
        now_ms = SystemClock().now_ms()
        done = await replay_living(lane, redis, installation.config.partitions, now_ms)
    if not done:
        raise click.exceptions.Exit(1)


@asynccontextmanager
async def _redis(installation: Installation) -> AsyncIterator[Store]:
    redis = installation.redis()
    try:
        yield redis
    finally:
        with anyio.CancelScope(shield=True):
            await redis.aclose()
