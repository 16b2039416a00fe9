"""How fast callbacks are answered while the gateway is busy and its counts are drained into SQL.

python -m loadtests.callbacks

The gateway, its traffic and its upstream have one core; the control plane, Valkey and the sender of
callbacks have the other.
"""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import click

from loadtests.callbacks.calling import Called, Caller, figures
from loadtests.callbacks.traffic import SCENARIO
from loadtests.compare import load
from loadtests.compare.processes import on_cores
from loadtests.compare.scenarios import Scenario, customers
from loadtests.serving import first_line, process

KEY: Final = "key-of-the-base-interface"
_FLOOD: Final = Scenario("many", "JSON of many customers", customers=2)
_LIMIT_S: Final = 0.2


@dataclass(frozen=True)
class Terms:
    """What is measured, how long, and where. `share` is of the gateway's own maximum."""

    seconds: int = 30
    rate: float = 50.0
    share: float = 0.7
    customers: int = 500
    flood_s: int = 5
    cores: tuple[int, int] = (0, 1)  # of the control plane, of the gateway


@dataclass
class Measured:
    """What came of it; `drains` were committed while callbacks came."""

    most: float = 0.0
    traffic: dict[str, Any] = field(default_factory=dict)
    called: Called = field(default_factory=Called)
    drains: int = 0
    busy: float = 0.0  # of the control plane's core, by its process
    core: float = 0.0  # the same core, by everything on it

    def lines(self) -> Iterator[str]:
        """For people."""
        traffic = self.traffic
        yield f"gateway: {self.most:.0f} calls a second at most; {traffic['rate']:.0f} kept, {traffic['errors']} errors, p99 {traffic['p99'] * 1000:.1f} ms"
        yield f"control plane: {self.drains} drains, {self.busy:.0%} of its core; {self.core:.0%} with Valkey, the sender and others"
        shown = ", ".join(figures(self.called.seconds))
        yield f"callbacks: {len(self.called.seconds)}, {shown}, {self.called.wrong or 'all 000000'}"

    @property
    def p99_s(self) -> float:
        ordered = sorted(self.called.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def measure(folder: Path, terms: Terms) -> Measured:
    """One run in an empty folder."""
    control_core, gateway_core = ([core] for core in terms.cores)
    with ExitStack() as stack:
        with on_cores(gateway_core):
            upstream = _free_address()
            answering = ("loadtests.compare.origin", "--listen", upstream, "--answering", "json")
            stack.enter_context(process(*answering, log=folder / "origin.log"))
        path = folder / "tallygate.yaml"
        path.write_text(json.dumps(_configuration(f"http://{upstream}", terms)))
        with on_cores(control_core):
            words = ("tallygate", "serve", "-c", str(path))
            served = stack.enter_context(process(*words, log=folder / "serve.log"))
            if not first_line(served):
                raise click.ClickException((folder / "serve.log").read_text())
        gateway, control = (_announced(folder, name) for name in ("gateway", "control"))
        move(int(gateway["pid"]), gateway_core)
        port = urlsplit(gateway["public"]).port or 0
        load.probe(SCENARIO, port)
        measured = Measured()
        flooded = load.flood(_FLOOD, port, terms.flood_s, folder, gateway_core)
        measured.most = flooded.rate
        with on_cores(control_core):
            _both(measured, terms, port, control, folder)
    return measured


def _both(
    measured: Measured, terms: Terms, port: int, control: dict[str, Any], folder: Path
) -> None:
    """Traffic and callbacks at once."""
    ledger, before = folder / "var" / "ledger.db", _ticks(int(control["pid"]))
    drains, idle = _drains(ledger), _idle(terms.cores[0])
    caller = Caller(f"{control['public']}/koogallery", KEY, "TOKENS", terms.rate)
    with _traffic(terms, port, measured.most * terms.share) as traffic:
        anyio.run(caller.run, terms.seconds)
        measured.called = caller.called
        measured.drains = _drains(ledger) - drains
        used = _ticks(int(control["pid"])) - before
        unused = _idle(terms.cores[0]) - idle
        measured.core = 1 - unused / os.sysconf("SC_CLK_TCK") / terms.seconds
        measured.busy = used / os.sysconf("SC_CLK_TCK") / terms.seconds
        said, _ = traffic.communicate(timeout=terms.seconds + 60)
    measured.traffic = json.loads(said)


def _traffic(terms: Terms, port: int, rate: float) -> subprocess.Popen[str]:
    options = {"port": port, "rate": rate, "seconds": terms.seconds, "customers": terms.customers}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with on_cores([terms.cores[1]]):
        return subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, "-m", "loadtests.callbacks.traffic", *words],
            stdout=subprocess.PIPE,
            text=True,
        )


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def move(pid: int, cores: list[int]) -> None:
    """Every thread of a process to these cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def _ticks(pid: int) -> int:
    """Processor time that a process has used, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _idle(core: int) -> int:
    """How long a core had nothing to do, in clock ticks: idle, and waiting for a disk."""
    lines = Path("/proc/stat").read_text().splitlines()
    fields = next(line for line in lines if line.startswith(f"cpu{core} ")).split()
    return int(fields[4]) + int(fields[5])


def _drains(ledger: Path) -> int:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        [count] = connection.execute("select count(*) from drain").fetchone()
        return int(count)


def _announced(folder: Path, name: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / "var" / "run" / f"{name}.json").read_text())
    return said


def _configuration(upstream: str, terms: Terms) -> dict[str, Any]:
    listen = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}
    sold = [{"product_id": "TOKENS", "routes": ["chat"], "meter": "tokens_total"}]
    known = [
        {"id": name, "keys": [key], "instances": [{"id": f"i-{name}", "product": "TOKENS"}]}
        for name, key in customers(terms.customers)
    ]
    return {
        "gateway": dict(listen),
        "control": dict(listen),
        "routes": [{"name": "chat", "path": "/v1", "upstream": [upstream]}],
        "products": sold,
        "customers": known,
        "koogallery": {"access_key": KEY},
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", default=Terms.seconds, show_default=True)
@click.option("--rate", default=Terms.rate, show_default=True, help="Callbacks a second.")
@click.option("--share", default=Terms.share, show_default=True, help="Of the gateway's maximum.")
@click.option("--customers", "count", default=Terms.customers, show_default=True)
def main(seconds: int, rate: float, share: float, count: int) -> None:
    """Callbacks beside a busy gateway; exit 1 when their p99 is 200 ms or more, or one failed.

    \b
    Example:
      python -m loadtests.callbacks --seconds 60
    """
    if (os.cpu_count() or 1) < 2 or which("wrk") is None:
        raise click.ClickException("this needs two cores, and wrk to find the gateway's maximum")
    click.echo(f"load before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder), Terms(seconds, rate, share, count))
    for line in measured.lines():
        click.echo(line)
    sys.exit(1 if measured.called.wrong or measured.p99_s >= _LIMIT_S else 0)
