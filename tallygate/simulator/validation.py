"""The background validation (spec §7.2): which records become usable, given those before. Pure.

A refused record leaves no trace: it may be reported again. Of one interval of an instance only the
first record counts.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .findings import Finding
from .models import Instance
from .packages import PackageBook
from .sdr import Refused, Sdr, judge_instance, judge_times, read_sdr
from .stored import State, StoredRecord


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one record; `findings` may accompany even a valid one, which has an `sdr`."""

    state: State
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    sdr: Sdr | None = None


class Validation:
    """The records found valid so far. `refuse_frozen`: usage of a frozen time is bad data."""

    def __init__(self, packages: PackageBook, refuse_frozen: bool = False) -> None:
        self._packages = packages
        self._refuse_frozen = refuse_frozen
        self._intervals: dict[str, dict[int, StoredRecord]] = {}
        self._numbers: set[str] = set()
        self._covered: dict[str, Covered] = {}

    def judge(self, stored: StoredRecord, instances: Mapping[str, Instance]) -> Judgement:
        """Judges one record and, when it is good, remembers it."""
        record = stored.record
        try:
            sdr = read_sdr(record)
            instance = judge_instance(instances.get(sdr.instance_id))
            if seen := self._seen(sdr):
                return seen
            found = self._judge(sdr, instance, stored.received_ms, instances)
            _judge_product(record.get("product_id"), sdr, instance)
        except Refused as refused:
            return _verdict(State.REFUSED, str(refused), str(record.get("instance_id")))
        findings = (*found, *self._oddities(sdr, old="product_id" in record))
        self._packages.reserve(sdr, instance, instances)
        self._remember(sdr, stored)
        return Judgement(State.VALID, findings=findings, sdr=sdr)

    def _judge(
        self, sdr: Sdr, instance: Instance, received_ms: int, instances: Mapping[str, Instance]
    ) -> Sequence[Finding]:
        judge_times(sdr, instance, received_ms)
        if self._refuse_frozen and instance.frozen_during(sdr.begin_ms, sdr.end_ms):
            raise Refused("the instance was frozen all the time of the record")
        finding = self._packages.judge(sdr, instance, instances)
        return [finding] if finding else []

    def _seen(self, sdr: Sdr) -> Judgement | None:
        """Rule 5: of one interval of an instance only the first record counts."""
        first = self._intervals.get(sdr.instance_id, {}).get(_span(sdr))
        if first is not None and sdr.repeats(read_sdr(first.record)):
            return Judgement(State.REPEAT, "the same record again")
        if first is not None:
            reason = "another record of this instance has the same begin_time and end_time"
            return _verdict(State.DUPLICATE, reason, sdr.instance_id)
        if sdr.metering_sn in self._numbers:
            raise Refused("metering_sn belongs to another record")
        return None

    def _oddities(self, sdr: Sdr, old: bool) -> Iterator[Finding]:
        if sdr.metering_sn is None and not old:
            yield Finding("metering-sn", "the record has no metering_sn", sdr.instance_id)
        if sdr.begin_ms == sdr.end_ms:
            yield Finding("empty-interval", "begin_time equals end_time", sdr.instance_id)
        covered = self._covered.get(sdr.instance_id)
        if covered is not None and covered.meets(sdr.begin_ms, sdr.end_ms):
            message = "the interval overlaps one reported before"
            yield Finding("overlap", message, sdr.instance_id)

    def _remember(self, sdr: Sdr, stored: StoredRecord) -> None:
        self._intervals.setdefault(sdr.instance_id, {})[_span(sdr)] = stored
        if sdr.metering_sn is not None:
            self._numbers.add(sdr.metering_sn)
        self._covered.setdefault(sdr.instance_id, Covered()).add(sdr.begin_ms, sdr.end_ms)


class Covered:
    """The time that intervals cover together: disjoint spans in ascending order."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []

    def meets(self, begin: int, end: int) -> bool:
        """Whether an interval shares time with them; touching is not sharing."""
        place = bisect_right(self._ends, begin)
        return place < len(self._begins) and self._begins[place] < end

    def add(self, begin: int, end: int) -> None:
        """Takes an interval in; an empty one covers nothing."""
        if begin == end:
            return
        first, last = bisect_left(self._ends, begin), bisect_right(self._begins, end)
        if first < last:
            begin, end = min(begin, self._begins[first]), max(end, self._ends[last - 1])
        self._begins[first:last] = [begin]
        self._ends[first:last] = [end]


def _judge_product(product_id: object, sdr: Sdr, instance: Instance) -> None:
    """The old interface names the product (§7.4)."""
    if product_id not in (None, instance.product_at(sdr.begin_ms).product_id):
        raise Refused("product_id is not the product of the instance")


def _span(sdr: Sdr) -> int:
    """Begin and end, in whole seconds, as one number."""
    return (sdr.begin_ms // 1000) << 40 | sdr.end_ms // 1000


def _verdict(state: State, reason: str, instance_id: str) -> Judgement:
    return Judgement(state, reason, (Finding(f"sdr-{state}", reason, instance_id),))
