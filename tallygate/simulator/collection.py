"""The collection runs (spec §7.2): usable records become charges, and nothing takes them back."""

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from .findings import Finding
from .models import Cycle, Instance
from .packages import PackageBook
from .schedule import Schedule
from .sdr import Sdr
from .stored import State, StoredRecord

RUNS_KEPT: Final = 1000
Usable = tuple[StoredRecord, Sdr]


class Collection:
    """What waits for its run, and what was collected: in which order, and how much by instance."""

    def __init__(
        self, instances: Mapping[str, Instance], packages: PackageBook, schedule: Schedule
    ) -> None:
        self._instances = instances
        self._packages = packages
        self._schedule = schedule
        self._usable: dict[Cycle, list[Usable]] = {cycle: [] for cycle in Cycle}
        self.collected: list[StoredRecord] = []
        self.sums: dict[str, Decimal] = {}
        self.runs: deque[dict[str, object]] = deque(maxlen=RUNS_KEPT)

    @property
    def waiting(self) -> bool:
        """Whether any usable record is not collected yet."""
        return any(self._usable.values())

    def add(self, stored: StoredRecord, sdr: Sdr) -> None:
        """A record found valid waits for the run of its product's cycle."""
        cycle = self._instances[sdr.instance_id].product_at(sdr.begin_ms).cycle
        self._usable[cycle].append((stored, sdr))

    def run(self, cycle: Cycle, run_ms: int) -> list[Finding]:
        """Collects what is usable; a finding for each record that missed its own run."""
        usable, self._usable[cycle] = self._usable[cycle], []
        findings = []
        for stored, sdr in usable:
            self._collect(stored, sdr, run_ms)
            if run_ms > self._schedule.own_run(cycle, sdr.end_ms):
                stored.late = True
                message = f"reported too late: the charge slips to the next {cycle}"
                findings.append(Finding("sdr-late", message, sdr.instance_id))
        self._note(cycle, run_ms, usable)
        return findings

    def run_all(self, now_ms: int) -> int:
        """Collects everything usable on demand, whatever its cycle; how many."""
        count = 0
        for cycle, usable in self._usable.items():
            for stored, sdr in usable:
                self._collect(stored, sdr, now_ms)
            self._note(cycle, now_ms, usable)
            count += len(usable)
            usable.clear()
        return count

    def _collect(self, stored: StoredRecord, sdr: Sdr, run_ms: int) -> None:
        instance = self._instances[sdr.instance_id]
        stored.deducted = self._packages.deduct(sdr, instance, self._instances)
        stored.state, stored.collected_ms = State.COLLECTED, run_ms
        self.collected.append(stored)
        self.sums[sdr.instance_id] = self.sums.get(sdr.instance_id, Decimal(0)) + sdr.usage

    def _note(self, cycle: Cycle, run_ms: int, usable: Iterable[Usable]) -> None:
        late = [stored.late for stored, _ in usable]
        if late:
            self.runs.append(
                {"cycle": cycle.value, "run_ms": run_ms, "records": len(late), "late": sum(late)}
            )
