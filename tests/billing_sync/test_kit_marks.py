"""Calls about one person in any order, late and twice, end as in the order of their own times."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from billing_sync.kit_marks import Flag, Marks

CALLS = st.lists(st.tuples(st.sampled_from(Flag), st.integers(1, 6)), max_size=8)


def after(calls: list[tuple[Flag, int]]) -> tuple[Marks, tuple[Flag, int] | None]:
    """The marks, and the call whose data stand."""
    marks, data = Marks(), None
    for flag, at in calls:
        if marks.takes_data(flag, at):
            assert marks.after(flag, at).holds_data
            data = flag, at
        marks = marks.after(flag, at)
        if not marks.holds_data:
            data = None
    return marks, data


def in_order(calls: list[tuple[Flag, int]]) -> tuple[bool, tuple[Flag, int] | None]:
    """Plainly: who was added stays until taken away, and the newest data stand, whoever waits."""
    there, data = False, None
    rank = {Flag.ADD: 0, Flag.MODIFY: 1, Flag.CANCEL: 2, Flag.DELETE: 2}
    for flag, at in sorted(calls, key=lambda call: (call[1], rank[call[0]])):
        if flag.revokes:
            there, data = False, None
        else:
            there, data = there or flag is Flag.ADD, (flag, at)
    return there, data


@given(CALLS, st.randoms(use_true_random=False))
def test_any_order_is_the_order_of_their_times(calls: list[tuple[Flag, int]], dice: object) -> None:
    """Shuffled and each twice."""
    shuffled = calls + calls
    dice.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    marks, data = after(shuffled)
    assert (marks.is_alive(), data) == in_order(calls)


@given(CALLS, st.integers(0, 7))
def test_a_floor_is_a_deletion_of_what_one_belongs_to(
    calls: list[tuple[Flag, int]], floor: int
) -> None:
    """Whoever was added later than that is there again."""
    marks, _ = after(calls)
    deleted, _ = after([*calls, (Flag.DELETE, floor)])
    assert marks.is_alive(floor) == deleted.is_alive()


def test_a_modification_alone_lets_nobody_in() -> None:
    """Its data wait for the addition, whichever comes first."""
    calls = [(Flag.ADD, 1), (Flag.DELETE, 2), (Flag.MODIFY, 4), (Flag.ADD, 3)]
    for order in permutations(calls):
        marks, data = after(list(order))
        assert marks.is_alive()
        assert data == (Flag.MODIFY, 4)
    marks, _ = after(calls[:3])
    assert not marks.is_alive()


def test_one_millisecond() -> None:
    """A deletion outweighs an addition: nobody keeps access by a tie."""
    for order in permutations([(Flag.ADD, 5), (Flag.DELETE, 5)]):
        assert not after(list(order))[0].is_alive()
