"""Which limits brake the calls of a caller on a route, from the configuration and what he bought. Pure.

A purse is one object for each limit in a worker, however many verdicts name it: a new configuration or
entitlement changes its terms, never what is held of it.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from gateway.brakes import TOKENS, Brake, Brakes
from gateway.estimates import Mean
from gateway.limit_settings import Limit, Limits
from gateway.purse import PackagePurse, Purse, RatePurse, SlotsPurse
from metering.catalogue import Product
from metering.entitlement import EntitledInstance, InstanceStatus
from metering.lending import account_of
from metering.partitions import partition_of
from metering.usage import Charge

_MINUTE_MS: Final = 60_000
_APART: Final = "\x1e"  # no id holds it, and no account's name
_HELD: Final = (InstanceStatus.ACTIVE, InstanceStatus.FROZEN)

_Kind = TypeVar("_Kind", PackagePurse, SlotsPurse, RatePurse)


class Caller(NamedTuple):
    """Who calls, what the call is charged to, and what he has."""

    customer_id: str
    key_id: str
    charges: tuple[Charge, ...]
    instances: tuple[EntitledInstance, ...]


class Braking:
    """Of one worker."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._means: dict[tuple[str, str], Mean] = {}
        self._purses: WeakValueDictionary[str, Purse] = WeakValueDictionary()

    def of(
        self, limits: Limits, packages: Iterable[Product], route: str, caller: Caller
    ) -> Brakes | None:
        """What brakes a call on the route; None for nearly everybody."""
        who, shadow = caller.customer_id, limits.shadow
        here = partition_of(who, self._partitions)
        each = self._limit("customer", who, here, limits.of_customer(who), shadow=shadow)
        if caller.key_id:
            limit = limits.of_key(caller.key_id)
            each += self._limit("key", caller.key_id, here, limit, shadow=shadow)
        if route in limits.routes:
            there = partition_of(route, self._partitions)
            each += self._limit("route", route, there, limits.routes[route], shadow=shadow)
        each += self._packages(packages, caller, here)
        return Brakes(tuple(self._with_mean(brake, route) for brake in each)) if each else None

    def _with_mean(self, brake: Brake, route: str) -> Brake:
        mean = self._means.get((route, brake.meter))
        if mean is None:
            mean = self._means[route, brake.meter] = Mean(brake.meter)
        return brake._replace(mean=mean)

    def _limit(
        self, whose: str, name: str, partition: int, limit: Limit, *, shadow: bool
    ) -> list[Brake]:
        each: list[Brake] = []
        if limit.concurrent is not None:
            each.append(
                Brake(self._slots(whose, name, partition, limit.concurrent), "concurrent", whose)
            )
        requests = limit.request_rate()
        if requests is not None:
            purse = self._rate(f"{whose}{_APART}{name}{_APART}requests", partition, requests)
            each.append(Brake(purse, "requests", whose))
        if limit.tokens_per_minute is not None:
            terms = (limit.tokens_per_minute, _MINUTE_MS, limit.tokens_per_minute)
            purse = self._rate(f"{whose}{_APART}{name}{_APART}tokens", partition, terms)
            each.append(Brake(purse, "tokens", whose, TOKENS))
        return [brake._replace(shadow=shadow) for brake in each]

    def _packages(self, packages: Iterable[Product], caller: Caller, partition: int) -> list[Brake]:
        """Packages that stop, expired or frozen ones too, until they are released."""
        held = {each.product_id for each in caller.instances if each.status in _HELD}
        mine = [product for product in packages if product.product_id in held]
        items = {each.instance_id: each.product_id for each in caller.instances}
        each: list[Brake] = []
        for charge in caller.charges:
            item = items.get(charge.instance_id, "")
            those = [p.package for p in mine if p.package and p.package.stop_before_excess]
            covering = [p for p in those if any(part.of == item for part in p.items)]
            if covering:
                stops = any(package.stop_mid_stream for package in covering)
                purse = self._package(account_of(caller.customer_id, item), partition, charge.meter)
                each.append(Brake(purse, "package", "package", charge.meter, stops=stops))
        return each

    def _package(self, account: str, partition: int, meter: str) -> PackagePurse:
        return self._one(PackagePurse, account, lambda: PackagePurse(account, partition, meter))

    def _slots(self, whose: str, name: str, partition: int, most: int) -> SlotsPurse:
        name = f"{whose}{_APART}{name}{_APART}concurrent"
        purse = self._one(SlotsPurse, name, lambda: SlotsPurse(name, partition, most))
        purse.most = most
        return purse

    def _rate(self, name: str, partition: int, terms: tuple[int, int, int]) -> RatePurse:
        purse = self._one(RatePurse, name, lambda: RatePurse(name, partition, *terms))
        purse.units, purse.period_ms, purse.burst = terms
        return purse

    def _one(self, kind: type[_Kind], name: str, make: Callable[[], _Kind]) -> _Kind:
        purse = self._purses.get(name)
        if not isinstance(purse, kind):
            purse = self._purses[name] = make()
        return purse
