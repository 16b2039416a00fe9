"""Turns a page of instances with their unrecorded usage into records, remainders and buckets.

What is decided is decided by pure functions (grouping, room, records); this module asks them instance
by instance and collects the results, which are written in bulk.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlmodel import Session

from billing_sync import origins, packages, records
from billing_sync.cycles import last_complete
from billing_sync.grouping import Group, Terms, Unrecorded, grouped
from billing_sync.origins import Origins
from billing_sync.packages import Balance
from billing_sync.records import Draft, Drafts, Part
from billing_sync.room import Life, Room, fit, late_only, regular_only, room_for
from billing_sync.store.packages import Balances, naming_of
from billing_sync.store.pages import DueCarry, Holder, Page
from billing_sync.store.results import Held, Results
from billing_sync.store.upgrades import changes_of
from billing_sync.upgrades import Tenure, in_force, remainder_key, tenures
from metering.catalogue import AGENTS_GATEWAY, Product
from metering.entitlement import InstanceStatus

_NOTHING: Final = Held()
_NONE_GIVEN: Final[Mapping[tuple[str, int], Mapping[str, int]]] = {}
_ALL: Final = 2**62


@dataclass
class Recording:
    """One transaction's worth. `may_record(group, ended)` says whether it is time for a group;
    `ended` that its instance was released or its product changed by an upgrade."""

    session: Session
    terms: Terms
    now_ms: int
    may_record: Callable[[Group, bool], bool]
    made: int = 0
    left: int = 0
    _packages: Balances = field(default_factory=dict)  # of the page's customers

    def record(self, page: Page) -> None:
        """Record what it is time for, and write it."""
        results = Results(page.partition, dict(page.carries))
        if page.given:
            served = {each.customer_id for each, _ in page.usage}
            self._packages = naming_of(self.session, served, self.terms.catalogue)
        for holder, usage in page.usage:
            changes = page.changes.get(holder.id, ())
            _Account(self, holder, tenures(holder.product_id, changes), results, page.given).record(
                usage
            )
        self.made += len(results.records)
        results.write(self.session)

    def record_carries(self, partition: int, due: Sequence[DueCarry], through_ms: int) -> None:
        """Records of remainders that are worth one without new usage, as adjustments leave them."""
        held_now = {(each.holder.id, each.package_id): each.held for each in due}
        results = Results(partition, held_now)
        changes = changes_of(self.session, [each.holder.id for each in due])
        for each in due:
            held = tenures(each.holder.product_id, changes.get(each.holder.id, ()))
            _Account(self, each.holder, held, results).record_carry(each.package_id, through_ms)
        self.made += len(results.records)
        results.write(self.session)

    def naming(self, customer_id: str, product: Product) -> list[Balance]:
        """The packages that are named in the customer's records for the product."""
        return self._packages.get((customer_id, product.product_id), [])


class _Account:
    """One instance while its usage is recorded."""

    def __init__(
        self,
        recording: Recording,
        holder: Holder,
        held: Sequence[Tenure],
        results: Results,
        given: Mapping[tuple[str, int], Mapping[str, int]] = _NONE_GIVEN,
    ) -> None:
        self.recording = recording
        self.holder = holder
        self.held = held
        self.results = results
        self.given = given
        self.until = results.until.get(holder.id, holder.recorded_until)
        self._slices: dict[tuple[int, str], dict[str, int]] = {}

    def record(self, usage: Sequence[Unrecorded]) -> None:
        released = self.holder.status == InstanceStatus.RELEASED
        for group in grouped(usage, self.held, self.recording.terms):
            ended = released or group.tenure.ends > 0
            if self.recording.may_record(group, ended) and not self._record(group):
                self.recording.left += len(group.usage)

    def _record(self, group: Group) -> bool:
        """Whether the group's usage stands in records and buckets now."""
        product, usage = group.product, group.usage
        if product is None:
            return False
        if product.charged_by == AGENTS_GATEWAY:
            self.results.put_in_bucket(usage, AGENTS_GATEWAY, group.quantity)
        else:
            room = self._room(group, group.tenure.ends)
            parts = self._parts(group, product, room)
            drafts = self._fit(group, product, parts, room)
            if drafts is None:
                return False
            self._store(group, product, parts, drafts)
        self.results.recorded.extend(usage)
        if self.given:
            self.results.given.update(_places(usage) & self.given.keys())
        return True

    def record_carry(self, package_id: str, through_ms: int) -> None:
        """Only into a cycle without a record, and else with the next one: one record a cycle."""
        terms, tenure = self.recording.terms, in_force(self.held)
        product = terms.catalogue.get(tenure.product_id)
        if product is None or product.charged_by == AGENTS_GATEWAY:
            return
        cycle = last_complete(through_ms, product.cycle, terms.zone)
        group = Group(tenure, product, cycle, ())
        room = self._room(group, tenure.ends)
        part = self._part(group, package_id, 0)
        drafts = fit([part], room if room.final else regular_only(room), product.unit)
        if drafts is not None and drafts.remainders:
            self._store_part(group, product, part, drafts, ())

    # --- where it stands -----------------------------------------------------------------

    def _room(self, group: Group, ends: int) -> Room:
        """The room of the group's product, which ends when an upgrade or the release does."""
        holder = self.holder
        started = max(holder.started, group.tenure.begins)
        released = (
            min(ends, holder.released) if ends and holder.released else ends or holder.released
        )
        life = Life(started, released, self.until)
        return room_for(life, group.cycle, now_ms=self.recording.now_ms)

    def _fit(self, group: Group, product: Product, parts: list[Part], room: Room) -> Drafts | None:
        """What comes in long after an upgrade takes a second behind it: the instance still lives."""
        drafts = fit(parts, room, product.unit)
        if group.tenure.ends and (drafts is None or len(drafts.remainders) < len(parts)):
            return fit(parts, late_only(self._room(group, 0)), product.unit)
        return drafts

    # --- what it is made of ---------------------------------------------------------------

    def _parts(self, group: Group, product: Product, room: Room) -> list[Part]:
        """Slices of stop-before-excess packages in their order, and what they do not cover."""
        if not self.given or _places(group.usage).isdisjoint(self.given):
            return [self._part(group, "", group.quantity)]
        naming = self.recording.naming(self.holder.customer_id, product)
        taken = self._taken(group, product, [package.package_id for package in naming])
        named = [package for package in naming if package.package_id in taken]
        order = [package.package_id for package in named]
        # Before the first package was bought there was pay-per-use; after the last one there is.
        order.insert(0 if any(p.started > room.begin for p in named) else len(order), "")
        quantities = {**taken, "": group.quantity - sum(taken.values())}
        return [self._part(group, name, quantities[name]) for name in order if quantities[name]]

    def _taken(self, group: Group, product: Product, naming: Sequence[str]) -> dict[str, int]:
        """What packages gave to the group, and the overshoot, over all its hours."""
        taken: dict[str, int] = {}
        for usage in group.usage:
            place = (usage.window, product.product_id)
            if place not in self._slices:
                given = self.given.get((usage.instance_id, usage.window), {})
                self._slices[place] = packages.slices(_ALL, given, naming)
            left = usage.quantity
            for name, quantity in self._slices[place].items():
                part = min(quantity, left)
                taken[name] = taken.get(name, 0) + part
                self._slices[place][name] -= part
                left -= part
        return {name: quantity for name, quantity in taken.items() if quantity}

    def _part(self, group: Group, package_id: str, quantity: int) -> Part:
        held = self.results.carries.get(self._key(group, package_id), _NOTHING)
        return Part(package_id, quantity, held.quantity, held.waiting)

    def _key(self, group: Group, package_id: str) -> tuple[str, str]:
        if len(self.held) > 1:
            current = in_force(self.held).product_id
            meter_of = self.recording.terms.meter_of
            package_id = remainder_key(package_id, group.tenure.product_id, current, meter_of)
        return self.holder.id, package_id

    # --- what becomes of it ---------------------------------------------------------------

    def _store(self, group: Group, product: Product, parts: list[Part], drafts: Drafts) -> None:
        left = _origins(group.usage)
        for part in parts:
            used, left = _first(left, part.quantity)
            if part.package_id in drafts.remainders:
                self._store_part(group, product, part, drafts, used)
        unfit = sum(p.quantity for p in parts if p.package_id not in drafts.remainders)
        self.results.put_in_bucket(group.usage, "unbillable", unfit)
        overshoot = group.quantity - sum(part.quantity for part in parts)
        self.results.put_in_bucket(group.usage, "overshoot", overshoot)

    def _store_part(
        self, group: Group, product: Product, part: Part, drafts: Drafts, used: Origins
    ) -> None:
        """The records of one part carry what waited, then what is new; the rest waits."""
        key = self._key(group, part.package_id)
        held = self.results.carries.get(key, _NOTHING)
        pool = origins.of([*used, *origins.decode(held.origins)]) if held.waiting else used
        for draft in drafts.records:
            if draft.package_id == part.package_id:
                carried, pool = _first(pool, draft.quantity)
                self.results.records.append(self._row(group, product, draft, carried))
                self.until = self.results.until[self.holder.id] = max(self.until, draft.end)
        rest = drafts.remainders[part.package_id]
        text = origins.encode(pool) if pool else _NOTHING.origins
        self.results.carries[key] = Held(rest.carry, rest.waiting, text, product.unit)

    def _row(
        self, group: Group, product: Product, draft: Draft, carried: Origins
    ) -> dict[str, Any]:
        holder, now_ms = self.holder, self.recording.now_ms
        return {
            "metering_sn": records.metering_sn(holder.id, draft.begin, draft.end),
            "instance_id": holder.id,
            "customer_id": holder.customer_id,
            "product_id": product.product_id,
            "meter": product.meter,
            "begin": draft.begin,
            "end": draft.end,
            "recorded_at": now_ms,
            "quantity": draft.quantity,
            "value": str(draft.value),
            "unit": product.unit,
            "relate_pkg_instance": draft.package_id,
            "window": group.window,
            "origins": origins.encode(carried),
            "next_attempt": now_ms,
        }


def _places(usage: Iterable[Unrecorded]) -> set[tuple[str, int]]:
    return {(each.instance_id, each.window) for each in usage}


def _origins(usage: Sequence[Unrecorded]) -> Origins:
    if len(usage) == 1:
        return usage[0].origins
    return origins.of(amount for each in usage for amount in each.origins)


def _first(pool: Origins, quantity: int) -> tuple[Origins, Origins]:
    """As `origins.split`, at once where it is everything."""
    if origins.total(pool) == quantity:
        return pool, ()
    return origins.split(pool, quantity)
