"""The marketplace's memory: products, orders, instances, and the usage records as received."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from .bills import Bill
from .errors import BadRequest, NotFound
from .findings import Finding, FindingLog
from .license_book import LicenseBook
from .models import Instance, Item, Kind, Order, OrderLine, Product
from .orders import MOCK_ORDERS
from .stored import StoredRecord
from .usage import Rules, UsageRecords

_DEFAULT: Final = Rules()


class Marketplace:
    """Everything the marketplace knows. Nothing here waits or reads a clock."""

    def __init__(self, rules: Rules = _DEFAULT) -> None:
        self.products: dict[str, Product] = {}
        self.orders: dict[str, Order] = dict(MOCK_ORDERS)
        self.instances: dict[str, Instance] = {}
        self.first_calls: dict[str, int] = {}  # order line -> first newInstance: resource start
        self.findings = FindingLog()
        self.licenses = LicenseBook()
        self.usage = UsageRecords(self.instances, self.findings, rules)
        self._serial = 0

    # Selling...

    def offer(self, products: Iterable[Product]) -> None:
        """Adds products; one that is known already is replaced."""
        self.products.update({product.product_id: product for product in products})

    def new_order_id(self, now_ms: int) -> str:
        """`CS` and digits. The time keeps it new even to a merchant who outlives this process."""
        self._serial += 1
        return f"CS{now_ms}{self._serial:04d}"

    def place(self, order: Order, items: Iterable[Item | tuple[str, int | None]]) -> Order:
        """Takes an order in, with a line for each item. Raises BadRequest."""
        for number, item in enumerate(items, start=1):
            wanted = Item(*item)
            if wanted.product_id not in self.products:
                message = f"product {wanted.product_id!r} is unknown; PUT /_sim/products first"
                raise BadRequest(message)
            line_id = f"{order.order_id}-{number:06d}"
            product = self.products[wanted.product_id]
            order.lines.append(OrderLine(line_id, product, wanted.expires_ms, wanted.linear_value))
        self.orders[order.order_id] = order
        return order

    def follow_up(self, instance: Instance, order_type: str, now_ms: int, item: Item) -> Order:
        """A later order of the same buyer: RENEW or CHANGE. Raises BadRequest."""
        first = self.order(instance.order_id)
        order = Order(
            order_id=self.new_order_id(now_ms),
            order_type=order_type,
            created_ms=now_ms,
            customer_id=first.customer_id,
            customer_name=first.customer_name,
        )
        return self.place(order, [item])

    def order(self, order_id: str) -> Order:
        if order_id not in self.orders:
            raise NotFound(f"order {order_id!r} is unknown; POST /_sim/orders makes one")
        return self.orders[order_id]

    # Instances...

    def first_call(self, order_line_id: str, sent_ms: int) -> None:
        """Remembers the first newInstance of a line: the start of the resource."""
        self.first_calls.setdefault(order_line_id, sent_ms)

    def provision(self, instance: Instance) -> Finding | None:
        """Remembers an instance, once; a finding when its id already belongs to another line."""
        known = self.instances.get(instance.instance_id)
        if known is None:
            self.instances[instance.instance_id] = instance
            if instance.product.kind is Kind.ON_DEMAND_PKG:
                self.usage.packages.add(instance)
        elif known.order_line_id != instance.order_line_id:
            message = f"instanceId already belongs to order line {known.order_line_id}"
            return Finding("instance-id", message, instance.instance_id)
        return None

    def instance(self, instance_id: str) -> Instance:
        if instance_id not in self.instances:
            raise NotFound(f"instance {instance_id!r} is unknown; GET /_sim/instances lists them")
        return self.instances[instance_id]

    def relatable(self, package: Instance) -> frozenset[str]:
        """The pay-per-use instances of the same buyer whose product the package covers."""
        return frozenset(
            other.instance_id
            for other in self.instances.values()
            if other.product.kind is Kind.ON_DEMAND
            and other.customer_id == package.customer_id
            and other.product.product_id in package.product.covers
        )

    # Usage records...

    @property
    def records(self) -> list[StoredRecord]:
        """Everything received, in the order of arrival."""
        return self.usage.records

    def store(self, records: Iterable[Mapping[str, object]], received_ms: int) -> None:
        """As received; nothing is judged at once."""
        self.usage.store(records, received_ms)

    def advance(self, now_ms: int) -> None:
        """Validations and collections due until `now_ms`, each at its own time."""
        self.usage.advance(now_ms)

    def collect(self, now_ms: int | None = None) -> dict[str, object]:
        """Validates and collects everything at once; how many records came to what."""
        return self.usage.collect(now_ms)

    def totals(self) -> dict[str, dict[str, str]]:
        """Usage by instance, as decimals: pushed, collected, refused."""
        return self.usage.totals()

    def collected(self) -> dict[str, Decimal]:
        """Collected billing units by instance; those without any are absent."""
        return self.usage.collected()

    def bills(self) -> list[Bill]:
        """What was charged, by instance and cycle, in the order of collection."""
        return self.usage.bills()
