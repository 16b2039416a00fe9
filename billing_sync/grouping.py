"""Puts an instance's unrecorded usage together as it will be recorded: by product and cycle. Pure.

One group becomes one record, unless packages, the platform's greatest value, a release or an upgrade
divide it. A product with tier prices depends on that: its price is that of the single record
(spec §8.2).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import NamedTuple

from billing_sync import origins
from billing_sync.cycles import Span, cycle_of
from billing_sync.origins import Origins
from billing_sync.upgrades import Tenure, tenure_of
from metering.catalogue import AGENTS_GATEWAY, Product
from metering.windows import Window, window_of


class Unrecorded(NamedTuple):
    """Usage of one instance, window and meter that no record carries yet, and when it was used."""

    instance_id: str
    window: int
    meter: str
    quantity: int
    origins: Origins


class Group(NamedTuple):
    """Usage of one instance that belongs together: by its product (None for one that is not
    configured, or counts by another meter), in one cycle. Windows ascending; none for a remainder
    alone."""

    tenure: Tenure
    product: Product | None
    cycle: Span
    usage: Sequence[Unrecorded]

    @property
    def quantity(self) -> int:
        """In meter units."""
        return sum(each.quantity for each in self.usage)

    @property
    def window(self) -> int:
        """The window that stands in its records."""
        return self.usage[-1].window if self.usage else window_of(self.cycle.end) - 1


class Terms(NamedTuple):
    """What is configured: products, and the zone of days."""

    catalogue: Mapping[str, Product]
    zone: tzinfo

    def meter_of(self, product_id: str) -> str | None:
        """The meter by which a product is charged, None for one that is not configured."""
        product = self.catalogue.get(product_id)
        return product.meter if product else None


def grouped(usage: Iterable[Unrecorded], held: Sequence[Tenure], terms: Terms) -> list[Group]:
    """The groups in the order in which their intervals follow each other."""
    if len(held) == 1:
        return _by_cycle(usage, held[0], terms)
    mine: dict[Tenure, list[Unrecorded]] = {tenure: [] for tenure in held}
    for each in usage:
        for tenure, part in _divided(each, held, terms.meter_of):
            mine[tenure].append(part)
    return [group for tenure in held for group in _by_cycle(mine[tenure], tenure, terms)]


def _divided(
    usage: Unrecorded, held: Sequence[Tenure], meter_of: Callable[[str], str | None]
) -> Iterable[tuple[Tenure, Unrecorded]]:
    found: dict[Tenure, list[tuple[int, int]]] = {}
    for origin, quantity in usage.origins:
        tenure = tenure_of(held, origin, usage.meter, meter_of)
        found.setdefault(tenure, []).append((origin, quantity))
    for tenure, amounts in found.items():
        quantity = sum(amount for _, amount in amounts)
        yield tenure, usage._replace(quantity=quantity, origins=origins.of(amounts))


def _by_cycle(usage: Iterable[Unrecorded], tenure: Tenure, terms: Terms) -> list[Group]:
    product = terms.catalogue.get(tenure.product_id)
    kind = product.cycle if product else "hour"
    found: dict[tuple[Span, bool], list[Unrecorded]] = {}
    for each in usage:
        cycle = cycle_of(Window(each.window), kind, terms.zone)
        billed = product is not None and _is_billed(product, each.meter)
        found.setdefault((cycle, billed), []).append(each)
    return [
        Group(tenure, product if billed else None, cycle, mine)
        for (cycle, billed), mine in sorted(found.items(), key=lambda item: item[0])
    ]


def _is_billed(product: Product, meter: str) -> bool:
    """Only the product's own meter is. What the marketplace charges itself only needs its name."""
    return product.meter == meter or product.charged_by == AGENTS_GATEWAY
