"""Which customers have a series of their own in the metrics, and what the others come to. Pure.

A customer keeps his series; only once a day do busier ones take the place of others, where there is
no room for all. `other` never goes back when somebody leaves it: it is continued from where it
stood. So every increase is right, also over a day's end.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OTHER = "other"


@dataclass(frozen=True)
class Named:
    """The customers with a series, since which day (of the epoch), and by how much `other` of each
    meter is shown as more than it is."""

    customers: tuple[str, ...] = ()
    day: int = 0
    more: Mapping[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """To be kept."""
        return json.dumps([self.customers, self.day, dict(self.more)])

    @classmethod
    def of(cls, text: str) -> "Named":
        """As it was kept; nobody where nothing was."""
        customers, day, more = json.loads(text) if text else ((), 0, {})
        return cls(tuple(customers), day, more)


def named(before: Named, busiest: Sequence[str], most: int, day: int) -> tuple[str, ...]:
    """Who has a series from now on; `busiest` are so many customers, in order."""
    if day != before.day or len(before.customers) > most:
        kept = [each for each in before.customers if each in set(busiest[:most])]
    else:
        kept = list(before.customers)
    new = [each for each in busiest[:most] if each not in kept]
    return (*kept, *new[: most - len(kept)])


def continued(
    before: Named,
    after: tuple[str, ...],
    used: Mapping[tuple[str, str], int],
    totals: Mapping[str, int],
    day: int,
) -> Named:
    """The same with other customers; `used` by (customer, meter), of both, `totals` of everybody."""
    more = {}
    for meter, total in totals.items():
        was, now = (_rest(total, meter, some, used) for some in (before.customers, after))
        more[meter] = was + before.more.get(meter, 0) - now if before.customers else 0
    return Named(after, day, more)


def others(
    of: Named, used: Mapping[tuple[str, str], int], totals: Mapping[str, int]
) -> dict[str, int]:
    """What is shown of all others, by meter."""
    return {
        meter: _rest(total, meter, of.customers, used) + of.more.get(meter, 0)
        for meter, total in totals.items()
    }


def _rest(
    total: int, meter: str, customers: Sequence[str], used: Mapping[tuple[str, str], int]
) -> int:
    return total - sum(used.get((customer, meter), 0) for customer in customers)
