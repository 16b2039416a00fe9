import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.reconciliation.comparing import Excuse, Row, Verdict, compare
from tallygate.reconciliation.terms import Held, Place, Written

HOUR = 500_000
CALLS = Place(HOUR, "a", "", "requests")
TOKENS = Place(HOUR, "a", "", "tokens_in")
LOST = Excuse(Verdict.UNEXPLAINED, "lane-1", HOUR, HOUR + 1, calls=2)
OTHER = Excuse(Verdict.ELSEWHERE, "lane-2", 0, HOUR)


def judged(
    journal: dict[Place, int], held: dict[Place, int | Held], *excuses: Excuse
) -> dict[Place, Row]:
    """Compared in one partition."""
    rows = compare(
        {place: Written(amount) for place, amount in journal.items()},
        {place: one if isinstance(one, Held) else Held(one) for place, one in held.items()},
        {0: excuses},
        lambda _: 0,
    )
    return {row.place: row for row in rows}


def verdicts(
    journal: dict[Place, int], held: dict[Place, int | Held], *excuses: Excuse
) -> list[Verdict]:
    return [row.verdict for row in judged(journal, held, *excuses).values()]


def test_equal_sums_are_equal() -> None:
    """Whoever might explain a difference: there is none."""
    assert (
        verdicts({CALLS: 3, TOKENS: 9}, {CALLS: 3, TOKENS: 9}, LOST, OTHER) == [Verdict.EQUAL] * 2
    )


@pytest.mark.parametrize("excuses", [(), (LOST,), (OTHER,), (LOST, OTHER)])
def test_a_deficit_differs(excuses: tuple[Excuse, ...]) -> None:
    """No lane can take away what another one has counted."""
    row = judged({CALLS: 3}, {CALLS: 2}, *excuses)[CALLS]
    assert (row.difference, row.verdict, row.lanes) == (-1, Verdict.DIFFERS, ())


def test_a_surplus_without_a_reason_differs() -> None:
    """It is what counting twice looks like."""
    assert verdicts({CALLS: 3}, {CALLS: 4}) == [Verdict.DIFFERS]


def test_lost_records_explain_a_surplus() -> None:
    """And the lane that lost them is named."""
    rows = judged({CALLS: 3, TOKENS: 9}, {CALLS: 5, TOKENS: 99}, LOST)
    assert {row.verdict for row in rows.values()} == {Verdict.UNEXPLAINED}
    assert {row.lanes for row in rows.values()} == {("lane-1",)}


def test_lost_records_explain_no_more_calls_than_they_are() -> None:
    """Two were lost: three calls too many are no loss."""
    assert verdicts({CALLS: 3, TOKENS: 9}, {CALLS: 6, TOKENS: 10}, LOST) == [Verdict.DIFFERS] * 2


def test_without_a_call_too_many_nothing_is_explained() -> None:
    """Every record that used anything counts a call: tokens alone were made up."""
    rows = judged({CALLS: 3, TOKENS: 9}, {CALLS: 3, TOKENS: 10}, LOST, OTHER)
    assert [rows[CALLS].verdict, rows[TOKENS].verdict] == [Verdict.EQUAL, Verdict.DIFFERS]


@pytest.mark.parametrize(("window", "expected"), [(HOUR - 1, "differs"), (HOUR, "unexplained")])
def test_lost_records_explain_their_own_hours(window: int, expected: str) -> None:
    """From the last record that is left until the lane was found dead."""
    assert verdicts({}, {CALLS._replace(window=window): 1}, LOST) == [expected]


def test_another_disk_explains_what_its_lanes_can_have_counted() -> None:
    """However much that is; but not after they were last drained."""
    later = CALLS._replace(window=HOUR + 1)
    assert verdicts({CALLS: 3}, {CALLS: 300, later: 1}, OTHER) == [
        Verdict.ELSEWHERE,
        Verdict.DIFFERS,
    ]


def test_a_lane_with_a_fast_clock_counts_in_hours_to_come() -> None:
    """The ledger has marked that, so it is no reason for alarm."""
    later = CALLS._replace(window=HOUR + 5)
    assert verdicts({}, {later: Held(2, clock=2)}, OTHER) == [Verdict.ELSEWHERE]


def test_excuses_are_those_of_the_partition() -> None:
    """Another one's lanes have nothing to do with it."""
    rows = compare({}, {CALLS: Held(1)}, {1: [OTHER]}, lambda _: 0)
    assert [row.verdict for row in rows] == [Verdict.DIFFERS]


def test_what_is_on_its_way_is_shown_and_not_compared() -> None:
    """It is in no count yet."""
    (row,) = compare({CALLS: Written(2, on_the_way=5)}, {CALLS: Held(2)}, {}, lambda _: 0)
    assert (row.difference, row.on_the_way, row.verdict) == (0, 5, Verdict.EQUAL)


def test_empty_places_are_no_rows() -> None:
    """Rows that were added and taken off again."""
    assert compare({CALLS: Written()}, {TOKENS: Held()}, {}, lambda _: 0) == []


PLACES = st.builds(
    Place,
    st.integers(HOUR, HOUR + 2),
    st.sampled_from("ab"),
    st.sampled_from(["", "i"]),
    st.sampled_from(["requests", "tokens_in"]),
)
AMOUNTS = st.dictionaries(PLACES, st.integers(0, 5))
EXCUSES = st.lists(st.sampled_from([LOST, OTHER]))


@given(AMOUNTS, AMOUNTS, EXCUSES)
def test_no_difference_is_overlooked(
    journal: dict[Place, int], held: dict[Place, int], excuses: list[Excuse]
) -> None:
    """Every difference has a row that says so, and no row without one does."""
    rows = judged(journal, {**held}, *excuses)
    for place in journal.keys() | held.keys():
        difference = held.get(place, 0) - journal.get(place, 0)
        row = rows.get(place)
        assert (row.difference if row else 0) == difference
        assert (row is not None and row.verdict is not Verdict.EQUAL) == bool(difference)
        if difference < 0 or (difference and not excuses):
            assert row is not None
            assert row.verdict is Verdict.DIFFERS
        assert row is None or bool(row.lanes) == (row.verdict in ("unexplained", "elsewhere"))
