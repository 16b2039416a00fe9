"""Where faults come from: an order for so many, chance with a seed, a limit, an outage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final
from zlib import crc32

from .errors import BadRequest
from .wire import flag, number, only, text, texts, whole

KINDS: Final[Mapping[str, frozenset[str]]] = {
    "push": frozenset(
        {
            "http_500",
            "http_5xx",
            "timeout_after_accept",
            "throttle",
            "mkt_0999",
            "refuse",
            "reject_rows",
        }
    ),
    "order_query": frozenset({"http_500", "slow", "throttle"}),
    "license": frozenset({"http_500", "timeout_after_accept", "throttle"}),
}
SIDES: Final = tuple(KINDS)
MAX_TIMES: Final = 100_000
_ALWAYS_TAKEN: Final = frozenset({"timeout_after_accept", "reject_rows"})
_MAY_BE_TAKEN: Final = frozenset({"http_500", "http_5xx", "mkt_0999"})
_SERVER_ERRORS: Final = (500, 502, 503, 504)
_TIME_MS: Final = (0, 1 << 53)
_SEEDS: Final = (0, 1 << 53)
_FIELDS: Final = (
    *("kind", "times", "seconds", "status", "code", "retry_after"),
    *("taken", "instances", "share", "seed"),
)


@dataclass
class Fault:
    """`kind` is one of KINDS, or `unreachable`.

    `seconds` is how long a slow or hanging answer takes; `code` replaces the usual error_code, and
    `status` the HTTP status. `taken`: the records are stored all the same (of rejected rows: the
    others). Rows are rejected of these `instances`, and a `share` of the rest: the same rows each
    time, for they are drawn from `seed` and their number.
    """

    kind: str
    times: int = 1
    seconds: float = 30.0
    status: int | None = None
    code: str | None = None
    retry_after: int | None = None
    taken: bool = False
    instances: frozenset[str] = frozenset()
    share: float = 0.0
    seed: int = 0

    def rejects(self, record: Mapping[str, object]) -> bool:
        """Whether this row is one of those it rejects."""
        if record.get("instance_id") in self.instances:
            return True
        names = ("metering_sn", "instance_id", "begin_time", "end_time")
        mark = "|".join(str(record.get(name)) for name in names)
        return crc32(f"{self.seed}|{mark}".encode()) < self.share * 2**32

    def as_json(self) -> dict[str, object]:
        return {"kind": self.kind, "times": self.times}


@dataclass
class Chance:
    """Every call is spoilt with these probabilities by kind; the same seed, the same faults.

    Of the server errors and lost answers a share `taken` comes after the records were stored.
    """

    seed: int
    shares: Mapping[str, float]
    taken: float = 0.5
    retry_after: int = 1
    _dice: Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._dice = Random(self.seed)

    def next(self) -> Fault | None:
        """Always three draws, so that one share does not change when another one strikes."""
        drawn, taken, status = self._dice.random(), self._dice.random(), self._dice.random()
        for kind, share in self.shares.items():
            if drawn < share:
                return Fault(
                    kind,
                    status=_SERVER_ERRORS[int(status * 4)] if kind == "http_5xx" else None,
                    retry_after=self.retry_after,
                    taken=kind in _ALWAYS_TAKEN or (kind in _MAY_BE_TAKEN and taken < self.taken),
                    share=0.01,
                    seed=self.seed,
                )
            drawn -= share
        return None

    def as_json(self) -> dict[str, object]:
        return {"seed": self.seed, **self.shares, "taken": self.taken}


@dataclass
class Limit:
    """So many calls in each second of the simulated clock; the others are throttled."""

    per_second: int
    retry_after: int
    _second: int = -1
    _count: int = 0

    def next(self, now_ms: int) -> Fault | None:
        if now_ms // 1000 != self._second:
            self._second, self._count = now_ms // 1000, 0
        self._count += 1
        if self._count <= self.per_second:
            return None
        return Fault("throttle", code="MKT.0250", retry_after=self.retry_after)

    def as_json(self) -> dict[str, object]:
        return {"per_second": self.per_second, "retry_after": self.retry_after}


@dataclass(frozen=True)
class Outage:
    """Nobody answers from `from_ms` until `to_ms` on the simulated clock; `side` may be `all`."""

    side: str
    from_ms: int
    to_ms: int

    def holds(self, side: str, now_ms: int) -> bool:
        return self.side in ("all", side) and self.from_ms <= now_ms < self.to_ms

    def as_json(self) -> dict[str, object]:
        return {"side": self.side, "from_ms": self.from_ms, "to_ms": self.to_ms}


def read_fault(side: str, item: Mapping[str, object]) -> Fault:
    """Raises BadRequest."""
    only(item, *_FIELDS)
    return Fault(
        kind=_kind(side, text(item, "kind")),
        times=whole(item, "times", 1, (1, MAX_TIMES)),
        seconds=number(item, "seconds", 30, (0, 3600)),
        status=whole(item, "status", 500, (200, 599)) if "status" in item else None,
        code=text(item, "code") if "code" in item else None,
        retry_after=whole(item, "retry_after", 1, (0, 3600)) if "retry_after" in item else None,
        taken=flag(item, "taken", default=item.get("kind") in _ALWAYS_TAKEN),
        instances=frozenset(texts(item, "instances")),
        share=number(item, "share", 0, (0, 1)),
        seed=whole(item, "seed", 0, _SEEDS),
    )


def read_chance(side: str, item: Mapping[str, object]) -> Chance:
    """Raises BadRequest."""
    kinds = [name for name in item if name not in ("seed", "taken", "retry_after")]
    shares = {_kind(side, kind): number(item, kind, 0, (0, 1)) for kind in kinds}
    if sum(shares.values()) > 1:
        raise BadRequest("the shares of one side must not sum up to more than 1")
    return Chance(
        seed=whole(item, "seed", 0, _SEEDS),
        shares=shares,
        taken=number(item, "taken", 0.5, (0, 1)),
        retry_after=whole(item, "retry_after", 1, (0, 3600)),
    )


def read_limit(item: Mapping[str, object]) -> Limit:
    """Raises BadRequest."""
    only(item, "per_second", "retry_after")
    return Limit(
        per_second=whole(item, "per_second", 10, (0, MAX_TIMES)),
        retry_after=whole(item, "retry_after", 1, (0, 3600)),
    )


def read_outage(item: Mapping[str, object]) -> Outage:
    """Raises BadRequest."""
    only(item, "side", "from_ms", "to_ms")
    side = text(item, "side", "all")
    if side not in (*SIDES, "all"):
        raise BadRequest(f"side must be one of {', '.join(SIDES)}, all")
    return Outage(side, whole(item, "from_ms", 0, _TIME_MS), whole(item, "to_ms", 0, _TIME_MS))


def _kind(side: str, kind: str) -> str:
    if kind not in KINDS[side]:
        raise BadRequest(f"kind of {side} must be one of {', '.join(sorted(KINDS[side]))}")
    return kind
