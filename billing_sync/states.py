"""The states of a usage record on its way to the marketplace, and which may follow which. Pure.

HTTP 200 says no more than `sent`: the marketplace validates in the background and reports nothing
at the interface (spec §7.2, rule 1). `collected` is an assumption of ours, `confirmed` its own word.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from billing_sync.errors import WrongState


class State(StrEnum):
    """Where a record stands."""

    PENDING = "pending"  # to be pushed as soon as it is due
    HELD = "held"  # suspicious: until a person decides, or `billing.push_by`
    SENDING = "sending"  # claimed under a lease, or pushed without an answer
    SENT = "sent"  # taken at the interface
    COLLECTED = "collected"  # sent before a collection that is past: assumed to be charged
    CONFIRMED = "confirmed"  # it stands in the marketplace's own list of records
    REJECTED = "rejected"  # a dead letter with the marketplace's words, or withheld by a person
    EXPIRED = "expired"  # older than the marketplace takes: never sent


MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.PENDING: frozenset(
        {State.HELD, State.SENDING, State.EXPIRED, State.SENT, State.CONFIRMED}
    ),
    State.HELD: frozenset({State.PENDING, State.REJECTED, State.EXPIRED, State.SENT}),
    State.SENDING: frozenset(
        {State.PENDING, State.SENT, State.REJECTED, State.EXPIRED, State.CONFIRMED}
    ),
    State.SENT: frozenset({State.COLLECTED, State.CONFIRMED, State.REJECTED}),
    State.COLLECTED: frozenset({State.CONFIRMED, State.REJECTED}),
    State.CONFIRMED: frozenset(),
    State.REJECTED: frozenset({State.PENDING, State.SENT, State.CONFIRMED}),
    State.EXPIRED: frozenset({State.SENT, State.CONFIRMED}),
}
"""What may follow. To `sent` from states that were not pushed: a recovery, whose push log knows
better than the backup."""

UNPUSHED: Final = (State.PENDING, State.HELD, State.SENDING)
TAKEN: Final = (State.SENT, State.COLLECTED, State.CONFIRMED)

# `code` of records that no marketplace refused.
WITHHELD: Final = "withheld"
TOO_OLD: Final = "MKT.9004"  # the code the marketplace has for it (spec §7.3)


class Act(StrEnum):
    """What a person may do with a record."""

    RETRY = "retry"  # the cause is mended: the same record again
    RELEASE = "release"  # it is right: push it
    HOLD = "hold"  # wait for a person, however long
    REJECT = "reject"  # never push it; its usage stays named `withheld`


ACTS: Final[Mapping[Act, tuple[State, State]]] = {
    Act.RETRY: (State.REJECTED, State.PENDING),
    Act.RELEASE: (State.HELD, State.PENDING),
    Act.HOLD: (State.PENDING, State.HELD),
    Act.REJECT: (State.HELD, State.REJECTED),
}


def may_move(before: State, after: State) -> bool:
    """Whether the table has the move."""
    return after in MOVES[before]


def sources(after: State) -> list[State]:
    """The states a record may come from."""
    return [state for state in State if after in MOVES[state]]


def moved_by(act: Act, state: str) -> State:
    """Where the act brings a record. Raises WrongState, which names the act and both states."""
    needed, after = ACTS[act]
    if state != needed:
        raise WrongState(f"it is {state}; {act} is for records that are {needed}")
    return after
