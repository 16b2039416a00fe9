"""What is said between a lane, the counters in Redis and the ledger. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from metering import deltas


class ApplyReply(NamedTuple):
    """The answer to `apply`: where the partition stands for this lane."""

    status: Literal["ok", "gap", "epoch"]
    epoch: str
    position: int
    checkpoint: int


class Head(NamedTuple):
    """The lineage of a partition in Redis; empty strings where there is nothing.

    `last` is the id that the next drain follows; `committed` the newest one the ledger had, as far
    as Redis was told. They differ while the set-aside `last` is on its way into the ledger.
    """

    epoch: str
    last: str
    committed: str
    dirty: bool
    drain_id: str
    drain_prev: str
    drain_epoch: str


@dataclass(frozen=True, slots=True)
class Content:
    """One hash of a partition, decoded."""

    epoch: str
    last: str
    id: str
    positions: Mapping[str, int]
    deltas: Mapping[deltas.DeltaKey, int]
    committed: str = ""


def head_of(live: Content | None, drain: Content | None) -> Head:
    """The lineage of a partition whose content is at hand."""
    epoch, last, committed = (live.epoch, live.last, live.committed) if live else ("", "", "")
    aside = (drain.id, drain.last, drain.epoch) if drain else ("", "", "")
    return Head(epoch, last, committed, bool(live and live.deltas), *aside)


class Batch(NamedTuple):
    """The deltas of one lane's records after `start` up to `end` in one partition."""

    partition: int
    epoch: str
    lane: str
    start: int
    end: int
    deltas: Mapping[deltas.DeltaKey, int]
