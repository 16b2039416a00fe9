import csv
import io
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet
from sqlalchemy import insert

from billing_sync.models import UsageRecord, UsageWindow
from billing_sync.store import ledger
from billing_sync.store.engine import open_engine, reading, sqlite_url, writing
from billing_sync.store.exporting import Wanted, records, usage
from metering.windows import HOUR_MS
from tallygate.config import load
from tallygate.exporting.columns import RECORDS, REQUESTS, USAGE, Row, record_row, request_rows
from tallygate.exporting.csv_writing import write_csv
from tallygate.exporting.export_command import export
from tallygate.exporting.parquet_writing import write_parquet
from tallygate.exporting.requests import requests
from tallygate.reconciliation.tables import hour, time
from tests.fakes import Ids
from tests.installations import configuration, write
from tests.tallygate.site import HOUR, START, Site

pytestmark = pytest.mark.anyio

ROW: Row = ("sn", "i", "a", "P", "m", 0, 1000, 2000, 5, 7, Decimal("0.1000"), "", 0, "sent", "", "")


async def used(site: Site) -> None:
    """Two customers, two hours."""
    for customer in ("a", "b"):
        site.buy(f"i-{customer}", customer)
    for tokens in (1000, 1234):
        for customer in ("a", "b"):
            site.call(customer=customer, instance=f"i-{customer}", tokens=tokens)
        await site.flush()
        await site.drain()
        site.clock.advance(ms=HOUR_MS)
        site.close()


def rows(site: Site, wanted: Wanted = Wanted()) -> list[dict[str, str]]:  # noqa: B008  (a tuple)
    with reading(site.engine) as session:
        file = io.StringIO()
        write_csv(RECORDS, map(record_row, records(session, wanted)), file)
    return list(csv.DictReader(io.StringIO(file.getvalue())))


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+1", "-1", "\uff1dcmd", "\t=1", "\n=1"])
def test_formulas_are_text(text: str) -> None:
    """Whoever opens a file in a spreadsheet runs nothing that a buyer chose; numbers stay numbers."""
    file = io.StringIO()
    minus = Decimal("-0.1000")
    write_csv(RECORDS, [("sn", text, *ROW[2:8], -5, 7, minus, *ROW[11:])], file)
    (found,) = csv.DictReader(io.StringIO(file.getvalue(), newline=""))
    assert found["instance_id"] == f"'{text}"
    assert (found["quantity"], found["usage_value"]) == ("-5", "-0.1000")


async def test_records_are_exported_as_they_are(site: Site) -> None:
    """Exact values, times that can be read, oldest first."""
    await used(site)
    found = rows(site)
    assert [row["usage_value"] for row in found] == ["2.0000", "2.0000", "2.4680", "2.4680"]
    assert found[0]["begin_time"] == hour(HOUR)
    assert {row["state"] for row in found} == {"pending"}
    assert sum(int(row["quantity"]) for row in found) == 4 * (1000 + 1234)


async def test_a_time_and_a_customer_are_chosen(site: Site) -> None:
    """The beginning decides."""
    await used(site)
    second = START + HOUR_MS
    assert len(rows(site, Wanted(from_ms=second))) == 2
    assert len(rows(site, Wanted(to_ms=second))) == 2
    (row,) = rows(site, Wanted(from_ms=second, customer_id="b"))
    assert (row["instance_id"], row["usage_value"]) == ("i-b", "2.4680")


async def test_usage_and_requests_are_exported(site: Site) -> None:
    """Both add up to the same."""
    await used(site)
    with reading(site.engine) as session:
        booked = list(usage(session, Wanted(customer_id="a")))
    assert [row.origin for row in booked] == sorted(row.origin for row in booked)
    file = io.StringIO()
    entries = requests(site.journal, Wanted(customer_id="a"))
    count = write_csv(REQUESTS, (r for entry in entries for r in request_rows(entry)), file)
    found = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert len(found) == count == 2 * 3
    charged = [row for row in found if row["instances"]]
    assert {row["instances"] for row in charged} == {'["i-a"]'}
    used_by_i = sum(row.quantity for row in booked if row.instance_id == "i-a")
    assert used_by_i == sum(int(row["quantity"]) for row in charged) == 2 * (1000 + 1234)


def test_parquet_holds_decimals_and_times(tmp_path: Path) -> None:
    """No float is in between."""
    path = tmp_path / "records.parquet"
    largest = Decimal("99999999.9999")
    with path.open("wb") as file:
        assert write_parquet(RECORDS, [ROW, (*ROW[:10], largest, *ROW[11:])], file) == 2
    table = parquet.read_table(path)
    assert str(table.schema.field("usage_value").type) == "decimal128(18, 4)"
    assert str(table.schema.field("begin_time").type) == "timestamp[ms, tz=UTC]"
    assert table["usage_value"].to_pylist() == [Decimal("0.1000"), largest]
    assert time(int(table["end_time"].to_pylist()[0].timestamp()) * 1000) == time(1000)
    assert table["quantity"].to_pylist() == [5, 5]


def test_nothing_is_a_table_too(tmp_path: Path) -> None:
    """With its columns."""
    path = tmp_path / "none.parquet"
    with path.open("wb") as file:
        assert write_parquet(USAGE, [], file) == 0
    assert parquet.read_table(path).column_names == [column.name for column in USAGE]


def test_memory_does_not_grow_with_the_export(tmp_path: Path) -> None:
    """They pass through."""

    def many() -> Iterator[Row]:
        for _ in range(20_000):
            yield ROW

    with (tmp_path / "rows.csv").open("w", newline="") as file:
        tracemalloc.start()
        assert write_csv(RECORDS, many(), file) == 20_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1 << 20


async def test_the_ledger_is_streamed(site: Site) -> None:
    """Rows that were passed on are forgotten."""
    some = {"customer_id": "a", "route": "r", "meter": "m", "grade": "exact", "origin": HOUR}
    columns: Any = UsageWindow.__table__  # type: ignore[attr-defined]  # SQLModel hides it
    with writing(site.engine) as session:
        session.execute(
            insert(columns),
            [
                {**some, "window": HOUR, "instance_id": f"i{n}", "mark": "", "partition": 0,
                 "quantity": 1, "recorded": 0}
                for n in range(8000)
            ],
        )  # fmt: skip
    with reading(site.engine) as session:
        found = usage(session, Wanted())
        next(found)
        tracemalloc.start()
        assert sum(1 for _ in found) == 7999
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(session.identity_map) < 2000
    assert peak < 6 << 20


def invoke(path: Path, *words: str) -> Result:
    return CliRunner().invoke(export, [*words, "-c", str(path)])


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("everything",),
        ("records", "--format", "xml"),
        ("records", "--format", "parquet"),
        ("records", "--from", "2026-01-02", "--to", "2026-01-01"),
    ],
)
def test_wrong_usage_is_two(words: tuple[str, ...], tmp_path: Path) -> None:
    """Nothing is written."""
    result = invoke(write(tmp_path, configuration("http://127.0.0.1:1")), *words)
    assert result.exit_code == 2, result.output
    assert [entry.name for entry in tmp_path.iterdir()] == ["tallygate.yaml"]


def test_what_cannot_be_written_is_one_line(tmp_path: Path, site_on_disk: Path) -> None:
    """And leaves no half file behind."""
    result = invoke(site_on_disk, "records", "-o", str(tmp_path / "no" / "such" / "file.csv"))
    assert result.exit_code == 1
    assert "cannot be written: No such file or directory" in result.output
    done = invoke(site_on_disk, "records", "-o", str(tmp_path / "file.csv"))
    assert done.exit_code == 0, done.output
    assert done.output == f"1 rows in {tmp_path / 'file.csv'}\n"
    assert invoke(site_on_disk, "records").stdout == (tmp_path / "file.csv").read_text()
    assert not list(tmp_path.glob(".*part"))


@pytest.fixture
def site_on_disk(tmp_path: Path) -> Path:
    """A configuration whose ledger has one record."""
    path = write(tmp_path, configuration("http://127.0.0.1:1"))
    config = load(path, {})
    config.data_dir.mkdir()
    engine = open_engine(sqlite_url(config.data_dir / "ledger.db"))
    ledger.set_up(engine, config.partitions, Ids())
    with writing(engine) as session:
        session.add(
            UsageRecord(
                metering_sn="sn",
                instance_id="i",
                customer_id="a",
                product_id="P",
                meter="m",
                begin=START,
                end=START + HOUR_MS,
                recorded_at=START,
                quantity=1,
                value="1.0000",
                window=HOUR,
            )
        )
    engine.dispose()
    return path
