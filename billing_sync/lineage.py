"""Decides what the drain of a partition must do, from the ids in SQL and in Redis. Pure.

Ids are random and chained by `prev`, so a Redis that lost data, was emptied or set back never
looks like one that moved on. A ledger that was set back is known by what Redis tells of it: an
epoch, or an id that the ledger once had, which it has never seen.

What Redis names was in the ledger before it was in Redis, with one exception: the id of a set-aside
is made in Redis. So a `last` nobody knows is a set-aside that was lost, as long as `committed`, the
newest id the ledger had, is known; and where `committed` is not, the ledger was set back, be it by
one drain. History is kept for some days only; what is older counts as never seen.
"""

from collections.abc import Container, Iterator
from enum import Enum, StrEnum, auto

from metering.protocol import Head


class Step(Enum):
    """What comes next for a partition."""

    SET_ASIDE = auto()  # the lineage is whole and nothing is set aside
    COMMIT = auto()  # a set-aside waits for its SQL transaction
    DROP = auto()  # a set-aside is committed; only its deletion is missing
    RESET = auto()  # Redis does not continue this ledger


class Reason(StrEnum):
    """Why a partition is reset. Only the first one says that it is SQL that stands behind."""

    SET_BACK = "the ledger was set back"
    EMPTY = "Redis was empty"
    LOST_LIVE = "Redis lost what was being counted"
    LOST_ASIDE = "Redis lost a set-aside"
    STALE = "Redis was set back"


def next_step(*, epoch: str, last: str, head: Head) -> Step:
    """`epoch` and `last` are SQL's; `head` is Redis'."""
    if head.epoch != epoch:
        return Step.RESET
    if not head.drain_id:
        return Step.SET_ASIDE if head.last == last else Step.RESET
    if head.drain_epoch != epoch or head.last != head.drain_id:
        return Step.RESET
    if head.drain_id == last:
        return Step.DROP
    return Step.COMMIT if head.drain_prev == last else Step.RESET


def told_by(head: Head) -> Iterator[str]:
    """The ids that Redis can only have from the ledger."""
    return (
        each for each in (head.epoch, head.drain_epoch, head.committed, head.drain_prev) if each
    )


def why(head: Head, *, last: str, known: Container[str]) -> Reason:
    """Why Redis does not continue the ledger; `known` are the ids the ledger ever had."""
    if any(each not in known for each in told_by(head)):
        return Reason.SET_BACK
    if not head.epoch:
        return Reason.LOST_LIVE if head.drain_id else Reason.EMPTY
    if head.last not in known and head.committed == last:
        return Reason.LOST_ASIDE
    return Reason.STALE
