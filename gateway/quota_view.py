"""What a customer is told of what is left to him: packages by item, and limits. Pure.

Figures are billing units as decimal text with four digits, never more than there is; what the
gateways have lent out for calls is not taken off, but said beside it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final, NamedTuple

from gateway.statuses import Standing, standing_of
from metering.catalogue import Catalogue, Product
from metering.entitlement import EntitlementSnapshot
from metering.lending import Balance, Part, account_of

_STEP: Final = Decimal("0.0001")


class LimitNow(NamedTuple):
    """A limit as it stands, in the terms of RateLimit headers: of `limit` in `window_s` seconds, 0 for
    what is open at once, so much is left, and all of it after `reset_s`. `of`: whose; `kind`: of what.
    """

    of: str
    kind: str
    limit: int
    window_s: int
    remaining: int
    reset_s: int


def accounts_of(customer: EntitlementSnapshot, products: Catalogue) -> dict[str, Product]:
    """The billing item of each account that the customer's packages are prepaid for."""
    items: dict[str, Product] = {}
    for instance in customer.instances:
        product = products.get(instance.product_id)
        package = product.package if product is not None else None
        if package is None or not package.stop_before_excess:
            continue
        for each in package.items:
            if each.of in products:
                items[account_of(customer.customer_id, each.of)] = products[each.of]
    return items


def view(
    customer: EntitlementSnapshot,
    products: Catalogue,
    balances: Mapping[str, tuple[Balance, int]],
    limits: Sequence[LimitNow],
    now_ms: int,
) -> dict[str, Any]:
    """The document. `balances`: by account, with what the gateways hold of it for calls."""
    items = accounts_of(customer, products)
    known = [(items[name], *balances[name]) for name in sorted(items) if name in balances]
    return {
        "customer_id": customer.customer_id,
        "at": _time(now_ms),
        "instances": [
            {
                "instance_id": instance.instance_id,
                "product_id": instance.product_id,
                "status": standing_of(instance, now_ms).value,
                "expires": _time(instance.expires),
            }
            for instance in customer.instances
            if standing_of(instance, now_ms) is not Standing.RELEASED
        ],
        "items": [_item(item, balance, held, now_ms) for item, balance, held in known],
        "packages": [
            _package(customer, products, item, part, balance.as_of)
            for item, balance, _ in known
            for part in _valid(balance.parts, now_ms)
        ],
        "limits": [limit._asdict() for limit in limits],
    }


def _valid(parts: Iterable[Part], now_ms: int) -> list[Part]:
    return [part for part in parts if not 0 < part.expires <= now_ms]


def _item(item: Product, balance: Balance, held: int, now_ms: int) -> dict[str, Any]:
    left = sum(max(0, part.left) for part in _valid(balance.parts, now_ms))
    return {
        "item": item.product_id,
        "name": item.name,
        "meter": item.meter,
        "unit": item.unit,
        "remaining": _units(left, item),
        "in_use": _units(min(max(0, held), left), item),
        "as_of": _time(balance.as_of),
    }


def _package(
    customer: EntitlementSnapshot, products: Catalogue, item: Product, part: Part, as_of: int
) -> dict[str, Any]:
    ids = {i.instance_id: i.product_id for i in customer.instances}
    product = products.get(ids.get(part.package_id, ""))
    quota, left = Decimal(_units(part.quota, item)), Decimal(_units(max(0, part.left), item))
    return {
        "package_id": part.package_id,
        "product_id": product.product_id if product is not None else None,
        "name": product.name if product is not None else "",
        "item": item.product_id,
        "quota": str(quota),
        "used": str(quota - left),
        "remaining": str(left),
        "expires": _time(part.expires),
        "as_of": _time(as_of),
    }


def _units(quantity: int, item: Product) -> str:
    return str((Decimal(quantity) / item.unit).quantize(_STEP, ROUND_DOWN))


def _time(at_ms: int) -> str | None:
    if not at_ms:
        return None
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
