"""Decides what the drain of a partition must do, from the ids in SQL and in Redis. Pure.

Ids are random and chained by `prev`, so a Redis that lost data, was emptied or set back never
looks like one that moved on. See docs/architecture.md, "The pipeline".
"""

from enum import Enum, auto

from metering.protocol import Head


class Step(Enum):
    """What comes next for a partition."""

    SET_ASIDE = auto()  # the lineage is whole and nothing is set aside
    COMMIT = auto()  # a set-aside waits for its SQL transaction
    DROP = auto()  # a set-aside is committed; only its deletion is missing
    RESET = auto()  # Redis does not continue this ledger


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
