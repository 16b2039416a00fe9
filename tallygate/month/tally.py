"""The upstream's own count of what it served: the truth that everything else is held against. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from metering.usage import Charge
from metering.windows import window_of


class Place(NamedTuple):
    """What is counted: `instance` is empty for the customer's total."""

    instance: str
    window: int
    customer: str
    meter: str


class Tally:
    """What was served, place by place; what nobody saw the end of is kept by request besides."""

    def __init__(self) -> None:
        self.calls = 0
        self.served: Counter[Place] = Counter()
        self.unseen: dict[str, Counter[Place]] = {}

    def serve(
        self,
        customer: str,
        charges: Iterable[Charge],
        quantities: Mapping[str, int],
        at_ms: int,
        unseen: str = "",
    ) -> None:
        """One call; `unseen` is the id of a request whose gateway dies before it is recorded."""
        window = window_of(at_ms)
        places = Counter({Place("", window, customer, meter): q for meter, q in quantities.items()})
        for charge in charges:
            quantity = quantities.get(charge.meter, 0)
            places[Place(charge.instance_id, window, customer, charge.meter)] += quantity
        self.calls += 1
        self.served.update(places)
        if unseen:
            self.unseen[unseen] = places
