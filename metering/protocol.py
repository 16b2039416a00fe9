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
    """The lineage of a partition in Redis; empty strings where there is nothing."""

    epoch: str
    last: str
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


class Batch(NamedTuple):
    """The deltas of one lane's records after `start` up to `end` in one partition."""

    partition: int
    epoch: str
    lane: str
    start: int
    end: int
    deltas: Mapping[deltas.DeltaKey, int]
