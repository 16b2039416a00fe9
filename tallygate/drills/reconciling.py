"""Asks `tallygate reconcile` after a drill: a second judge, who knows nothing of the first."""

from typing import NamedTuple

from anyio import to_thread

from tallygate.drills.stage import Stage
from tallygate.reconciliation.balancing import settle
from tallygate.reconciliation.opening import opened
from tallygate.reconciliation.reconciling import reconcile
from tallygate.reconciliation.terms import EVERYTHING


class Reconciled(NamedTuple):
    """What it found; `late` are requests booked in another hour than their own."""

    differing: int
    missing: int
    late: int

    @property
    def problems(self) -> list[str]:
        """Sentences; none when every difference is 0 or named."""
        rows = f"tallygate reconcile: {self.differing} rows differ without a name"
        lanes = f"tallygate reconcile: lanes lack {self.missing} records"
        return [rows] * bool(self.differing) + [lanes] * bool(self.missing)


async def reconciled(stage: Stage) -> Reconciled:
    """The verdict of `tallygate reconcile` on the installation as it runs."""
    async with opened(stage.installation) as stores:
        report = await reconcile(stores, EVERYTHING, lambda _: None)
        settlement = await to_thread.run_sync(settle, stores.engine, EVERYTHING)
    late = [one.held.late + one.held.clock for one in report.sums() if one.meter == "requests"]
    missing = sum(last - first + 1 for lane in report.lanes for first, last in lane.missing)
    differing = len(report.differing) + len(settlement.differences)
    return Reconciled(differing, missing, late[0] if late else 0)
