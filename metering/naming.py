"""Names what a lane cannot account for, and sees each name into the ledger."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from metering import findings
from metering.connection import Store
from metering.findings import Finding
from metering.lanes import Gap, LaneFolder, Sealed


class Lane(NamedTuple):
    """Whose findings they are, and when they were made (UTC ms)."""

    lane: str
    host: str
    at: int


def of(lane: LaneFolder, at: int) -> Lane:
    """Raises OSError or msgspec.MsgspecError for a folder that is no lane."""
    return Lane(lane.lane_id, lane.info().host, at)


def uncertain(of_lane: Lane, sealed: Sealed) -> Iterator[Finding]:
    """The requests whose outcome nobody knows. Pure."""
    for request in sealed.open:
        yield Finding(
            "uncertain",
            *of_lane,
            request_id=request.request_id,
            customer_id=request.customer_id,
            route=request.route,
            started=request.started,
        )


def unexplained(of_lane: Lane, sealed: Sealed, checkpoints: Mapping[int, int]) -> Iterator[Finding]:
    """Records that the ledger has counted and the lane lost. Pure."""
    for partition, checkpoint in checkpoints.items():
        if checkpoint > sealed.end:
            yield Finding(
                "unexplained",
                *of_lane,
                partition=partition,
                first=sealed.end + 1,
                last=checkpoint,
            )


def lost(of_lane: Lane, gone: Iterable[Gap], positions: Mapping[int, int]) -> Iterator[Finding]:
    """What the retention took away and a ledger that was set back lacks again. Pure.

    Between `first` and `last` some records of the partition are lost, `last` among them.
    """
    for gap in gone:
        for partition, end in gap.ends.items():
            position = positions.get(partition, 0)
            if position < end:
                yield Finding(
                    "lost_lane",
                    *of_lane,
                    partition=partition,
                    first=max(position + 1, gap.first),
                    last=end,
                )


async def named(store: Store, names: Iterable[Finding]) -> bool:
    """Whether the ledger has them all; those that it has not are said again. Raises MeteringError."""
    by_identity = {name.identity: name for name in names}
    missing = await findings.untaken(store, by_identity)
    await findings.publish(store, [by_identity[each] for each in missing])
    return not missing
