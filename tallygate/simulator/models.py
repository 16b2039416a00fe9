"""What the marketplace sells and to whom: products, orders, instances."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from .prices import Price


class Kind(StrEnum):
    """The charging modes of order query (spec §7.5)."""

    ON_DEMAND = "ON_DEMAND"
    ON_DEMAND_PKG = "ON_DEMAND_PKG"
    ONE_TIME = "ONE_TIME"
    PERIOD = "PERIOD"


class Cycle(StrEnum):
    """How often usage is collected into a bill (spec §7.2)."""

    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True)
class Product:
    """One product id.

    A package `covers` the pay-per-use products its quota is for; `quotas` says how much of each, in
    billing units, and what it does not name has no limit. `price` is None for what has none.
    """

    product_id: str
    name: str
    kind: Kind
    stop_before_excess: bool = False
    covers: frozenset[str] = frozenset()
    quotas: Mapping[str, Decimal] = field(default_factory=dict, hash=False)
    cycle: Cycle = Cycle.HOUR
    price: Price | None = None

    @property
    def metered(self) -> bool:
        """Whether queryInstance must show usage (spec §2.7)."""
        return self.kind in (Kind.ON_DEMAND, Kind.ON_DEMAND_PKG)


class Item(NamedTuple):
    """What one line orders; `expires_ms` is None for what has no end."""

    product_id: str
    expires_ms: int | None = None
    linear_value: int | None = None


@dataclass(frozen=True)
class OrderLine:
    """One line. `linear_value` is the quantity the buyer chose, where there is one to choose."""

    order_line_id: str
    product: Product
    expires_ms: int | None = None
    linear_value: int | None = None


@dataclass
class Order:
    """An order; `buyer_shown` is False while order query hides the buyer."""

    order_id: str
    order_type: str
    created_ms: int
    customer_id: str
    customer_name: str
    lines: list[OrderLine] = field(default_factory=list)
    buyer_shown: bool = True


@dataclass
class Instance:
    """What a line became. Times are those of our own callbacks: newInstance and releaseInstance.

    `quantity` multiplies the quotas of a package; `freezes` are the spans it was or is frozen;
    `former` are the products it was before, each with the time it ceased to be.
    """

    instance_id: str
    order_id: str
    order_line_id: str
    product: Product
    customer_id: str
    started_ms: int
    closed_ms: int | None = None
    frozen: bool = False
    expires_ms: int | None = None
    quantity: int = 1
    freezes: list[tuple[int, int | None]] = field(default_factory=list)
    former: list[tuple[int, Product]] = field(default_factory=list)

    @property
    def ends_ms(self) -> int | None:
        """When it was released or expires, whichever comes first."""
        ends = [end for end in (self.closed_ms, self.expires_ms) if end is not None]
        return min(ends, default=None)

    def held_during(self, begin_ms: int, end_ms: int) -> bool:
        """Whether the buyer held it, usable, for the whole interval."""
        open_then = self.ends_ms is None or end_ms <= self.ends_ms
        return self.started_ms <= begin_ms and open_then and not self.frozen

    def touches(self, begin_ms: int, end_ms: int) -> bool:
        """Whether the buyer held it at some moment of the interval, in whole seconds."""
        open_then = self.ends_ms is None or begin_ms < self.ends_ms
        return self.started_ms // 1000 * 1000 <= end_ms and open_then

    def frozen_during(self, begin_ms: int, end_ms: int) -> bool:
        """Whether the whole interval lies in one span of being frozen."""
        return any(
            start <= begin_ms and (end is None or end_ms <= end) for start, end in self.freezes
        )

    def product_at(self, at_ms: int) -> Product:
        """The product it was at this time: an upgrade changes it from there on."""
        return next(
            (product for until_ms, product in self.former if at_ms < until_ms), self.product
        )

    def freeze(self, at_ms: int) -> None:
        """Freezing what is frozen changes nothing."""
        if not self.frozen:
            self.freezes.append((at_ms, None))
        self.frozen = True

    def unfreeze(self, at_ms: int) -> None:
        if self.frozen and self.freezes:
            self.freezes[-1] = (self.freezes[-1][0], at_ms)
        self.frozen = False

    def become(self, line: OrderLine, at_ms: int) -> None:
        """An upgrade: another specification from `at_ms` on; the expiry stays (spec §2.11)."""
        self.former.append((at_ms, self.product))
        self.product = line.product
        self.quantity = line.linear_value or self.quantity

    def as_json(self) -> dict[str, object]:
        return {
            "instance_id": self.instance_id,
            "order_id": self.order_id,
            "order_line_id": self.order_line_id,
            "product_id": self.product.product_id,
            "kind": self.product.kind.value,
            "customer_id": self.customer_id,
            "started_ms": self.started_ms,
            "closed_ms": self.closed_ms,
            "expires_ms": self.expires_ms,
            "quantity": self.quantity,
            "frozen": self.frozen,
        }
