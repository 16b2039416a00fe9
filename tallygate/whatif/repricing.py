"""Prices an instance's usage records twice: as the products cost now, and under another plan. Pure.

A record that names a package is prepaid: it is counted, and priced by neither. Usage from before the
time that is asked for only fills the bands of a period that had begun.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Final, NamedTuple

from billing_sync.pricing import EXACT, ZERO, Running
from billing_sync.records import SCALE
from billing_sync.store.revenue import Buyer, Sold
from metering.catalogue import Catalogue, Price
from tallygate.whatif.plan import Planned

DAY_MS: Final = 86_400_000
LONGEST_PERIOD_MS: Final = 31 * DAY_MS


class Scheme(NamedTuple):
    """What is compared, of records that begin in [from_ms, to_ms). Days and months begin at midnight
    `offset_ms` ahead of UTC."""

    catalogue: Catalogue
    plan: Mapping[str, Planned]
    from_ms: int
    to_ms: int
    offset_ms: int = 0

    def old(self, product_id: str) -> Price | None:
        """The product's price, None where the configuration has none."""
        product = self.catalogue.get(product_id)
        return product.price if product else None

    def new(self, product_id: str) -> Price | None:
        """Its price under the plan."""
        planned = self.plan.get(product_id)
        return planned.price if planned else self.old(product_id)


@dataclass
class Revenue:
    """Of some records: billing units (as recorded), those in packages, and what the others cost.

    None for what has no price, or is in another currency than the rest.
    """

    records: int = 0
    quantity: Decimal = ZERO
    prepaid: Decimal = ZERO
    old: Decimal | None = ZERO
    new: Decimal | None = ZERO
    currencies: set[str] = field(default_factory=set)

    @property
    def difference(self) -> Decimal | None:
        """How much more the plan brings."""
        if self.old is None or self.new is None or len(self.currencies) > 1:
            return None
        with localcontext(EXACT):
            return self.new - self.old

    def add(self, other: "Revenue") -> None:
        """Both together."""
        with localcontext(EXACT):
            self.records += other.records
            self.quantity += other.quantity
            self.prepaid += other.prepaid
            self.old = _sum(self.old, other.old)
            self.new = _sum(self.new, other.new)
        self.currencies |= other.currencies


class Line(NamedTuple):
    """What one instance brings with one product."""

    product_id: str
    buyer: Buyer
    revenue: Revenue


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other


def reprice(buyer: Buyer, made: Iterable[Sold], scheme: Scheme) -> list[Line]:
    """The instance's records, which come in their order, by product."""
    found: dict[str, _Pricing] = {}
    for record in made:
        if record.product_id not in found:
            found[record.product_id] = _Pricing(record.product_id, scheme)
        found[record.product_id].add(record)
    return [
        Line(product_id, buyer, pricing.revenue)
        for product_id, pricing in sorted(found.items())
        if pricing.revenue.records
    ]


class _Pricing:
    """One instance's records of one product."""

    def __init__(self, product_id: str, scheme: Scheme) -> None:
        self.revenue = Revenue()
        self._scheme = scheme
        self._planned = scheme.plan.get(product_id)
        self._old = self._running(scheme.old(product_id))
        self._new = self._running(scheme.new(product_id))
        self._rest = 0  # below four decimals of the plan's unit, in ten-thousandths of the meter's

    def _running(self, price: Price | None) -> Running | None:
        if price is None:
            return None
        self.revenue.currencies.add(price.currency)
        return Running(price, self._scheme.offset_ms)

    def add(self, record: Sold) -> None:
        """The next one."""
        value = Decimal(record.value)
        counted = record.begin >= self._scheme.from_ms
        prepaid = bool(record.package_id)
        one = Revenue(1, ZERO if prepaid else value, value if prepaid else ZERO)
        if not prepaid:
            one.old = self._old.add(record.begin, value) if self._old else None
            other = self._in_other_units(value, record.unit)
            one.new = self._new.add(record.begin, other) if self._new else None
        if counted:
            self.revenue.add(one)

    def _in_other_units(self, value: Decimal, unit: int) -> Decimal:
        """As closing would cut it: to four decimals, what is left over goes to the next record."""
        if self._planned is None or self._planned.unit in (None, unit):
            return value
        amount = int(value.scaleb(4)) * unit + self._rest
        steps, self._rest = divmod(amount, self._planned.unit or unit)
        return Decimal(steps) / SCALE
