"""What goes wrong in the month, and when, decided by dice. Pure.

Every dependency goes away at least twice, in different ways, whatever the seed.
"""

import random
from enum import StrEnum
from typing import Final, NamedTuple

from metering.windows import HOUR_MS
from tallygate.month.terms import DAY_MS, START_MS, Terms


class Kind(StrEnum):
    """What goes wrong."""

    REDIS_REFUSED = "Redis refuses connections"
    REDIS_UNSURE = "Redis loses commands and replies"
    REDIS_EMPTIED = "Redis is emptied"
    SQL_REFUSED = "the database refuses connections"
    SQL_LOCKED = "another process locks the ledger"
    MARKET_REFUSED = "the marketplace refuses connections"
    MARKET_LOST = "the marketplace takes records and its answers are lost"
    MARKET_BUSY = "the marketplace throttles and fails"
    LANE_KILLED = "a gateway is killed and its lane adopted"
    LANE_CUT = "a gateway is cut off from Redis for longer than the grace"
    DEPLOY = "a gateway is replaced"


class Trouble(NamedTuple):
    """One of them, from when until when; `gateway` is whom it befalls, if one."""

    begin_ms: int
    end_ms: int
    kind: Kind
    gateway: int


# In tenths of an hour, from and to; what is over at once lasts as long as others notice it.
_LASTS: Final = {
    Kind.REDIS_REFUSED: (5, 25),
    Kind.REDIS_UNSURE: (5, 20),
    Kind.REDIS_EMPTIED: (1, 2),
    Kind.SQL_REFUSED: (5, 25),
    Kind.SQL_LOCKED: (5, 9),
    Kind.MARKET_REFUSED: (10, 18),
    Kind.MARKET_LOST: (10, 15),
    Kind.MARKET_BUSY: (10, 15),
    Kind.LANE_KILLED: (6, 14),
    Kind.LANE_CUT: (11, 30),
    Kind.DEPLOY: (1, 2),
}
_TWICE: Final = (Kind.REDIS_EMPTIED, Kind.LANE_KILLED, Kind.LANE_CUT)


def troubles(terms: Terms) -> list[Trouble]:
    """In the order of time: one of each kind and two of some, one after the other."""
    dice = random.Random(f"{terms.seed} troubles")
    kinds = [*Kind, *_TWICE]
    dice.shuffle(kinds)
    first, last = START_MS + 8 * HOUR_MS, terms.end_ms - DAY_MS // 8
    slot = (last - first) // len(kinds)
    return [_placed(dice, first + n * slot, slot, kind, terms) for n, kind in enumerate(kinds)]


def _placed(dice: random.Random, first: int, slot: int, kind: Kind, terms: Terms) -> Trouble:
    least, most = _LASTS[kind]
    lasts = min(dice.randrange(least * HOUR_MS // 10, most * HOUR_MS // 10), slot)
    begin = first + dice.randrange(max(slot - lasts, 1))
    return Trouble(begin, begin + lasts, kind, dice.randrange(terms.gateways))
