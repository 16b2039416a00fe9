"""The usage records of a marketplace: received, validated in the background, collected by run.

Time is an argument. `advance` does what was due until then, each run at its own time with the
records that were usable by then, so that one long jump ends like many small steps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from .bills import Bill, bills
from .collection import Collection
from .findings import FindingLog
from .models import Cycle, Instance
from .packages import PackageBook
from .schedule import BEIJING, Schedule, zone_named
from .stored import State, StoredRecord
from .totals import totals
from .validation import Validation

MAX_RECORDS: Final = 1_000_000  # some 500 bytes each
_COUNTED: Final = (State.COLLECTED, State.REFUSED, State.DUPLICATE, State.REPEAT)


@dataclass(frozen=True)
class Rules:
    """How the marketplace deals with records.

    `collect_at_minute` None collects on demand only. The zone is that of the daily run.
    """

    validation_delay_ms: int = 0
    collect_at_minute: int | None = None
    zone: str = BEIJING
    refuse_frozen: bool = False


class UsageRecords:
    """Everything received; `records` in the order of arrival."""

    def __init__(
        self, instances: Mapping[str, Instance], findings: FindingLog, rules: Rules
    ) -> None:
        self._instances = instances
        self._findings = findings
        self.schedule = Schedule(rules.collect_at_minute or 0, zone_named(rules.zone))
        self.packages = PackageBook()
        self.records: list[StoredRecord] = []
        self.collection = Collection(instances, self.packages, self.schedule)
        self.validation_delay_ms = rules.validation_delay_ms
        self._validation = Validation(self.packages, rules.refuse_frozen)
        self._scheduled = rules.collect_at_minute is not None
        self._next_runs: dict[Cycle, int] = {}
        self._judged = 0  # records before this index have been validated
        self._counted = 0

    def store(self, records: Iterable[Mapping[str, object]], received_ms: int) -> None:
        """As received; what was due before is done first."""
        self.advance(received_ms)
        self.records.extend(StoredRecord(record, received_ms) for record in records)

    def advance(self, now_ms: int) -> None:
        """Validations and collections due until `now_ms`. The first call starts the schedule."""
        if self._scheduled:
            self._run_until(now_ms)
        self._validate_until(now_ms)

    def collect(self, now_ms: int | None = None) -> dict[str, object]:
        """Validates and collects everything at once, whatever is due; how many came to what."""
        before = self._findings.total
        self._validate(len(self.records))
        latest_ms = self.records[-1].received_ms if self.records else 0
        self.collection.run_all(latest_ms if now_ms is None else now_ms)
        return {**self._count(), "findings": self._findings.total - before}

    def bills(self) -> list[Bill]:
        """By instance and cycle, in the order of collection."""
        return bills(self.collection.collected, self._instances, self.schedule)

    def totals(self) -> dict[str, dict[str, str]]:
        """Usage by instance, as decimals: pushed, collected, refused."""
        return totals(self.records)

    def collected(self) -> dict[str, Decimal]:
        """Collected billing units by instance; those without any are absent."""
        return dict(self.collection.sums)

    def _run_until(self, now_ms: int) -> None:
        if not self._next_runs:
            self._skip_to(now_ms)
        while not self._idle():
            cycle, run_ms = min(self._next_runs.items(), key=lambda each: each[1])
            if run_ms > now_ms:
                return
            self._validate_until(run_ms)
            self._findings.add(*self.collection.run(cycle, run_ms))
            self._next_runs[cycle] = self.schedule.next_run(cycle, run_ms)
        self._skip_to(now_ms)

    def _skip_to(self, now_ms: int) -> None:
        """Runs that find nothing leave nothing."""
        for cycle in Cycle:
            run_ms = self.schedule.next_run(cycle, now_ms)
            self._next_runs[cycle] = max(run_ms, self._next_runs.get(cycle, run_ms))

    def _idle(self) -> bool:
        return self._judged == len(self.records) and not self.collection.waiting

    def _validate_until(self, at_ms: int) -> None:
        end = self._judged
        last_received_ms = at_ms - self.validation_delay_ms
        while end < len(self.records) and self.records[end].received_ms <= last_received_ms:
            end += 1
        self._validate(end)

    def _validate(self, end: int) -> None:
        """Records before the index `end` are validated, in the order of arrival."""
        for index in range(self._judged, end):
            stored = self.records[index]
            judgement = self._validation.judge(stored, self._instances)
            stored.state, stored.reason = judgement.state, judgement.reason
            self._findings.add(*judgement.findings)
            if judgement.sdr is not None:
                self.collection.add(stored, judgement.sdr)
        self._judged = max(end, self._judged)

    def _count(self) -> dict[str, int]:
        """States of the records that came since the last count."""
        counts = dict.fromkeys((state.value for state in _COUNTED), 0)
        for index in range(self._counted, len(self.records)):
            counts[self.records[index].state.value] += 1
        self._counted = len(self.records)
        return counts
