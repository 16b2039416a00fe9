"""How fast windows close: fills a new ledger with usage and turns it into records.

python -m loadtests.closing --instances 100000
"""

import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click
from sqlalchemy import Engine, insert
from sqlmodel import SQLModel

from billing_sync.closing import Closer
from billing_sync.store import ledger
from billing_sync.store.engine import open_engine, sqlite_url
from metering.catalogue import Package, PackageItem, Product, catalogue
from metering.partitions import partition_of
from metering.windows import HOUR_MS

_HOUR: Final = 495_000  # a window of the past
_BATCH: Final = 20_000
_GRADES: Final = ("exact", "partial")
CATALOGUE: Final = catalogue(
    [
        Product(product_id="TOKENS", meter="tokens_total", unit=1_000_000),
        Product(
            product_id="STOP",
            package=Package(
                items=[PackageItem(of="TOKENS", quota=Decimal(10**6))], stop_before_excess=True
            ),
        ),
    ]
)


@click.command()
@click.option("--instances", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--hours", type=click.IntRange(1), default=1, show_default=True)
@click.option("--partitions", type=click.IntRange(1), default=64, show_default=True)
@click.option("--rows", type=click.IntRange(1, len(_GRADES)), default=1, help="Usage rows an hour.")
@click.option("--packages", type=click.FloatRange(0, 1), default=0.0, help="Share with a package.")
@click.option("--database", help="URL of an empty database; else SQLite in a new folder.")
def main(database: str | None, partitions: int, hours: int, **size: Any) -> None:
    """Close so many instance-hours; print how many a second.

    The first hour makes the remainders, so it is made in addition and shown by itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(database or sqlite_url(Path(folder) / "ledger.db"))
        ledger.set_up(engine, partitions, (f"{n:032x}" for n in range(10**6)))
        _sell(engine, size["instances"], size["packages"])
        closer = Closer(engine, CATALOGUE)
        for windows in (range(_HOUR, _HOUR + 1), range(_HOUR + 1, _HOUR + 1 + hours)):
            _use(engine, windows, partitions, size)
            with _measured(size["instances"] * len(windows)):
                for partition in range(partitions):
                    _close(closer, partition, windows.stop)
        engine.dispose()


def _close(closer: Closer, partition: int, through: int) -> None:
    through_ms = through * HOUR_MS
    closer.close(partition, through_ms=through_ms, now_ms=through_ms + 130_000)


@contextmanager
def _measured(windows: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(
        f"{windows} windows in {wall:.2f} s ({cpu:.2f} s of this process): "
        f"{windows / wall:.0f} a second, {windows / cpu:.0f} a second of CPU; "
        f"{memory:.0f} MiB at most"
    )


def _sell(engine: Engine, instances: int, packages: float) -> None:
    started = (_HOUR - 10) * HOUR_MS
    shared = {"status": "active", "source": "koogallery", "started": started}
    rows = (
        {"id": f"inst-{n:08d}", "customer_id": f"cust-{n:08d}", "product_id": "TOKENS"}
        | shared
        | {"is_package": False}
        for n in range(instances)
    )
    _insert(engine, "instance", rows)
    given = range(int(instances * packages))
    rows = (
        {"id": f"pack-{n:08d}", "customer_id": f"cust-{n:08d}", "product_id": "STOP"}
        | shared
        | {"is_package": True}
        for n in given
    )
    _insert(engine, "instance", rows)


def _use(engine: Engine, windows: range, partitions: int, size: dict[str, Any]) -> None:
    rows = (
        {
            "window": window,
            "origin": window,
            "customer_id": f"cust-{n:08d}",
            "instance_id": f"inst-{n:08d}",
            "route": "chat",
            "meter": "tokens_total",
            "grade": grade,
            "partition": partition_of(f"cust-{n:08d}", partitions),
            "quantity": 1_000_000 + 7 * n + window,
        }
        for window in windows
        for n in range(size["instances"])
        for grade in _GRADES[: size["rows"]]
    )
    _insert(engine, "usage_window", rows)
    uses = (
        {
            "package_id": f"pack-{n:08d}",
            "instance_id": f"inst-{n:08d}",
            "window": window,
            "quantity": 1000,
        }
        for window in windows
        for n in range(int(size["instances"] * size["packages"]))
    )
    _insert(engine, "package_use", uses)


def _insert(engine: Engine, table: str, rows: Iterator[dict[str, Any]]) -> None:
    statement = insert(SQLModel.metadata.tables[table])
    batch: list[dict[str, Any]] = []
    with engine.begin() as connection:
        for row in rows:
            batch.append(row)
            if len(batch) == _BATCH:
                connection.execute(statement, batch)
                batch = []
        if batch:
            connection.execute(statement, batch)


if __name__ == "__main__":
    main()
