"""Decides where the records of an instance's window may lie. Pure.

Intervals of one instance never overlap: each begins where the last one ended or later, lies inside
the instance's life and ends no later than now (spec §7.2, rules 3 and 5).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from billing_sync.models import Instance
from billing_sync.records import SECOND_MS, Drafts, Part, down_to_second, draft, up_to_second
from metering.windows import Window, end_ms, start_ms

# After a release the platform takes nothing that ends later than its own timestamp. The last
# regular interval stops this much earlier, so that late usage still has seconds to stand in.
RELEASE_ROOM_MS: Final = 5000


class Room(NamedTuple):
    """[begin, end) is the regular interval. Late usage takes seconds from `late` on, up to `limit`.

    A `final` room gets no more seconds as time goes by.
    """

    begin: int
    end: int
    late: int
    limit: int
    final: bool


def room_for(instance: Instance, window: Window, *, now_ms: int) -> Room:
    """The room for the next records of a window, which need not be over yet."""
    free = max(up_to_second(instance.started), instance.recorded_until)
    begin = max(start_ms(window), free)
    limit = down_to_second(now_ms)
    if not instance.released:
        return Room(begin, min(end_ms(window), limit), begin, limit, final=False)
    final = instance.released <= now_ms  # the marketplace's clock may be ahead of ours
    limit = min(limit, down_to_second(instance.released))
    last_regular = limit - RELEASE_ROOM_MS
    # Usage of a closed window is booked in a later one, which may lie after the release.
    late = begin if begin < limit else max(free, last_regular)
    return Room(begin, min(end_ms(window), last_regular), late, limit, final=final)


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
    for seconds in (len(parts), (room.limit - room.late) // SECOND_MS):
        end = room.late + seconds * SECOND_MS
        if drafts is None and end <= room.limit:
            drafts = draft(parts, begin=room.late, end=end, unit=unit)
    return drafts
