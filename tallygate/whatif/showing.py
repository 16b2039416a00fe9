"""How the comparison of two price plans looks, as text and as JSON; customers are summed up as they pass."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

from tallygate.reconciliation.tables import counted, number, table
from tallygate.whatif.repricing import Line, Revenue

MOST_CUSTOMERS: Final = 20  # shown as text; JSON has every instance
_TITLES: Final = ("records", "units", "in packages", "now", "under the plan", "difference", "")


@dataclass
class Sums:
    """By product, and the customers whose revenue changes most."""

    products: dict[str, Revenue] = field(default_factory=dict)
    customers: int = 0
    most: list[tuple[Decimal, str, Revenue]] = field(default_factory=list)

    def read(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Passes the lines on, which come customer by customer, and adds them up."""
        for customer_id, mine in groupby(lines, key=lambda line: line.buyer.customer_id):
            whole = Revenue()
            for line in mine:
                self.products.setdefault(line.product_id, Revenue()).add(line.revenue)
                whole.add(line.revenue)
                yield line
            self.customers += 1
            self._note(customer_id, whole)

    def _note(self, customer_id: str, whole: Revenue) -> None:
        change = abs(whole.difference) if whole.difference is not None else Decimal(0)
        heapq.heappush(self.most, (change, customer_id, whole))
        if len(self.most) > MOST_CUSTOMERS:
            heapq.heappop(self.most)


def text(sums: Sums) -> Iterator[str]:
    """Revenue by product, and by the customers it changes most for."""
    if not sums.products:
        yield "no usage records of this time"
        return
    rows = [(product_id, *_cells(revenue)) for product_id, revenue in sorted(sums.products.items())]
    yield from table(("product", *_TITLES), rows)
    yield ""
    shown = sorted(sums.most, key=lambda each: (-each[0], each[1]))
    yield f"{counted(sums.customers, 'customer')}; those it changes most for"
    yield from table(("customer", *_TITLES), [(name, *_cells(whole)) for _, name, whole in shown])
    yield ""
    yield (
        "as recorded, before what ordinary packages take off at the marketplace; records of "
        "stop-before-excess packages are prepaid and cost nothing here"
    )


def _cells(revenue: Revenue) -> tuple[str, ...]:
    return (
        number(revenue.records),
        plain(revenue.quantity),
        plain(revenue.prepaid),
        plain(revenue.old),
        plain(revenue.new),
        plain(revenue.difference),
        ", ".join(sorted(revenue.currencies)),
    )


def plain(value: Decimal | None) -> str:
    """A decimal without an exponent and without zeros at its end; a dash for none."""
    if value is None:
        return "-"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def line_json(line: Line) -> dict[str, Any]:
    """One instance and product."""
    return {
        "customer_id": line.buyer.customer_id,
        "instance_id": line.buyer.instance_id,
        "product_id": line.product_id,
        **_revenue_json(line.revenue),
    }


def products_json(sums: Sums) -> list[dict[str, Any]]:
    """The sums by product."""
    return [
        {"product_id": product_id, **_revenue_json(revenue)}
        for product_id, revenue in sorted(sums.products.items())
    ]


def _revenue_json(revenue: Revenue) -> dict[str, Any]:
    return {
        "records": revenue.records,
        "units": plain(revenue.quantity),
        "in_packages": plain(revenue.prepaid),
        "now": _money(revenue.old),
        "plan": _money(revenue.new),
        "difference": _money(revenue.difference),
        "currencies": sorted(revenue.currencies),
    }


def _money(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
