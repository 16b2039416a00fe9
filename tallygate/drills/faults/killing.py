"""Faults of processes: a worker or the control plane is killed, or all are told to stop."""

import signal
from typing import Final

import anyio

from tallygate.drills.configuration import WORKERS
from tallygate.drills.processes import kill
from tallygate.drills.stage import Stage
from tallygate.drills.terms import DidNotBite

_EVERY_S: Final = 4.0
_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.02


async def kill_worker(stage: Stage) -> None:
    """`kill -9` of a gateway worker, every few seconds."""
    for _ in range(max(1, int(stage.terms.seconds // _EVERY_S))):
        await killed(stage, "gateway", WORKERS)
        await anyio.sleep(stage.dice.random())


async def kill_control(stage: Stage) -> None:
    """`kill -9` of the control plane."""
    await killed(stage, "control", 1)


async def killed(stage: Stage, role: str, all_of_them: int) -> None:
    """Kill one at random and wait for its successor. Raises DidNotBite."""
    before = await running(stage, role, all_of_them)
    victim = stage.dice.choice(before)
    if role == "gateway":
        stage.workers_died = stage.interrupted = True
    kill(victim, signal.SIGKILL)
    with anyio.move_on_after(_PATIENCE_S):
        while victim in stage.processes.of(role):  # noqa: ASYNC110  (a process)
            await anyio.sleep(_POLL_S)
        await running(stage, role, all_of_them)
        return
    raise DidNotBite(f"no {role} was started in place of the one that was killed")


async def running(stage: Stage, role: str, all_of_them: int) -> list[int]:
    """Their process ids, once all of them run. Raises DidNotBite."""
    with anyio.move_on_after(_PATIENCE_S):
        while True:
            found = stage.processes.of(role)
            if len(found) >= all_of_them:
                return found
            await anyio.sleep(_POLL_S)
    raise DidNotBite(f"{all_of_them} {role} should run, and do not")


async def sigterm(stage: Stage) -> None:
    """A deploy: SIGTERM for `tallygate serve` under load, and a start when it has ended.

    Calls that are open finish: no reply that had begun may be torn.
    """
    torn, stage.interrupted = stage.load.books.torn, True
    status = await stage.processes.end()
    if status != 0:
        stage.problems.append(f"tallygate serve ended with status {status}")
    if stage.load.books.torn > torn:
        stage.problems.append(f"{stage.load.books.torn - torn} replies were torn by the stop")
    await stage.start()
