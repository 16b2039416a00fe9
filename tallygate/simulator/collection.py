"""Background collection (spec §7.2): which records become charges, given those before. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from .findings import Finding
from .models import Instance
from .sdr import Refused, Sdr, judge_instance, judge_package, judge_times, read_sdr


class State(StrEnum):
    """What became of a record."""

    PENDING = "pending"
    COLLECTED = "collected"
    REFUSED = "refused"
    DUPLICATE = "duplicate"  # another record already charges this interval
    REPEAT = "repeat"  # the same record sent again: harmless


@dataclass(frozen=True)
class Judgement:
    """The verdict on one record; `findings` may accompany even a collected one."""

    state: State
    reason: str = ""
    findings: tuple[Finding, ...] = ()


class Collection:
    """The records collected so far. A refused one leaves no trace: it may be reported again."""

    def __init__(self) -> None:
        self._by_interval: dict[tuple[str, int, int], Sdr] = {}
        self._by_number: dict[str, Sdr] = {}
        self._intervals: dict[str, list[tuple[int, int]]] = {}

    def judge(
        self, record: Mapping[str, object], received_ms: int, instances: Mapping[str, Instance]
    ) -> Judgement:
        """Judges one record and, when it is good, takes it in."""
        try:
            sdr = read_sdr(record)
            instance = judge_instance(instances.get(sdr.instance_id))
            if seen := self._seen(sdr):
                return seen
            judge_times(sdr, instance, received_ms)
            judge_package(sdr, instance, instances)
        except Refused as refused:
            return _verdict(State.REFUSED, str(refused), str(record.get("instance_id")))
        findings = tuple(self._oddities(sdr))
        self._take(sdr)
        return Judgement(State.COLLECTED, findings=findings)

    def _seen(self, sdr: Sdr) -> Judgement | None:
        """Rule 5: of one interval of an instance only the first record counts."""
        first = self._by_interval.get(sdr.interval)
        if first is not None and sdr.repeats(first):
            return Judgement(State.REPEAT, "the same record again")
        if first is not None:
            reason = "another record of this instance has the same begin_time and end_time"
            return _verdict(State.DUPLICATE, reason, sdr.instance_id)
        if sdr.metering_sn in self._by_number:
            raise Refused("metering_sn belongs to another record")
        return None

    def _oddities(self, sdr: Sdr) -> Iterator[Finding]:
        if sdr.metering_sn is None:
            yield Finding("metering-sn", "the record has no metering_sn", sdr.instance_id)
        if sdr.begin_ms == sdr.end_ms:
            yield Finding("empty-interval", "begin_time equals end_time", sdr.instance_id)
        intervals = self._intervals.get(sdr.instance_id, [])
        if any(begin < sdr.end_ms and sdr.begin_ms < end for begin, end in intervals):
            message = "the interval overlaps one already collected"
            yield Finding("overlap", message, sdr.instance_id)

    def _take(self, sdr: Sdr) -> None:
        self._by_interval[sdr.interval] = sdr
        if sdr.metering_sn is not None:
            self._by_number[sdr.metering_sn] = sdr
        self._intervals.setdefault(sdr.instance_id, []).append((sdr.begin_ms, sdr.end_ms))


def _verdict(state: State, reason: str, instance_id: str) -> Judgement:
    return Judgement(state, reason, (Finding(f"sdr-{state}", reason, instance_id),))
