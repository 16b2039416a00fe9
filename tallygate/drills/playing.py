"""Plays one drill: load, fault, recovery, and the verdict when everything has come to rest."""

from dataclasses import replace
from typing import Final

import anyio
from anyio import to_thread

from metering.lanes import State, lanes_in
from tallygate.drills.collecting import collect, read_counts, read_records
from tallygate.drills.judging import Evidence, Verdict, judge
from tallygate.drills.reconciling import reconciled
from tallygate.drills.results import Result, result_of, unexpected
from tallygate.drills.stage import Fault, Stage
from tallygate.drills.terms import DidNotBite, leaves

_EDGE: Final = 0.2  # of the load's time at least comes before the fault, and after the recovery
_LONGEST_EDGE_S: Final = 2.0
_POLL_S: Final = 0.1
_LAG_S: Final = 0.25  # a record is in Redis so soon after its reply, where nothing is wrong
_STILL: Final = 0.15  # of the load's time between two verdicts that agree
_LONGEST_STILL_S: Final = 1.0


async def play(stage: Stage, name: str, fault: Fault) -> Result:
    """Do the fault under load, and judge. What is wrong stands in the result.

    The evidence is that of the stage's whole life, so that faults may follow one another on it.
    """
    stage.problems, stage.notes = [], []
    seconds = stage.terms.seconds
    edge = min(seconds * _EDGE, _LONGEST_EDGE_S)
    begun = anyio.current_time()
    recovered_s: float | None = None
    async with stage.load.running():
        await anyio.sleep(edge)
        try:
            await fault(stage)
        except* DidNotBite as group:
            stage.problems += [str(problem) for problem in leaves(group)]
        else:
            recovered_s = await recovery(stage)
        left = begun + seconds - anyio.current_time()
        await anyio.sleep(max(left, edge))
    found = await rest(stage)
    if found is None:
        problems = [*stage.problems, "the operator's API does not answer"]
        return Result(name, stage.terms.seed, notes=stage.notes, problems=problems)
    second = None if stage.in_its_own_files else await reconciled(stage)
    result = result_of(name, stage.terms.seed, stage.load.books, *found)
    noticed = unexpected(result, workers_died=stage.workers_died, interrupted=stage.interrupted)
    return replace(
        result,
        late=second and second.late,
        recovered_s=recovered_s,
        notes=stage.notes,
        problems=[
            *stage.problems,
            *result.problems,
            *noticed,
            *(second.problems if second else []),
            *stage.processes.complaints(),
        ],
    )


async def recovery(stage: Stage) -> float | None:
    """Seconds until calls are answered, no lane lies dead, and what is recorded is counted.

    None when that does not happen in time.
    """
    since, complete = anyio.current_time(), len(stage.load.books.complete)
    patience_s = stage.terms.patience_s
    with anyio.move_on_after(patience_s):
        while True:
            healthy = len(stage.load.books.complete) > complete and await _nothing_waits(stage)
            if healthy:
                return anyio.current_time() - since
            await anyio.sleep(_POLL_S)
    stage.problems.append(f"it did not recover within {patience_s:.0f} s")
    return None


async def _nothing_waits(stage: Stage) -> bool:
    journal = stage.data_dir / "journal"
    if State.DEAD in await to_thread.run_sync(lambda: [x.state() for x in lanes_in(journal)]):
        return False
    records = await to_thread.run_sync(read_records, journal)
    await anyio.sleep(_LAG_S)
    counted = await read_counts(stage)
    if counted is None:
        return False
    requests = sum(record.quantities.get("requests", 0) for record in records)
    return requests <= sum(
        count
        for item, count in counted.items()
        if item.meter == "requests" and not item.instance_id
    )


async def rest(stage: Stage) -> tuple[Evidence, Verdict] | None:
    """The verdict once it is good and stays so, or the last one when patience is at its end."""
    last: tuple[Evidence, Verdict] | None = None
    good = False
    still_s = min(stage.terms.seconds * _STILL, _LONGEST_STILL_S)
    deadline = anyio.current_time() + stage.terms.patience_s
    while anyio.current_time() < deadline:
        evidence = await collect(stage)
        if evidence is not None:
            was_good, last = good, (evidence, judge(evidence))
            good = last[1].exact
            if was_good and good:  # twice: what comes late must not be more than it should
                break
        await anyio.sleep(still_s if good else _POLL_S)
    return last
