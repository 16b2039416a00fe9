"""Runs drills one after another, each on a throw-away installation of its own."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx

from tallygate.demo.processes import DidNotStart
from tallygate.drills.playing import play
from tallygate.drills.processes import DidNotStop
from tallygate.drills.repertoire import DRILLS
from tallygate.drills.results import Result
from tallygate.drills.stage import Prepare, staged
from tallygate.drills.terms import Terms, leaves

RATE: Final = 60.0


async def run_drills(
    names: Iterable[str], terms: Terms, seconds: float | None, show: Callable[[Result], None]
) -> None:
    """Play each round of each drill and show its result; `seconds` in place of the drills' own."""
    for name in names:
        drill = DRILLS[name]
        lasting = replace(terms, seconds=seconds or drill.seconds, patience_s=drill.patience_s)
        for title, prepare in drill.rounds.items():
            terms.say(f"{title}: {drill.what}; seed {terms.seed}, {lasting.seconds:g} s of load")
            show(await run_round(title, prepare, lasting))


async def run_round(title: str, prepare: Prepare, terms: Terms) -> Result:
    """Start, load, fault, judge, end. What keeps it from being played is a problem of its result."""
    with tempfile.TemporaryDirectory(
        prefix="tallygate-drill-", ignore_cleanup_errors=True
    ) as folder:
        try:
            async with (
                prepare(Path(folder)) as prepared,
                staged(Path(folder), terms, prepared.make) as stage,
            ):
                return await play(stage, title, prepared.fault)
        except* (DidNotStart, DidNotStop, httpx.HTTPError, OSError) as group:
            problems = [str(problem) or type(problem).__name__ for problem in leaves(group)]
    return Result(title, terms.seed, problems=problems)
