"""Where the records of a window may lie."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.cycles import Span
from billing_sync.records import Part
from billing_sync.room import RELEASE_ROOM_MS, Life, Room, fit, regular_only, room_for
from metering.windows import HOUR_MS

S = 1000
START = 100 * HOUR_MS
CYCLE = Span(START, START + HOUR_MS)


def room(now: int, **after_start: int) -> Room:
    """The cycle's room with all times in ms after its start; what is not given is absent."""
    times = {name: START + time for name, time in after_start.items()}
    life = Life(**({"started": START, "released": 0, "recorded_until": 0} | times))
    found = room_for(life, CYCLE, now_ms=START + now)
    begin, end, late, limit = (time - START for time in found[:4])
    return Room(begin, end, late, limit, found.final)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"now": 9 * HOUR_MS}, (0, HOUR_MS, 0, 9 * HOUR_MS)),
        ({"now": 700_999}, (0, 700_000, 0, 700_000)),
        ({"now": HOUR_MS, "started": 1}, (1 * S, HOUR_MS, 1 * S, HOUR_MS)),
        ({"now": HOUR_MS, "started": -1}, (0, HOUR_MS, 0, HOUR_MS)),
        ({"now": HOUR_MS, "recorded_until": 60 * S}, (60 * S, HOUR_MS, 60 * S, HOUR_MS)),
        (
            {"now": HOUR_MS + 9 * S, "recorded_until": HOUR_MS},
            (HOUR_MS, HOUR_MS, HOUR_MS, HOUR_MS + 9 * S),
        ),
        ({"now": HOUR_MS, "released": 60_999}, (0, 55 * S, 0, 60 * S)),
        ({"now": HOUR_MS, "released": 2 * HOUR_MS}, (0, HOUR_MS - 5 * S, 0, HOUR_MS)),
        ({"now": 5 * HOUR_MS, "released": 2 * HOUR_MS}, (0, HOUR_MS, 0, 2 * HOUR_MS)),
        # booked here although it was released before: the seconds that release left free
        (
            {"now": HOUR_MS, "released": -60 * S, "started": -HOUR_MS},
            (0, -65 * S, -65 * S, -60 * S),
        ),
        (
            {"now": HOUR_MS, "released": -60 * S, "started": -HOUR_MS, "recorded_until": -62 * S},
            (0, -65 * S, -62 * S, -60 * S),
        ),
    ],
)
def test_room(given: dict[str, int], expected: tuple[int, ...]) -> None:
    """Begin, end, first free second for late usage, and the very last end."""
    assert room(**given)[:4] == expected


def test_it_is_final_once_the_release_is_past() -> None:
    """Until then seconds are still being added, by whatever clock the release was told."""
    assert not room(HOUR_MS).final
    assert not room(HOUR_MS, released=HOUR_MS + 1).final
    assert room(HOUR_MS, released=HOUR_MS).final


def parts(*quantities: int) -> list[Part]:
    return [Part(f"p{n}" if n else "", quantity) for n, quantity in enumerate(quantities)]


def intervals(found: Room, *quantities: int) -> list[tuple[int, int]] | None:
    drafts = fit(parts(*quantities), found, 1)
    return drafts and [(draft.begin, draft.end) for draft in drafts.records]


def test_regular_and_late() -> None:
    """The whole room if there is any, else one second for each record."""
    assert intervals(Room(0, 60 * S, 0, 90 * S, final=False), 5) == [(0, 60 * S)]
    assert intervals(Room(60 * S, 60 * S, 60 * S, 90 * S, final=False), 5) == [(60 * S, 61 * S)]
    late = Room(60 * S, 60 * S, 60 * S, 62 * S, final=False)
    assert intervals(late, 5, 6) == [(60 * S, 61 * S), (61 * S, 62 * S)]
    assert intervals(late, 5, 6, 7) is None


def test_many_late_records_take_what_there_is() -> None:
    """A value too large for one record needs more seconds than parts."""
    late = Room(60 * S, 60 * S, 60 * S, 90 * S, final=False)
    found = intervals(late, 250_000_000)
    assert found is not None
    assert (found[0][0], found[-1][1], len(found)) == (60 * S, 90 * S, 3)


def test_a_final_room_leaves_out_what_does_not_fit() -> None:
    """The first parts are kept; nothing waits for seconds that will never come."""
    two = Room(60 * S, 55 * S, 58 * S, 60 * S, final=True)
    drafts = fit(parts(5, 6, 7), two, 1)
    assert drafts is not None
    assert [draft.quantity for draft in drafts.records] == [5, 6]
    assert drafts.remainders.keys() == {"", "p1"}
    assert fit(parts(5), Room(60 * S, 55 * S, 60 * S, 60 * S, final=True), 1) == ([], {})


def test_what_can_wait_takes_no_late_seconds() -> None:
    """The regular interval or none."""
    assert intervals(regular_only(Room(0, 60 * S, 0, 90 * S, final=False)), 5) == [(0, 60 * S)]
    assert intervals(regular_only(Room(60 * S, 60 * S, 60 * S, 90 * S, final=False)), 5) is None


def test_nothing_to_record_needs_no_room() -> None:
    """Neither do quantities too small for a value."""
    none = Room(60 * S, 0, 60 * S, 0, final=False)
    assert fit([], none, 1) == ([], {})
    drafts = fit(parts(5), none, 10**6)
    assert drafts is not None
    assert drafts.records == []


@given(
    st.integers(-2 * HOUR_MS, 2 * HOUR_MS),
    st.integers(-2 * HOUR_MS, 3 * HOUR_MS),
    st.integers(-2 * HOUR_MS, 3 * HOUR_MS) | st.none(),
    st.integers(0, 3 * HOUR_MS),
    st.integers(1, 3),
)
def test_no_record_leaves_the_instances_life(
    started: int, recorded_s: int, released: int | None, now: int, count: int
) -> None:
    """Whatever the times: after the start and the last record, before the release and now."""
    recorded = recorded_s // S * S
    times = {"started": started, "recorded_until": recorded}
    found = room(now, **times, **({} if released is None else {"released": released}))
    for begin, end in intervals(found, *range(1, count + 1)) or []:
        assert max(started, recorded) <= begin < end <= now
        assert released is None or end <= released
    assert RELEASE_ROOM_MS == 5 * S
