"""Who may call a route, and which instances the call is charged to. Pure.

A product charged by the marketplace's own Agents gateway is not for callers with an API key: nobody
would charge such a call, so it neither entitles nor charges them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.brakes import Brakes
from gateway.credentials import TrustedIdentity
from gateway.errors import (
    InstanceFrozen,
    InstanceNotReady,
    InstanceReleased,
    MissingKey,
    NotEntitled,
    Unauthenticated,
)
from gateway.routing import ServedRoute
from gateway.settings import Customer
from metering.catalogue import Product
from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus
from metering.keys import digest, digest_of_sha256, sha256_hex
from metering.usage import Charge

_REMEMBERED_KEYS: Final = 32_768


@dataclass(frozen=True, slots=True)
class Admitted:
    """The verdict on a call that may pass: who makes it and what it is charged to.

    `grounds` is what was known of the customer; None for one nobody has told us of.
    """

    customer_id: str
    customer_name: str
    charges: tuple[Charge, ...]
    grounds: EntitlementSnapshot | None = field(default=None, repr=False, compare=False)
    key_id: str = ""
    brakes: Brakes | None = field(default=None, repr=False, compare=False)


class Directory:
    """All customers a worker knows: the configured ones, and those projected by the control plane.

    A projected customer with the id of a configured one adds its keys and instances to it.
    """

    def __init__(self, pepper: bytes, customers: Iterable[Customer] = ()) -> None:
        """`pepper` keys the digests (metering.keys.pepper). Raises ValueError for a shared key."""
        self._pepper = pepper
        self._configured = {customer.id: _snapshot(pepper, customer) for customer in customers}
        self._customers = dict(self._configured)
        self._owners: dict[str, str] = {}
        self._remembered: dict[bytes, str] = {}
        self.generation = 0  # grows when a key changes hands
        for snapshot in self._configured.values():
            if any(key.digest in self._owners for key in snapshot.keys):
                raise ValueError(f"customer {snapshot.customer_id!r} has another customer's key")
            self._own(snapshot)

    def put(self, snapshot: EntitlementSnapshot) -> None:
        """Take over what the control plane says of a customer, in place of what it said before."""
        self.remove(snapshot.customer_id)
        configured = self._configured.get(snapshot.customer_id)
        if configured is not None:
            snapshot = replace(
                snapshot,
                name=snapshot.name or configured.name,
                keys=configured.keys + snapshot.keys,
                instances=configured.instances + snapshot.instances,
            )
        self._customers[snapshot.customer_id] = snapshot
        self._own(snapshot)

    def remove(self, customer_id: str) -> None:
        """Forget a projected customer; a configured one falls back to its configuration."""
        known = self._customers.pop(customer_id, None)
        for key in known.keys if known is not None else ():
            if self._owners.get(key.digest) == customer_id:
                del self._owners[key.digest]
        self._remembered.clear()
        if customer_id in self._configured:
            self._customers[customer_id] = self._configured[customer_id]
            self._own(self._configured[customer_id])

    def stands(self, admitted: Admitted) -> bool:
        """Whether the grounds of a verdict of this generation are still what is known."""
        grounds = admitted.grounds
        return grounds is not None and self._customers.get(grounds.customer_id) is grounds

    def get(self, customer_id: str) -> EntitlementSnapshot | None:
        """The customer of that id."""
        return self._customers.get(customer_id)

    def by_key(self, key: bytes) -> EntitlementSnapshot | None:
        """The customer an API key belongs to. Only keys that are known are remembered."""
        owner = self._remembered.get(key)
        if owner is None:
            owner = self._owners.get(digest(self._pepper, key))
            if owner is None:
                return None
            if len(self._remembered) >= _REMEMBERED_KEYS:
                self._remembered.clear()
            self._remembered[key] = owner
        return self._customers.get(owner)

    def admitted_everywhere(self, customer: EntitlementSnapshot) -> bool:
        """Whether the merchant declared the customer without naming anything it bought."""
        return not customer.instances and customer.customer_id in self._configured

    def __len__(self) -> int:
        return len(self._customers)

    def _own(self, snapshot: EntitlementSnapshot) -> None:
        others = (self._owners.get(key.digest) for key in snapshot.keys)
        if any(owner not in (None, snapshot.customer_id) for owner in others):
            self.generation += 1
        self._owners.update({key.digest: snapshot.customer_id for key in snapshot.keys})


def admit_key(directory: Directory, route: ServedRoute, key: bytes | None) -> Admitted:
    """The verdict on a caller with an API key. Raises Unauthenticated or NotEntitled."""
    if "api_key" not in route.identity:
        raise Unauthenticated("This path is not called with an API key.")
    if key is None:
        raise MissingKey
    customer = directory.by_key(key)
    if customer is None:
        raise Unauthenticated
    return _admit(directory, route, customer)


def admit_trusted(directory: Directory, route: ServedRoute, who: TrustedIdentity) -> Admitted:
    """The verdict on a customer a trusted peer vouches for. Raises NotEntitled.

    A customer nobody has told us of is counted without an instance (suspense). What the
    marketplace's own gateway charges is admitted without one too, and counted for it if there is one.
    """
    customer = directory.get(who.customer_id)
    if customer is None:
        return Admitted(who.customer_id, who.customer_name, ())
    admitted = _admit(directory, route, customer, vouched=True)
    return replace(admitted, customer_name=who.customer_name or admitted.customer_name)


def _admit(
    directory: Directory,
    route: ServedRoute,
    customer: EntitlementSnapshot,
    *,
    vouched: bool = False,
) -> Admitted:
    if not route.products or directory.admitted_everywhere(customer):
        charges: tuple[Charge, ...] = ()
    else:
        charges = charges_of(route.products, customer.instances, vouched=vouched)
    return Admitted(customer.customer_id, customer.name, charges, customer)


def charges_of(
    products: Iterable[Product], instances: tuple[EntitledInstance, ...], *, vouched: bool = False
) -> tuple[Charge, ...]:
    """One charge for each product of which the customer has an active instance, its first.

    Raises NotEntitled, or the reason why what the customer has of these products is not usable. A
    frozen product refuses the call even beside active ones: its share would go unpaid. Products that
    the marketplace's own gateway charges count only for callers it vouches for, and never refuse.
    """
    charges: list[Charge] = []
    unusable: set[InstanceStatus] = set()
    charged_elsewhere = False
    for product in products:
        elsewhere = product.charged_by != "merchant"
        if product.meter is None or (elsewhere and not vouched):
            continue
        charged_elsewhere |= elsewhere
        mine = [i for i in instances if i.product_id == product.product_id]
        active = next((i for i in mine if i.status is InstanceStatus.ACTIVE), None)
        if active is not None:
            charges.append(Charge(active.instance_id, product.meter))
        elif elsewhere:
            continue
        elif any(i.status is InstanceStatus.FROZEN for i in mine):
            raise InstanceFrozen
        else:
            unusable.update(i.status for i in mine)
    if not charges and not charged_elsewhere:
        raise _refusal(unusable)
    return tuple(charges)


def _refusal(unusable: set[InstanceStatus]) -> NotEntitled:
    if InstanceStatus.CREATING in unusable:
        return InstanceNotReady()
    return InstanceReleased() if unusable else NotEntitled()


def _snapshot(pepper: bytes, customer: Customer) -> EntitlementSnapshot:
    hashes = [sha256_hex(key.get_secret_value()) for key in customer.keys]
    digests = [digest_of_sha256(pepper, each) for each in [*hashes, *customer.key_hashes]]
    return EntitlementSnapshot(
        customer_id=customer.id,
        name=customer.name,
        keys=tuple(EntitledKey(digest[:12], digest) for digest in digests),
        instances=tuple(
            EntitledInstance(instance.id, instance.product, InstanceStatus.ACTIVE)
            for instance in customer.instances
        ),
    )
