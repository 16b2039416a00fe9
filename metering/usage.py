"""What one served request used: the words both planes agree on.

Pure. Nothing here reads a clock, a socket or a file.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

# The built-in meters and the unit of one step. `tokens_cached` is a part of `tokens_in` and
# `tokens_reasoning` a part of `tokens_out`: kept apart, never added again to a total.
METER_UNITS: Final[Mapping[str, str]] = {
    "requests": "calls",
    "bytes_in": "bytes",
    "bytes_out": "bytes",
    "messages_in": "messages",
    "messages_out": "messages",
    "duration_ms": "milliseconds",
    "tokens_in": "tokens",
    "tokens_out": "tokens",
    "tokens_total": "tokens",
    "tokens_cached": "tokens",
    "tokens_reasoning": "tokens",
    "images": "images",
    "audio_ms": "milliseconds",
    "video_ms": "milliseconds",
    "characters": "characters",
    "input_bytes": "bytes",  # of the text in a request, as KooGallery counts it
}

# A single reading above this is not believed (a broken upstream must not overflow HINCRBY's int64).
MAX_QUANTITY: Final = 10**15


class Grade(StrEnum):
    """How far a quantity can be trusted."""

    EXACT = "exact"  # reported by the upstream, or counted byte by byte
    PARTIAL = "partial"  # the reply was cut; what had been reported until then
    ESTIMATED = "estimated"  # counted by us because the route allows it
    MISSING = "missing"  # expected, but nothing usable was found; its value is 0


class Quantity(NamedTuple):
    """How much of one meter, in the meter's smallest unit."""

    value: int
    grade: Grade = Grade.EXACT


class Outcome(StrEnum):
    """How an exchange ended."""

    COMPLETE = "complete"
    CLIENT_LEFT = "client_left"  # the customer hung up before the reply was whole
    UPSTREAM_CUT = "upstream_cut"  # the upstream broke off inside its reply
    STOPPED = "stopped"  # we ended it: the customer may not go on


class Charge(NamedTuple):
    """One instance that this request is charged to, by one meter."""

    instance_id: str
    meter: str


class UsageRecord(msgspec.Struct, frozen=True, gc=False):
    """The end of one exchange. Written exactly once; becomes a line of a lane.

    `time_ms` is UTC and never goes back within a lane. `charges` may be empty: usage without an
    instance is still counted for its customer (suspense). `repeat`: the request id was its caller's,
    and a call with it had been counted shortly before; it counts all the same.
    """

    request_id: str
    time_ms: int
    route: str
    customer_id: str
    status: int
    outcome: Outcome
    quantities: Mapping[str, Quantity] = msgspec.field(default_factory=dict)
    charges: tuple[Charge, ...] = ()
    repeat: bool = False
