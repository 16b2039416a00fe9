"""Turns quantities into usage records: values, intervals, ids, and the remainder. Pure.

Division by the product's unit happens here and nowhere else, in integers: a value is a whole
number of ten-thousandths of a billing unit, and what is left over is carried to the next record.
"""

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

SCALE: Final = 10_000  # four decimals (spec §7.1)
MAX_STEPS: Final = 999_999_999_999  # 99,999,999.9999, the largest Double(12,4)
SECOND_MS: Final = 1000
_NAMESPACE: Final = uuid.UUID("5f4d8c6a-0c57-5d0e-9a59-3f1c6a0b7e11")


class Part(NamedTuple):
    """Usage of one instance for the next records. `package_id` is empty for pay-per-use.

    `carry` is the remainder of earlier records, in ten-thousandths of the meter's unit; `waiting`
    are the whole meter units in it that no record's quantity covers yet. A carry below zero was
    pushed already.
    """

    package_id: str
    quantity: int
    carry: int = 0
    waiting: int = 0


class Draft(NamedTuple):
    """A usage record to be: half-open interval in ms, on whole seconds; `value` in billing units."""

    begin: int
    end: int
    package_id: str
    quantity: int
    value: Decimal


class Remainder(NamedTuple):
    """What is left below four decimals: the `carry` and `waiting` of the next part."""

    carry: int
    waiting: int


class Drafts(NamedTuple):
    """The records of some parts and the new remainders per package id."""

    records: list[Draft]
    remainders: dict[str, Remainder]


class _Piece(NamedTuple):
    package_id: str
    quantity: int
    steps: int  # ten-thousandths of a billing unit


def value_of(quantity: int, unit: int) -> Decimal:
    """Billing units of a quantity, rounded down to four decimals: for figures that are shown."""
    return _decimal(quantity * SCALE // unit)


def up_to_second(time_ms: int) -> int:
    """The first whole second at or after the time."""
    return -(-time_ms // SECOND_MS) * SECOND_MS


def down_to_second(time_ms: int) -> int:
    """The last whole second at or before the time."""
    return time_ms // SECOND_MS * SECOND_MS


def metering_sn(instance_id: str, begin: int, end: int) -> str:
    """The record's id: fixed by what the marketplace dedupes on (spec §7.2, rule 5)."""
    return str(uuid.uuid5(_NAMESPACE, f"{instance_id}|{begin}|{end}"))


def draft(parts: Sequence[Part], *, begin: int, end: int, unit: int) -> Drafts | None:
    """Records for the parts, one after the other within [begin, end).

    Values are > 0, have at most four decimals and stay below the platform's maximum; intervals are
    distinct and at least a second long. None when the interval has no room for them.
    """
    shares = [_share(part.quantity * SCALE + part.carry, unit) for part in parts]
    remainders = {
        part.package_id: Remainder(rest, 0 if steps else part.quantity + part.waiting)
        for part, (steps, rest) in zip(parts, shares, strict=True)
    }
    if sum(-(-steps // MAX_STEPS) for steps, _ in shares) > max(end - begin, 0) // SECOND_MS:
        return None
    pieces: list[_Piece] = []
    for part, (steps, _) in zip(parts, shares, strict=True):
        pieces.extend(_pieces(part, steps, unit))
    if not pieces:
        return Drafts([], remainders)
    bounds = _bounds(begin, end, _weights(pieces))
    records = [
        Draft(bounds[i], bounds[i + 1], piece.package_id, piece.quantity, _decimal(piece.steps))
        for i, piece in enumerate(pieces)
    ]
    return Drafts(records, remainders)


def _share(amount: int, unit: int) -> tuple[int, int]:
    """Ten-thousandths of a billing unit, and the remainder: never a value below zero."""
    return divmod(amount, unit) if amount > 0 else (0, amount)


def _pieces(part: Part, steps: int, unit: int) -> list[_Piece]:
    pieces = []
    left = part.quantity + part.waiting
    while steps > MAX_STEPS:
        covered = min(MAX_STEPS * unit // SCALE, left)
        pieces.append(_Piece(part.package_id, covered, MAX_STEPS))
        steps -= MAX_STEPS
        left -= covered
    if steps:
        pieces.append(_Piece(part.package_id, left, steps))
    return pieces


def _weights(pieces: Sequence[_Piece]) -> list[int]:
    """How the interval is shared. A plain record must not lie inside the life of a package that has
    to be named (spec §8.4), so beside named ones it gets all the seconds they can spare."""
    plain = any(not piece.package_id for piece in pieces)
    return [0 if plain and piece.package_id else piece.steps for piece in pieces]


def _bounds(begin: int, end: int, weights: Sequence[int]) -> list[int]:
    """Cut points: a second for each piece, the rest in proportion to the weights."""
    spare = (end - begin) // SECOND_MS - len(weights)
    total = sum(weights)
    bounds = [begin]
    seen = 0
    for number, weight in enumerate(weights, start=1):
        seen += weight
        bounds.append(begin + (number + spare * seen // total) * SECOND_MS)
    bounds[-1] = end
    return bounds


def _decimal(steps: int) -> Decimal:
    return Decimal(steps).scaleb(-4)
