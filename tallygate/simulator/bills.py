"""Bills: what each instance was charged in each cycle, and why (spec §8.2, §8.3). Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from .models import Instance, Product
from .prices import Mode, Price
from .schedule import Schedule
from .sdr import read_sdr
from .stored import StoredRecord


@dataclass
class Bill:
    """One instance in one run of the collection. Quantities in billing units.

    `usage` = `charged` + what packages paid (`deducted`, by package). `amount` is None for a
    product without a price. `late` counts records that belong to an earlier bill.
    """

    instance_id: str
    customer_id: str
    product_id: str
    cycle_start_ms: int
    cycle_end_ms: int
    collected_ms: int
    records: int = 0
    late: int = 0
    usage: Decimal = Decimal(0)
    charged: Decimal = Decimal(0)
    deducted: dict[str, Decimal] = field(default_factory=dict)
    amount: Decimal | None = None

    def as_json(self) -> dict[str, object]:
        deducted = {package: f"{paid:f}" for package, paid in self.deducted.items()}
        amount = None if self.amount is None else f"{self.amount:f}"
        quantities = {"usage": f"{self.usage:f}", "charged": f"{self.charged:f}"}
        return {**self.__dict__, **quantities, "deducted": deducted, "amount": amount}


def bills(
    collected: Iterable[StoredRecord], instances: Mapping[str, Instance], schedule: Schedule
) -> list[Bill]:
    """In the order of collection. Every record is priced by itself: a tier is per single SDR."""
    made: dict[tuple[str, int, str], Bill] = {}
    ladders = _Ladders(schedule)
    for stored in collected:
        sdr = read_sdr(stored.record)
        instance = instances[sdr.instance_id]
        product = instance.product_at(sdr.begin_ms)
        collected_ms = stored.collected_ms or 0
        key = (sdr.instance_id, collected_ms, product.product_id)
        bill = made.get(key)
        if bill is None:
            bill = made[key] = _empty(instance, product, collected_ms, schedule)
        charged = _add(bill, stored, sdr.usage)
        if product.price is not None:
            amount = ladders.amount(product.price, sdr.instance_id, sdr.begin_ms, charged)
            bill.amount = (bill.amount or Decimal(0)) + amount
    return list(made.values())


def _empty(instance: Instance, product: Product, collected_ms: int, schedule: Schedule) -> Bill:
    start_ms, end_ms = schedule.billed(product.cycle, collected_ms)
    return Bill(
        instance_id=instance.instance_id,
        customer_id=instance.customer_id,
        product_id=product.product_id,
        cycle_start_ms=start_ms,
        cycle_end_ms=end_ms,
        collected_ms=collected_ms,
    )


def _add(bill: Bill, stored: StoredRecord, usage: Decimal) -> Decimal:
    """Counts a record into its bill; what of it is charged."""
    bill.records += 1
    bill.late += stored.late
    charged = usage
    for package_id, paid in stored.deducted:
        bill.deducted[package_id] = bill.deducted.get(package_id, Decimal(0)) + paid
        charged -= paid
    bill.usage += usage
    bill.charged += charged
    return charged


class _Ladders:
    """How much each instance has used of its step ladder in each period."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._before: dict[tuple[str, int], Decimal] = {}

    def amount(self, price: Price, instance_id: str, at_ms: int, quantity: Decimal) -> Decimal:
        """What a quantity costs, given what was charged before it in the same period."""
        if price.mode is not Mode.STEP:
            return price.amount(quantity)
        key = (instance_id, self._schedule.period_start(price.period, at_ms))
        before = self._before.get(key, Decimal(0))
        self._before[key] = before + quantity
        return price.amount(quantity, before)
