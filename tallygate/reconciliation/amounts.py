"""What single rows of an instance's account say, and the words for what does not tie. Pure."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from billing_sync.store.balancing import Holding, Recorded

_LONGEST_VALUE: Final = 20  # characters; what is longer Decimal would round


class Difference(NamedTuple):
    """What does not tie. Hours [first, last] are 0 where nobody can say; `amount` is what stands too
    much (below zero: too little), in ten-thousandths of the meter's unit."""

    kind: str  # hours, value, recorded, assigned, rule
    instance_id: str
    meter: str
    first: int
    last: int
    amount: int
    metering_sn: str = ""
    text: str = ""


def amount_of(record: Recorded) -> int:
    """What a record says, in ten-thousandths of the meter's unit; 0 for one that says nothing."""
    steps = steps_of(record.value)
    return 0 if steps is None else steps * record.unit


def steps_of(value: str) -> int | None:
    """Ten-thousandths of a billing unit; None for a text that is not a whole number of them."""
    if len(value) > _LONGEST_VALUE:
        return None
    try:
        steps = Decimal(value).scaleb(4)
        return int(steps) if steps == steps.to_integral_value() else None
    except (InvalidOperation, ValueError, OverflowError):
        return None


def meter_of(holding: Holding) -> str:
    """The meter that is billed, or all that were used while nothing is recorded."""
    billed = {each.meter for each in holding.records}
    billed |= {each.meter for each in holding.used if each.recorded}
    return ", ".join(sorted(billed or {each.meter for each in holding.used}))


def carried_by(record: Recorded) -> Sequence[tuple[int, int]]:
    return record.origins or ((record.window, record.quantity),)
