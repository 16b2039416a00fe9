"""What one served request used: the words both planes agree on.

Pure. Nothing here reads a clock, a socket or a file.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

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


class Account:
    """What usage is booked to: a customer on a route, and the instances that are charged.

    `charges` may be empty: usage without an instance is still counted for its customer (suspense).

    One object serves all calls of a customer. What writing down each of them takes anew is kept with
    it by those who write (all attributes but three): where there are many customers each further
    object that a call looks at is a wait for memory.
    """

    __slots__ = (
        "booking",
        "charges",
        "customer_id",
        "form",
        "named",
        "names",
        "names_cut",
        "partition",
        "partitions",
        "rest",
        "route",
    )

    def __init__(self, customer_id: str, route: str, charges: tuple[Charge, ...] = ()) -> None:
        self.customer_id = customer_id
        self.route = route
        self.charges = charges
        self.names = b""  # of Board: customer and route
        self.names_cut = 0
        self.partition = self.partitions = 0  # of Journal: which one, of how many
        self.form: Any = (
            None  # of records_on_disk: how the last record was written, and its own names
        )
        self.rest = b""
        self.booking: Any = (
            None  # of Deltas: how the last record's sums were written, and the names
        )
        self.named: tuple[str, ...] = ()

    def uncharged(self) -> "Account":
        """The same without charges."""
        return Account(self.customer_id, self.route) if self.charges else self

    def _key(self) -> tuple[str, str, tuple[Charge, ...]]:
        return self.customer_id, self.route, self.charges

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Account) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Account{self._key()!r}"


class UsageRecord(msgspec.Struct, frozen=True, gc=False):
    """The end of one exchange. Written exactly once; becomes a line of a lane.

    `time_ms` is UTC and never goes back within a lane. `repeat`: the request id was its caller's,
    and a call with it had been counted shortly before; it counts all the same.
    """

    request_id: str
    time_ms: int
    account: Account
    status: int
    outcome: Outcome
    quantities: Mapping[str, Quantity] = msgspec.field(default_factory=dict)
    repeat: bool = False

    @property
    def route(self) -> str:
        """Where it was used."""
        return self.account.route

    @property
    def customer_id(self) -> str:
        """Who used it."""
        return self.account.customer_id

    @property
    def charges(self) -> tuple[Charge, ...]:
        """What it is charged to; may be empty."""
        return self.account.charges
