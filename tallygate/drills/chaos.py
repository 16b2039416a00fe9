"""Random `kill -9`s of gateway workers, their helpers, control plane and Redis, under load."""

import signal
from collections import Counter
from typing import Final

import anyio

from tallygate.drills.processes import kill
from tallygate.drills.stage import Stage
from tallygate.drills.terms import DidNotBite

_EVERY_S: Final = 3.0
_LAST_S: Final = 3.0  # of the load's time without a kill
_LEAST_S: Final = 0.5  # between two kills, on the average
_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.05
# `lanes` are the helpers that take over the lanes of the dead: they may die of it, too.
_VICTIMS: Final = ("gateway", "control", "valkey", "lanes")


async def chaos(stage: Stage) -> None:
    """One kill every three seconds on the average, whom and when by the stage's dice."""
    dice, seconds = stage.dice, stage.terms.seconds
    kills = max(3, round(seconds / _EVERY_S))
    begun, pause = anyio.current_time(), max(_LEAST_S, (seconds - _LAST_S) / kills)
    killed: Counter[str] = Counter()
    stage.workers_died = stage.interrupted = True
    for number in range(kills):
        await anyio.sleep_until(begun + pause * (number + dice.random()))
        role, victim = dice.choice(await _victims(stage))
        kill(victim, signal.SIGKILL)
        killed[role] += 1
    said = ", ".join(f"{count} × {role}" for role, count in sorted(killed.items()))
    stage.notes.append(f"{killed.total()} kills: {said}")


async def _victims(stage: Stage) -> list[tuple[str, int]]:
    """Whom there is to kill. Raises DidNotBite when nothing was started again."""
    with anyio.move_on_after(_PATIENCE_S):
        while True:
            found = [(role, pid) for role, pid in stage.processes.roles() if role in _VICTIMS]
            if found:
                return found
            await anyio.sleep(_POLL_S)
    raise DidNotBite("nothing runs that could be killed")
