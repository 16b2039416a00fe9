"""Packages as KooGallery deducts them (spec §8.3, §8.4): which pays for a record, and what is left.

Ordinary packages are deducted by the platform from the collected pay-per-use records, earliest
expiry first, and the excess is charged. A stop-before-excess package pays for exactly the records
that name it, and never beyond its quota. The vendor documents neither the order nor what a package
that was not held all the time pays for: here it pays when it was held at any moment of the record.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from .findings import Finding
from .models import Instance, Kind
from .sdr import Refused, Sdr

Deduction = tuple[tuple[str, Decimal], ...]


class PackageBook:
    """Packages by buyer, and how much of each was used, by pay-per-use product."""

    def __init__(self) -> None:
        self._by_customer: dict[str, list[Instance]] = {}
        self._used: dict[tuple[str, str], Decimal] = {}

    def add(self, package: Instance) -> None:
        """Remembers a package that was bought."""
        self._by_customer.setdefault(package.customer_id, []).append(package)

    def judge(
        self, sdr: Sdr, instance: Instance, instances: Mapping[str, Instance]
    ) -> Finding | None:
        """Rules of relate_pkg_instance (§7.1, §8.4); raises Refused. Changes nothing.

        That the package must have been held at the time of the record is documented nowhere, and
        late usage may have no other time: a finding.
        """
        product_id = instance.product_at(sdr.begin_ms).product_id
        if sdr.package is None:
            if held := self._stopping(sdr, instance.customer_id, product_id):
                raise Refused(
                    "relate_pkg_instance is missing though the buyer holds the stop-before-excess "
                    f"package {held.instance_id}"
                )
            return None
        package = _related(instances.get(sdr.package), instance, product_id)
        left = self.left(package, product_id)
        if package.product.stop_before_excess and left is not None and sdr.usage > left:
            raise Refused(f"the quota of relate_pkg_instance is exceeded: {left:f} is left")
        if package.touches(sdr.begin_ms, sdr.end_ms):
            return None
        message = "relate_pkg_instance was not held at any moment of the record"
        return Finding("package-not-held", message, sdr.instance_id)

    def reserve(self, sdr: Sdr, instance: Instance, instances: Mapping[str, Instance]) -> None:
        """Takes a valid record out of the stop-before-excess package that it names."""
        if sdr.package is not None and instances[sdr.package].product.stop_before_excess:
            product_id = instance.product_at(sdr.begin_ms).product_id
            self._use(sdr.package, product_id, sdr.usage)

    def deduct(self, sdr: Sdr, instance: Instance, instances: Mapping[str, Instance]) -> Deduction:
        """What packages pay of a record that is being collected; the rest is pay-per-use."""
        if sdr.package is not None and instances[sdr.package].product.stop_before_excess:
            return ((sdr.package, sdr.usage),)
        product_id = instance.product_at(sdr.begin_ms).product_id
        paid: list[tuple[str, Decimal]] = []
        rest = sdr.usage
        for package in self._paying(sdr, instance.customer_id, product_id):
            left = self.left(package, product_id)
            part = rest if left is None else min(rest, left)
            if part:
                self._use(package.instance_id, product_id, part)
                paid.append((package.instance_id, part))
                rest -= part
        return tuple(paid)

    def left(self, package: Instance, product_id: str) -> Decimal | None:
        """What is left of its quota for a product; None when it has no limit."""
        quota = package.product.quotas.get(product_id)
        if quota is None:
            return None
        return quota * package.quantity - self.used(package.instance_id, product_id)

    def used(self, package_id: str, product_id: str) -> Decimal:
        """In billing units. Of a stop-before-excess package: with what awaits collection."""
        return self._used.get((package_id, product_id), Decimal(0))

    def as_json(self) -> dict[str, dict[str, str]]:
        """Used quota by package and pay-per-use product."""
        shown: dict[str, dict[str, str]] = {}
        for (package_id, product_id), used in self._used.items():
            shown.setdefault(package_id, {})[product_id] = f"{used:f}"
        return shown

    def _use(self, package_id: str, product_id: str, quantity: Decimal) -> None:
        key = (package_id, product_id)
        self._used[key] = self._used.get(key, Decimal(0)) + quantity

    def _of(self, customer_id: str, product_id: str) -> Iterator[Instance]:
        for package in self._by_customer.get(customer_id, ()):
            if product_id in package.product.covers:
                yield package

    def _stopping(self, sdr: Sdr, customer_id: str, product_id: str) -> Instance | None:
        """The package that this record should have named: held all the time, empty or not."""
        for package in self._of(customer_id, product_id):
            if package.product.stop_before_excess and package.held_during(sdr.begin_ms, sdr.end_ms):
                return package
        return None

    def _paying(self, sdr: Sdr, customer_id: str, product_id: str) -> list[Instance]:
        """Ordinary packages in the order of deduction; the one the record names and no other."""
        held = [
            package
            for package in self._of(customer_id, product_id)
            if not package.product.stop_before_excess
            and not package.frozen
            and sdr.package in (None, package.instance_id)
            and package.touches(sdr.begin_ms, sdr.end_ms)
        ]
        return sorted(held, key=_order)


def _order(package: Instance) -> tuple[bool, int, int, str]:
    """Earliest expiry first, without expiry last; then the oldest."""
    expires_ms = package.expires_ms
    return expires_ms is None, expires_ms or 0, package.started_ms, package.instance_id


def _related(package: Instance | None, instance: Instance, product_id: str) -> Instance:
    if package is None or package.product.kind is not Kind.ON_DEMAND_PKG:
        raise Refused("relate_pkg_instance is not a package instance")
    if package.customer_id != instance.customer_id:
        raise Refused("relate_pkg_instance belongs to another buyer")
    if product_id not in package.product.covers:
        raise Refused("relate_pkg_instance has no quota for this product")
    return package
