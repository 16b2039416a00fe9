"""The marketplace's memory: products, orders, instances, and the usage records as received."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from .collection import Collection, State
from .errors import BadRequest, NotFound
from .findings import Finding, FindingLog
from .models import Instance, Kind, Order, OrderLine, Product
from .orders import MOCK_ORDERS
from .sdr import Refused, read_usage

MAX_RECORDS: Final = 500_000
_Identity = tuple[object, ...]


@dataclass
class StoredRecord:
    """One usage record as it came, and what the background validation made of it."""

    record: Mapping[str, object]
    received_ms: int
    state: State = State.PENDING
    reason: str = ""

    @property
    def identity(self) -> _Identity:
        """Equal for a record sent twice; the time of sending is no part of it."""
        members = sorted((name, str(value)) for name, value in self.record.items())
        return tuple(member for member in members if member[0] != "record_time")

    @property
    def usage(self) -> Decimal:
        """0 when the value cannot be read."""
        try:
            return read_usage(self.record.get("usage_value"))
        except Refused:
            return Decimal(0)

    def as_json(self) -> dict[str, object]:
        state = {"state": self.state.value, "reason": self.reason}
        return {**self.record, **state, "received_ms": self.received_ms}


@dataclass
class _Total:
    """Usage of one instance; each distinct record counts once."""

    pushed: dict[_Identity, Decimal] = field(default_factory=dict)
    collected: dict[_Identity, Decimal] = field(default_factory=dict)
    refused: dict[_Identity, Decimal] = field(default_factory=dict)

    def add(self, stored: StoredRecord) -> None:
        self.pushed[stored.identity] = stored.usage
        if stored.state is State.COLLECTED:
            self.collected[stored.identity] = stored.usage
        elif stored.state in (State.REFUSED, State.DUPLICATE):
            self.refused[stored.identity] = stored.usage

    def as_json(self) -> dict[str, str]:
        """A record that was refused first and collected when it came again is collected."""
        refused = {key: self.refused[key] for key in self.refused.keys() - self.collected.keys()}
        return {
            "pushed": _sum(self.pushed),
            "collected": _sum(self.collected),
            "refused": _sum(refused),
        }


def _sum(usages: Mapping[_Identity, Decimal]) -> str:
    return f"{sum(usages.values(), Decimal(0)):f}"


class Marketplace:
    """Everything the marketplace knows. Nothing here waits or reads a clock."""

    def __init__(self) -> None:
        self.products: dict[str, Product] = {}
        self.orders: dict[str, Order] = dict(MOCK_ORDERS)
        self.instances: dict[str, Instance] = {}
        self.first_calls: dict[str, int] = {}  # order line -> first newInstance: resource start
        self.records: list[StoredRecord] = []
        self.findings = FindingLog()
        self._collection = Collection()
        self._judged = 0  # records before this index have been through collection
        self._serial = 0

    # Selling...

    def offer(self, products: Iterable[Product]) -> None:
        """Adds products; one that is known already is replaced."""
        self.products.update({product.product_id: product for product in products})

    def new_order_id(self, now_ms: int) -> str:
        """`CS` and digits. The time keeps it new even to a merchant who outlives this process."""
        self._serial += 1
        return f"CS{now_ms}{self._serial:04d}"

    def place(self, order: Order, items: Iterable[tuple[str, int | None]]) -> Order:
        """Takes an order in; items are (product id, expiry in ms or None). Raises BadRequest."""
        for number, (product_id, expires_ms) in enumerate(items, start=1):
            if product_id not in self.products:
                raise BadRequest(f"product {product_id!r} is unknown; PUT /_sim/products first")
            line_id = f"{order.order_id}-{number:06d}"
            order.lines.append(OrderLine(line_id, self.products[product_id], expires_ms))
        self.orders[order.order_id] = order
        return order

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
        known = self.instances.setdefault(instance.instance_id, instance)
        if known.order_line_id != instance.order_line_id:
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

    def store(self, records: Iterable[Mapping[str, object]], received_ms: int) -> None:
        """As received; nothing is judged before `collect`."""
        self.records.extend(StoredRecord(record, received_ms) for record in records)

    def collect(self) -> dict[str, object]:
        """Background validation of everything still pending, in the order of arrival."""
        before = self.findings.total
        counts = dict.fromkeys((state.value for state in State if state is not State.PENDING), 0)
        for stored in self.records[self._judged :]:
            judgement = self._collection.judge(stored.record, stored.received_ms, self.instances)
            stored.state, stored.reason = judgement.state, judgement.reason
            self.findings.add(*judgement.findings)
            counts[judgement.state.value] += 1
        self._judged = len(self.records)
        return {**counts, "findings": self.findings.total - before}

    def totals(self) -> dict[str, dict[str, str]]:
        """Usage by instance, as decimals: pushed, collected, refused."""
        totals: dict[str, _Total] = {}
        for stored in self.records:
            totals.setdefault(str(stored.record.get("instance_id")), _Total()).add(stored)
        return {instance_id: total.as_json() for instance_id, total in totals.items()}
