"""`tallygate drill`: a failure drill against a throw-away installation, and the proof of them all."""

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import click

from tallygate.drills.names import ALL, MONTH, NAMES, SABOTAGE
from tallygate.invocation import Misused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.config_schema import Config
    from tallygate.drills.results import Result
    from tallygate.drills.terms import Terms
    from tallygate.month.outcome import Outcome

INTERRUPTED: Final = 130  # what shells say of Ctrl-C


@click.command()
@click.argument("name", type=click.Choice([*NAMES, MONTH, ALL, SABOTAGE]), metavar="NAME")
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Take routes, meters, products and journal settings from here; nothing of it is touched.",
)
@click.option("--seconds", type=click.FloatRange(2, 3600), help="How long the load lasts.")
@click.option("--seed", type=click.IntRange(0), help="Throw the dice of an earlier drill again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, and nothing else.")
@click.option(
    "--proof",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write the results here, too, as Markdown.",
)
def drill(
    name: str,
    config_path: Path | None,
    seconds: float | None,
    seed: int | None,
    as_json: bool,
    proof: Path | None,
) -> None:
    """Let something fail under load, in a throw-away installation, and count afterwards.

    Exit 0 if every request is counted once or stands in a named bucket, else 1. NAME is one of
    kill-worker, kill-control, redis-down, redis-freeze, redis-flush, redis-rollback,
    redis-failover, sql-locked, sql-rollback, disk-full, clock-step, power-cut, sigterm, chaos;
    month, which plays a month of 500 customers in simulated time and holds what was collected
    against what was served; all of them; or sabotage, which takes a request out of the ledger by
    hand and must fail.

    \b
    Example:
      tallygate drill kill-worker
      tallygate drill redis-flush -c tallygate.yaml --seconds 30
    """
    from tallygate.drills.processes import PROC
    from tallygate.drills.running import RATE
    from tallygate.drills.terms import Terms

    if not PROC.is_dir():
        raise Misused(f"drills look for processes in {PROC}, which this system does not have")
    if proof is not None and not proof.absolute().parent.is_dir():
        raise Misused(f"there is no folder {proof.parent} to write {proof.name} to")
    # Everything a drill calls is on this machine: a proxy would not find it.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    chosen = secrets.randbelow(2**32) if seed is None else seed
    terms = Terms(seconds or 0, RATE, chosen, _given(config_path), say=_say)
    results: list[Result] = []

    def show(result: "Result") -> None:
        results.append(result)
        _show(result, as_json=as_json)

    drills = NAMES if name == ALL else () if name == MONTH else (name,)
    finished = _run(drills, terms, seconds, show)
    month = _month(chosen, as_json=as_json) if finished and name in (ALL, MONTH) else None
    if proof is not None and finished:
        _write(proof, results, month)
    good = all(result.passed for result in results) and (month is None or month.passed)
    raise SystemExit(int(not good) if finished else INTERRUPTED)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _given(config_path: Path | None) -> "Config | None":
    if config_path is None:
        return None
    from tallygate.invocation import load_installation

    config = load_installation(config_path).config
    _say(
        f"routes, meters, products, partitions and journal settings of {config_path} are tried in a"
        " temporary folder; its data_dir, stores and listeners are not touched"
    )
    return config


def _show(result: "Result", *, as_json: bool) -> None:
    from tallygate.drills.showing import lines

    click.echo(json.dumps(result.as_json()) if as_json else "\n".join(lines(result)))


def _run(
    names: "Sequence[str]",
    terms: "Terms",
    seconds: float | None,
    show: "Callable[[Result], None]",
) -> bool:
    """Whether all of them were played: False when Ctrl-C came before."""
    from tallygate.drills.running import run_drills
    from tallygate.stopping import told_to_stop

    async def play_all() -> bool:
        async with told_to_stop(hangs_up=True) as stop, anyio.create_task_group() as group:

            async def when_told() -> None:
                await stop.told.wait()
                group.cancel_scope.cancel()

            group.start_soon(when_told)
            await run_drills(names, terms, seconds, show)
            group.cancel_scope.cancel()
        return not stop.told.is_set()

    return anyio.run(play_all, backend_options={"use_uvloop": True})


def _month(seed: int, *, as_json: bool) -> "Outcome":
    from tallygate.month.run import run
    from tallygate.month.showing import lines
    from tallygate.month.terms import month

    _say(
        f"month: 500 customers for 30 days in simulated time, with products of its own; seed {seed}"
    )
    outcome = run(month(seed), _say)
    click.echo(json.dumps(outcome.as_json()) if as_json else "\n".join(lines(outcome)))
    return outcome


def _write(proof: Path, results: "Sequence[Result]", month: "Outcome | None") -> None:
    from tallygate.drills.facts import facts
    from tallygate.drills.showing import proof as as_proof

    text = as_proof(results, facts()) if results else ""
    if month is not None:
        from tallygate.month.showing import section

        text = "\n".join([text, section(month)]) if text else section(month)
    proof.write_text(text)
