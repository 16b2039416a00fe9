"""Which instances a call is charged to. Pure.

What KooGallery's Agents gateway charges itself is counted too, for the instance if there is one to
name, else for an account in its place, so that nobody takes such use for forgotten.
"""

from collections.abc import Iterable

from gateway.standing_errors import REFUSED
from gateway.statuses import STOPPING, Standing, nearest, passes, standing_of
from metering.catalogue import AGENTS_GATEWAY, Product, agents_account
from metering.entitlement import EntitledInstance
from metering.usage import Charge


def charges_of(
    products: Iterable[Product],
    instances: tuple[EntitledInstance, ...],
    *,
    now_ms: int = 0,
    vouched: bool = False,
    beside: bool = False,
) -> tuple[Charge, ...]:
    """One charge for each product of which the customer has an instance that may be used, its first.

    Raises NotEntitled, or the reason why what the customer has of these products is not usable now
    (UTC ms). A product that is frozen or expired refuses the call even beside others: its share would
    go unpaid. Products that the marketplace's own gateway charges count only for callers it vouches
    for, and never refuse. `beside`: the call is charged by such a product already.
    """
    charges: list[Charge] = []
    unusable: set[Standing] = set()
    charged_elsewhere = beside
    for product in products:
        elsewhere = product.charged_by == AGENTS_GATEWAY
        if product.meter is None or (elsewhere and not vouched):
            continue
        charged_elsewhere |= elsewhere
        mine = [
            (i, standing_of(i, now_ms)) for i in instances if i.product_id == product.product_id
        ]
        usable = next((i for i, standing in mine if passes(standing)), None)
        if usable is not None:
            charges.append(Charge(usable.instance_id, product.meter))
        elif not elsewhere:
            unusable.update(_unusable({standing for _, standing in mine}))
    if not charges and not charged_elsewhere:
        raise REFUSED[nearest(unusable)]
    return tuple(charges)


def _unusable(standings: set[Standing]) -> set[Standing]:
    """Why a product cannot be charged. Raises NotEntitled where that stops the call at once."""
    said = nearest(standings)
    if said in STOPPING:
        raise REFUSED[said]
    return standings


def charges_elsewhere(
    products: Iterable[Product],
    customer_id: str,
    instances: tuple[EntitledInstance, ...],
    now_ms: int,
) -> tuple[Charge, ...]:
    """What a call that the Agents gateway proved to be its own is counted for, and not by us charged:
    every product that is not said to be charged by the merchant."""
    return tuple(
        Charge(_counted_for(product, customer_id, instances, now_ms), product.meter)
        for product in products
        if product.meter is not None and product.charged_by != "merchant"
    )


def _counted_for(
    product: Product, customer_id: str, instances: tuple[EntitledInstance, ...], now_ms: int
) -> str:
    """An instance only of a product that the merchant never charges."""
    if product.charged_by == AGENTS_GATEWAY:
        for instance in instances:
            if instance.product_id == product.product_id and passes(standing_of(instance, now_ms)):
                return instance.instance_id
    return agents_account(product.product_id, customer_id)


def until_of(charges: Iterable[Charge], instances: Iterable[EntitledInstance]) -> int:
    """When the first instance of these charges expires, in UTC ms; 0 for never."""
    charged = {charge.instance_id for charge in charges}
    ends = [i.expires for i in instances if i.expires and i.instance_id in charged]
    return min(ends, default=0)
