"""What a scrape costs: of a ledger with very many customers, and of a gateway at line rate.

python -m loadtests.scraping
"""

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

import click
import httpx
from sqlalchemy import Engine, insert, update
from sqlmodel import SQLModel

from billing_sync.metric_models import CustomerTotal, UsageTotal
from billing_sync.models import CustomerRow, Instance, Meta, Partition, UsageWindow
from billing_sync.package_models import PackageTotal
from billing_sync.store import ledger
from billing_sync.store.engine import open_engine, sqlite_url
from loadtests.callbacks.traffic import SCENARIO
from loadtests.compare import load
from loadtests.compare.scenarios import Scenario, customers
from loadtests.serving import first_line, process
from metering.clock import SystemClock
from metering.partitions import partition_of
from metering.windows import HOUR_MS

METERS: Final = ("requests", "bytes_in", "bytes_out", "tokens_in", "tokens_out", "tokens_total")
PARTITIONS: Final = 64
_LIMIT_S: Final = 0.2
_LIMIT_BYTES: Final = 1 << 20
_LIMIT_SHARE: Final = 0.01
_BATCH: Final = 20_000
_FLOOD: Final = Scenario("many", "JSON of many customers", customers=2)
_USED: Final = 1000


@dataclass
class Measured:
    """Of one listener: seconds and bytes of each scrape, the first one apart."""

    first_s: float
    seconds: list[float] = field(default_factory=list)
    size: int = 0

    @property
    def within(self) -> bool:
        """Nearly all scrapes: one may meet what else the machine does."""
        return sorted(self.seconds)[len(self.seconds) * 9 // 10] <= _LIMIT_S and (
            self.size <= _LIMIT_BYTES
        )

    def line(self, what: str) -> str:
        """For people."""
        times = f"median {median(self.seconds) * 1000:.0f} ms, slowest {max(self.seconds) * 1000:.0f} ms"
        return (
            f"{what}: {times}, the first {self.first_s * 1000:.0f} ms; {self.size / 1024:.0f} KiB"
        )


def fill(engine: Engine, count: int) -> None:
    """So many customers, each with an instance and a package, in the middle of an hour."""
    now_ms = SystemClock().now_ms()
    hour = now_ms // HOUR_MS
    ledger.set_up(engine, PARTITIONS, (f"{n:032x}" for n in range(10**6)))
    names = [f"customer-{n:06}" for n in range(count)]
    with engine.begin() as connection:
        connection.execute(update(Partition).values(closed_through=hour * HOUR_MS))
        connection.execute(insert(Meta).values(key="customer_totals", value=str(hour)))
    _insert(engine, CustomerRow, ({"id": name, "name": name} for name in names))
    _insert(engine, Instance, (row for name in names for row in _bought(name, now_ms)))
    _insert(engine, UsageWindow, (row for name in names for row in _used(name, hour)))
    lives = ({"customer_id": name, "meter": m, "quantity": 10**6} for name in names for m in METERS)
    _insert(engine, CustomerTotal, lives)
    given = ({"package_id": f"p-{n}", "instance_id": f"i-{n}"} for n in names)
    _insert(engine, PackageTotal, (row | {"item": "TOKENS", "quantity": 500} for row in given))
    total = count * (10**6 + _USED)
    sums = ({"partition": 0, "meter": m, "grade": "exact", "quantity": total} for m in METERS)
    _insert(engine, UsageTotal, sums)


def _bought(name: str, now_ms: int) -> Iterator[dict[str, Any]]:
    columns = {"customer_id": name, "status": "active", "started": now_ms - HOUR_MS}
    yield {"id": f"i-{name}", "product_id": "TOKENS", "is_package": False, **columns}
    yield {"id": f"p-{name}", "product_id": "PACK", "is_package": True, **columns}


def _used(name: str, hour: int) -> Iterator[dict[str, Any]]:
    row = {"window": hour, "origin": hour, "customer_id": name, "route": "chat", "grade": "exact"}
    row |= {"partition": partition_of(name, PARTITIONS), "quantity": _USED}
    for meter in METERS:
        yield row | {"instance_id": "", "meter": meter}
    yield row | {"instance_id": f"i-{name}", "meter": "tokens_total"}


def _insert(engine: Engine, table: type[SQLModel], rows: Iterable[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []
    with engine.begin() as connection:
        for row in rows:
            batch.append(row)
            if len(batch) == _BATCH:
                connection.execute(insert(table), batch)
                batch = []
        if batch:
            connection.execute(insert(table), batch)


def scrape(url: str, times: int, pause_s: float) -> Measured:
    """So many times in a row, as Prometheus asks: with OpenMetrics accepted."""
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    with httpx.Client(trust_env=False, timeout=60, headers=accept) as http:

        def once() -> tuple[float, int]:
            begun = time.perf_counter()
            reply = http.get(url)
            reply.raise_for_status()
            return time.perf_counter() - begun, len(reply.content)

        measured = Measured(once()[0])
        for _ in range(times):
            time.sleep(pause_s)
            seconds, measured.size = once()
            measured.seconds.append(seconds)
    return measured


def cpu_of_a_scrape(pid: int, url: str, seconds: float) -> float:
    """Processor seconds that one scrape costs the process, besides what it uses anyway."""
    idle = _used_by(pid, lambda: time.sleep(seconds))
    times = 0

    def scraping() -> None:
        nonlocal times
        end = time.monotonic() + seconds
        with httpx.Client(trust_env=False) as http:
            while time.monotonic() < end:
                http.get(url).raise_for_status()
                times += 1
                time.sleep(0.05)

    busy = _used_by(pid, scraping)
    return max(busy - idle, 0.0) / times


def _until_idle(pid: int) -> None:
    while _used_by(pid, lambda: time.sleep(2)) > 0.5:
        pass


def _used_by(pid: int, during: Callable[[], None]) -> float:
    before = _ticks(pid)
    during()
    return (_ticks(pid) - before) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _configuration(upstream: str) -> dict[str, Any]:
    listen = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}
    tokens = {"product_id": "TOKENS", "routes": ["chat"], "meter": "tokens_total"}
    pack = {"product_id": "PACK", "package": {"items": [{"of": "TOKENS", "quota": 1000}]}}
    known = [{"id": name, "keys": [key]} for name, key in customers(2)]
    return {
        "gateway": dict(listen),
        "control": dict(listen),
        "routes": [{"name": "chat", "path": "/v1", "upstream": [upstream]}],
        "products": [tokens, pack],
        "customers": known,
    }


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def _announced(folder: Path, name: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / "var" / "run" / f"{name}.json").read_text())
    return said


@contextmanager
def installation(folder: Path, count: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Where gateway and control plane of a full installation are, while the block lasts."""
    (folder / "var").mkdir()
    engine = open_engine(sqlite_url(folder / "var" / "ledger.db"))
    fill(engine, count)
    engine.dispose()
    upstream, path = _free_address(), folder / "tallygate.yaml"
    answering = ("loadtests.compare.origin", "--listen", upstream, "--answering", "json")
    path.write_text(json.dumps(_configuration(f"http://{upstream}")))
    words = ("tallygate", "serve", "-c", str(path))
    with (
        process(*answering, log=folder / "origin.log"),
        process(*words, log=folder / "serve.log") as served,
    ):
        if not first_line(served):
            raise click.ClickException((folder / "serve.log").read_text())
        gateway, control = (_announced(folder, name) for name in ("gateway", "control"))
        _until_idle(int(control["pid"]))  # it tells Redis of all these customers first
        yield gateway, control


def measure(folder: Path, count: int, scrapes: int, seconds: float) -> Iterator[tuple[str, bool]]:
    """What is found, line by line, and whether it is within its bound."""
    with installation(folder, count) as (gateway, control):
        url = f"{control['admin']}/metrics"
        found = scrape(url, scrapes, 0.5)
        yield found.line(f"control plane, {count:,} customers"), found.within
        cost = cpu_of_a_scrape(int(control["pid"]), url, seconds)
        yield f"one scrape costs it {cost * 1000:.0f} ms of processor time on the average", True
        port, url = urlsplit(gateway["public"]).port or 0, f"{gateway['admin']}/-/metrics"
        load.probe(SCENARIO, port)
        rate = load.flood(_FLOOD, port, 3, folder, [0, 1]).rate
        found = scrape(url, scrapes, 0.1)
        yield found.line("gateway"), found.within
        cost = cpu_of_a_scrape(int(gateway["pid"]), url, seconds)
        said = f"one scrape costs the gateway {cost * 1000:.1f} ms of processor time"
        yield (
            f"{said}: {cost:.2%} of its line rate ({rate:,.0f} calls a second) at one a second",
            (cost <= _LIMIT_SHARE),
        )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--customers", "count", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--scrapes", type=click.IntRange(1), default=20, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=10.0, show_default=True)
def main(count: int, scrapes: int, seconds: float) -> None:
    """Scrapes of a full installation; exit 1 above 200 ms, 1 MiB or 1 % of the line rate.

    \b
    Example:
      python -m loadtests.scraping --customers 10000
    """
    click.echo(f"load before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        within = True
        for line, well in measure(Path(folder), count, scrapes, seconds):
            click.echo(line if well else f"{line}  TOO MUCH")
            within = within and well
    raise SystemExit(0 if within else 1)


if __name__ == "__main__":
    main()
