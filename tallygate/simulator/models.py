"""What the marketplace sells and to whom: products, orders, instances."""

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """The charging modes of order query (spec §7.5)."""

    ON_DEMAND = "ON_DEMAND"
    ON_DEMAND_PKG = "ON_DEMAND_PKG"
    ONE_TIME = "ONE_TIME"
    PERIOD = "PERIOD"


@dataclass(frozen=True)
class Product:
    """One product id; a package `covers` the pay-per-use products its quota is for."""

    product_id: str
    name: str
    kind: Kind
    stop_before_excess: bool = False
    covers: frozenset[str] = frozenset()

    @property
    def metered(self) -> bool:
        """Whether queryInstance must show usage (spec §2.7)."""
        return self.kind in (Kind.ON_DEMAND, Kind.ON_DEMAND_PKG)


@dataclass(frozen=True)
class OrderLine:
    """One line; `expires_ms` is None for what has no end."""

    order_line_id: str
    product: Product
    expires_ms: int | None = None


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
    """What a line became. Times are those of our own callbacks: newInstance and releaseInstance."""

    instance_id: str
    order_id: str
    order_line_id: str
    product: Product
    customer_id: str
    started_ms: int
    closed_ms: int | None = None
    frozen: bool = False

    def held_during(self, begin_ms: int, end_ms: int) -> bool:
        """Whether the buyer held it, usable, for the whole interval."""
        open_then = self.closed_ms is None or end_ms <= self.closed_ms
        return self.started_ms <= begin_ms and open_then and not self.frozen

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
            "frozen": self.frozen,
        }
