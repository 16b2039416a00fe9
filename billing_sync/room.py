"""Decides where the records of an instance's cycle may lie. Pure.

Intervals of one instance never overlap: each begins where the last one ended or later, lies inside
the instance's life and ends no later than now (spec §7.2, rules 3 and 5).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from billing_sync.cycles import Span
from billing_sync.records import SECOND_MS, Drafts, Part, down_to_second, draft, up_to_second

# After a release the platform takes nothing that ends later than its own timestamp. The last
# regular interval stops this much earlier, so that late usage still has seconds to stand in.
RELEASE_ROOM_MS: Final = 5000


class Life(NamedTuple):
    """When an instance (or its use of one product) began and ended, and where its last record
    ends. UTC ms; 0 for none."""

    started: int
    released: int
    recorded_until: int


class Room(NamedTuple):
    """[begin, end) is the regular interval. Late usage takes seconds from `late` on, up to `limit`.

    A `final` room gets no more seconds as time goes by.
    """

    begin: int
    end: int
    late: int
    limit: int
    final: bool


def room_for(life: Life, cycle: Span, *, now_ms: int) -> Room:
    """The room for the next records of a cycle, which need not be over yet."""
    free = max(up_to_second(life.started), life.recorded_until)
    begin = max(cycle.begin, free)
    limit = down_to_second(now_ms)
    if not life.released:
        return Room(begin, min(cycle.end, limit), begin, limit, final=False)
    final = life.released <= now_ms  # the marketplace's clock may be ahead of ours
    limit = min(limit, down_to_second(life.released))
    last_regular = limit - RELEASE_ROOM_MS
    # Usage of a closed window is booked in a later one, which may lie after the release.
    late = begin if begin < limit else max(free, last_regular)
    return Room(begin, min(cycle.end, last_regular), late, limit, final=final)


def regular_only(room: Room) -> Room:
    """The room without its late seconds: for what can as well wait for the next cycle."""
    return room._replace(late=room.limit)


def late_only(room: Room) -> Room:
    """Only the late seconds: for what must leave the regular interval to others."""
    return room._replace(end=room.begin)


def fit(parts: Sequence[Part], room: Room, unit: int) -> Drafts | None:
    """Records for the parts inside the room. None when it has too few seconds as yet.

    In a final room the last parts are left out instead, and then have no remainder in the answer.
    """
    drafts = _fit_all(parts, room, unit)
    kept = len(parts)
    while drafts is None and room.final and kept:
        kept -= 1
        drafts = _fit_all(parts[:kept], room, unit)
    return drafts


def _fit_all(parts: Sequence[Part], room: Room, unit: int) -> Drafts | None:
    drafts = draft(parts, begin=room.begin, end=room.end, unit=unit)
    if drafts is not None:
        return drafts
    for seconds in (len(parts), (room.limit - room.late) // SECOND_MS):
        end = room.late + seconds * SECOND_MS
        if drafts is None and end <= room.limit:
            drafts = draft(parts, begin=room.late, end=end, unit=unit)
    return drafts
