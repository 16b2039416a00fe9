"""The table of moves: what it allows, what it refuses, and that every row can be reached."""

import pytest

from billing_sync.errors import WrongState
from billing_sync.states import (
    ACTS,
    MOVES,
    TAKEN,
    UNPUSHED,
    Act,
    State,
    may_move,
    moved_by,
    sources,
)


def test_every_state_has_its_row() -> None:
    """And each but the first can be reached from it."""
    assert MOVES.keys() == set(State)
    reached, waiting = {State.PENDING}, [State.PENDING]
    while waiting:
        for after in MOVES[waiting.pop()] - reached:
            reached.add(after)
            waiting.append(after)
    assert reached == set(State)


def test_what_the_marketplace_confirmed_is_final() -> None:
    """Nothing follows, and nothing it took is ever pushed again by itself."""
    assert MOVES[State.CONFIRMED] == frozenset()
    for state in TAKEN:
        assert not MOVES[state] & {*UNPUSHED, State.EXPIRED}


def test_a_held_record_cannot_be_claimed() -> None:
    """It is pending again first."""
    assert not may_move(State.HELD, State.SENDING)
    assert may_move(State.HELD, State.PENDING)


def test_sources_are_the_table_read_backwards() -> None:
    """For each state, whoever may come to it."""
    for after in State:
        assert set(sources(after)) == {s for s in State if may_move(s, after)}


@pytest.mark.parametrize("act", list(Act))
def test_acts(act: Act) -> None:
    """Each from its own state, by a move of the table; from any other it is refused in words."""
    needed, after = ACTS[act]
    assert may_move(needed, after)
    assert moved_by(act, needed.value) is after
    for state in set(State) - {needed}:
        with pytest.raises(WrongState, match=f"it is {state}; {act} is for records that are"):
            moved_by(act, state.value)
