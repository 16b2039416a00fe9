"""Who may call a route, and which instances the call is charged to. Pure.

A product charged by the marketplace's own Agents gateway is not for callers with an API key: nobody
would charge such a call, so it neither entitles nor charges them. Calls that this gateway proves to be
its own are charged by it, unless a product says that the merchant does.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from gateway.admitted import Admitted
from gateway.charging import charges_elsewhere, charges_of, until_of
from gateway.credentials import TrustedIdentity
from gateway.errors import (
    EntitlementsStale,
    KeyExpired,
    KeyNotForRoute,
    MissingKey,
    Unauthenticated,
)
from gateway.routing import ServedRoute
from gateway.settings import Customer, StaticKey
from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus
from metering.keys import digest, digest_of_sha256, static_key_id
from metering.usage import Account, Charge

_REMEMBERED_KEYS: Final = 32_768


class KnownKey(NamedTuple):
    """An API key, and whose it is."""

    customer: EntitlementSnapshot
    key: EntitledKey


class Directory:
    """All customers a worker knows: the configured ones, and those projected by the control plane.

    A projected customer with the id of a configured one adds its keys and instances to it. `used`
    holds the ids of the keys that calls were admitted with; whoever takes them leaves a new set.
    """

    def __init__(self, pepper: bytes, customers: Iterable[Customer] = ()) -> None:
        """`pepper` keys the digests (metering.keys.pepper). Raises ValueError for a shared key."""
        self._pepper = pepper
        self._configured = {customer.id: _snapshot(pepper, customer) for customer in customers}
        self._customers = dict(self._configured)
        self._keys: dict[str, KnownKey] = {}  # by digest
        self._remembered: dict[bytes, KnownKey] = {}
        self.generation = 0  # grows when a key changes hands
        self.complete = True  # whether who is not in it is nobody
        self.used: set[str] = set()
        self.turn = 0  # grows with each change, and when `used` is taken
        for snapshot in self._configured.values():
            if any(key.digest in self._keys for key in snapshot.keys):
                raise ValueError(f"customer {snapshot.customer_id!r} has another customer's key")
            self._own(snapshot)

    def put(self, snapshot: EntitlementSnapshot) -> None:
        """Take over what the control plane says of a customer, in place of what it said before."""
        self.turn += 1
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
        self.turn += 1
        known = self._customers.pop(customer_id, None)
        for key in known.keys if known is not None else ():
            holder = self._keys.get(key.digest)
            if holder is not None and holder.customer.customer_id == customer_id:
                del self._keys[key.digest]
        self._remembered.clear()
        if customer_id in self._configured:
            self._customers[customer_id] = self._configured[customer_id]
            self._own(self._configured[customer_id])

    def stands(self, admitted: Admitted) -> bool:
        """Whether the grounds of a verdict of this generation are still what is known."""
        grounds = admitted.grounds
        return grounds is not None and self._customers.get(grounds.customer_id) is grounds

    def uses(self, admitted: Admitted) -> bool:
        """Whether a verdict that is remembered still stands; then its key is used.

        As long as `turn` stays as it is there is nothing to look at.
        """
        if admitted.generation != self.generation or not self.stands(admitted):
            return False
        self.used.add(admitted.key_id)
        admitted.turn = self.turn
        return True

    def get(self, customer_id: str) -> EntitlementSnapshot | None:
        """The customer of that id."""
        return self._customers.get(customer_id)

    def by_key(self, key: bytes) -> KnownKey | None:
        """Whose API key it is, expired or not.

        An unknown key costs one digest and one look-up, whatever it is like; only keys that are
        known are remembered.
        """
        found = self._remembered.get(key)
        if found is None:
            found = self._keys.get(digest(self._pepper, key))
            if found is None:
                return None
            if len(self._remembered) >= _REMEMBERED_KEYS:
                self._remembered.clear()
            self._remembered[key] = found
        return found

    def take_used(self) -> set[str]:
        """The keys used since the last time."""
        self.turn += 1
        used, self.used = self.used, set()
        return used

    def admitted_everywhere(self, customer: EntitlementSnapshot) -> bool:
        """Whether the merchant declared the customer without naming anything it bought."""
        return not customer.instances and customer.customer_id in self._configured

    def __len__(self) -> int:
        return len(self._customers)

    def _own(self, snapshot: EntitlementSnapshot) -> None:
        holders = (self._keys.get(key.digest) for key in snapshot.keys)
        if any(h and h.customer.customer_id != snapshot.customer_id for h in holders):
            self.generation += 1
        self._keys.update({key.digest: KnownKey(snapshot, key) for key in snapshot.keys})


def holder_of(directory: Directory, key: bytes | None, now_ms: int) -> KnownKey:
    """Whose API key it is. Raises MissingKey, Unauthenticated or KeyExpired.

    EntitlementsStale where a key is not known because not everybody is yet.
    """
    if key is None:
        raise MissingKey
    known = directory.by_key(key)
    if known is None:
        raise Unauthenticated if directory.complete else EntitlementsStale
    if 0 < known.key.expires <= now_ms:
        raise KeyExpired
    return known


def admit_key(directory: Directory, route: ServedRoute, key: bytes | None, now_ms: int) -> Admitted:
    """The verdict on a caller with an API key. Raises Unauthenticated or NotEntitled."""
    if "api_key" not in route.identity:
        raise Unauthenticated(
            "This path is not called with an API key.", "此路径不支持使用 API Key 调用。"
        )
    customer, known = holder_of(directory, key, now_ms)
    admitted = _admit(directory, route, customer, now_ms, known)
    directory.used.add(known.key_id)
    return admitted


def admit_trusted(
    directory: Directory, route: ServedRoute, who: TrustedIdentity, now_ms: int
) -> Admitted:
    """The verdict on a customer a trusted peer vouches for. Raises NotEntitled.

    A customer nobody has told us of is counted without an instance (suspense). What the
    marketplace's own gateway charges is admitted without one too, and counted for it if there is one.
    """
    customer = directory.get(who.customer_id)
    if customer is None:
        return Admitted(Account(who.customer_id, route.name), who.customer_name)
    admitted = _admit(directory, route, customer, now_ms)
    return replace(admitted, customer_name=who.customer_name or admitted.customer_name)


def admit_proved(
    directory: Directory,
    route: ServedRoute,
    who: TrustedIdentity,
    now_ms: int,
    *,
    until_ms: int = 0,
) -> Admitted:
    """The verdict on a customer for whom the Agents gateway calls. Raises NotEntitled.

    `until_ms`: when the gateway's proof ends, 0 for never. Nothing need be bought here for what the
    gateway charges.
    """
    customer = directory.get(who.customer_id)
    instances = customer.instances if customer is not None else ()
    charges = charges_elsewhere(route.products, who.customer_id, instances, now_ms)
    if customer is None:
        account = Account(who.customer_id, route.name, charges)
        return Admitted(account, who.customer_name, until_ms=until_ms, proved=True)
    ours = [product for product in route.products if product.charged_by == "merchant"]
    if (ours or (route.products and not charges)) and not directory.admitted_everywhere(customer):
        charges += charges_of(ours, instances, now_ms=now_ms, beside=bool(charges))
    ends = [end for end in (until_ms, until_of(charges, instances)) if end]
    name = who.customer_name or customer.name
    until_ms = min(ends, default=0)
    account = Account(who.customer_id, route.name, charges)
    return Admitted(account, name, customer, until_ms=until_ms, proved=True)


def admit_again(
    directory: Directory, route: ServedRoute, admitted: Admitted, now_ms: int
) -> Admitted:
    """The verdict on the same caller as things stand now. Raises Unauthenticated or NotEntitled."""
    customer = directory.get(admitted.customer_id)
    if not admitted.key_id:
        who = TrustedIdentity(admitted.customer_id, admitted.customer_name, None)
        admit = admit_proved if admitted.proved else admit_trusted
        return admit(directory, route, who, now_ms)
    keys = customer.keys if customer is not None else ()
    key = next((each for each in keys if each.key_id == admitted.key_id), None)
    if customer is None or key is None:
        raise Unauthenticated
    if 0 < key.expires <= now_ms:
        raise KeyExpired
    return _admit(directory, route, customer, now_ms, key)


def _admit(
    directory: Directory,
    route: ServedRoute,
    customer: EntitlementSnapshot,
    now_ms: int,
    key: EntitledKey | None = None,
) -> Admitted:
    """Without a key a trusted peer vouches for the customer."""
    if key is not None and key.routes and route.name not in key.routes:
        raise KeyNotForRoute
    charges: tuple[Charge, ...] = ()
    if route.products and not directory.admitted_everywhere(customer):
        charges = charges_of(route.products, customer.instances, now_ms=now_ms, vouched=key is None)
    key_id, key_until_ms = ("", 0) if key is None else (key.key_id, key.expires)
    ends = [end for end in (key_until_ms, until_of(charges, customer.instances)) if end]
    until_ms = min(ends, default=0)
    account = Account(customer.customer_id, route.name, charges)
    return Admitted(account, customer.name, customer, key_id, until_ms)


def _snapshot(pepper: bytes, customer: Customer) -> EntitlementSnapshot:
    return EntitlementSnapshot(
        customer_id=customer.id,
        name=customer.name,
        keys=tuple(_entitled(pepper, key) for key in customer.declared_keys()),
        instances=tuple(
            EntitledInstance(instance.id, instance.product, InstanceStatus.ACTIVE)
            for instance in customer.instances
        ),
    )


def _entitled(pepper: bytes, key: StaticKey) -> EntitledKey:
    keyed = digest_of_sha256(pepper, key.sha256)
    return EntitledKey(static_key_id(keyed), keyed, key.expires_ms, tuple(key.routes))
