"""`tallygate records` as it is typed: what is listed, what is decided, what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from billing_sync.models import UsageRecord
from billing_sync.push_log import PushLog
from billing_sync.store.engine import open_engine, reading, sqlite_url, writing
from metering.windows import HOUR_MS
from tallygate.records_command import records

START = 500_000 * HOUR_MS
SAID = ("--author", "ann", "--reason", "price mended")


class Place:
    """A configuration, and a ledger with a held record and a dead letter."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.engine = engine
        self.config = folder / "tallygate.yaml"
        self.config.write_text(f"data_dir: {folder / 'var'}\nredis: embedded\npartitions: 2\n")
        self.log = PushLog(folder / "var" / "push")
        with writing(engine) as session:
            session.add(self._record("sn-1", 0, state="held", error="far above the usual"))
            session.add(self._record("sn-2", 1, state="rejected", error="MKT.9001 not found"))
            session.add(self._record("sn-3", 2, state="sent"))

    def _record(self, serial: str, hour: int, *, state: str, error: str = "") -> UsageRecord:
        begin = START + hour * HOUR_MS
        return UsageRecord(
            metering_sn=serial,
            instance_id="i",
            customer_id="c",
            product_id="p",
            meter="requests",
            begin=begin,
            end=begin + HOUR_MS,
            recorded_at=begin + HOUR_MS,
            quantity=7,
            value="7.0000",
            window=500_000 + hour,
            state=state,
            error=error,
        )

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(records, [*words, "-c", str(self.config)])

    def state(self, serial: str) -> str:
        with reading(self.engine) as session:
            return session.get_one(UsageRecord, serial).state


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "var").mkdir()
    engine = open_engine(sqlite_url(tmp_path / "var" / "ledger.db"))
    yield Place(tmp_path, engine)
    engine.dispose()


def test_listed(place: Place) -> None:
    """The oldest first, with the words that belong to it; by state, by instance, so many."""
    result = place.run("list")
    assert result.exit_code == 0, result.output
    first, *_ = result.output.splitlines()
    assert first == "sn-1  held       2027-01-15T08:00:00Z  i  7.0000  far above the usual"
    assert [line[:4] for line in result.output.splitlines()] == ["sn-1", "sn-2", "sn-3"]
    assert place.run("list", "--state", "rejected").output.startswith("sn-2")
    assert place.run("list", "--instance", "x").output == ""
    assert len(place.run("list", "--limit", "2").output.splitlines()) == 2


def test_listed_for_scripts(place: Place) -> None:
    """A JSON array; no secrets, no internals."""
    (row,) = json.loads(place.run("list", "--state", "rejected", "--json").stdout)
    assert (row["metering_sn"], row["error"], row["value"]) == (
        "sn-2",
        "MKT.9001 not found",
        "7.0000",
    )


def test_decided(place: Place) -> None:
    """Several at once, each said; kept in the push log with author and reason."""
    result = place.run("release", "sn-1", *SAID)
    assert (result.exit_code, result.output) == (0, "sn-1  pending\n")
    result = place.run("hold", "sn-1", *SAID)
    assert (result.exit_code, place.state("sn-1")) == (0, "held")
    result = place.run("reject", "sn-1", *SAID, "--json")
    assert json.loads(result.stdout) == [{"state": "rejected", "metering_sn": "sn-1"}]
    assert len(list(place.log.lines())) == 3


def test_what_cannot_be_done(place: Place) -> None:
    """Is said record by record, and the exit code is 1; the rest is done."""
    result = place.run("release", "sn-1", "sn-3", "stranger", *SAID)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "sn-1  pending",
        "sn-3  it is sent; release is for records that are held",
        "stranger  no usage record 'stranger'",
        "Error: 2 of 3 records: not done",
    ]


def test_too_old_to_be_pushed_again(place: Place) -> None:
    """The clock of this machine says so; nothing can be done about it."""
    with writing(place.engine) as session:
        row = session.get_one(UsageRecord, "sn-2")
        row.begin = 1_000
        session.add(row)
    result = place.run("retry", "sn-2", *SAID)
    assert (result.exit_code, "MKT.9004" in result.output) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--state", "lost"),
        ("release", *SAID),
        ("release", "sn-1", "--author", "ann"),
        ("release", "sn-1", "--reason", "x"),
        ("release", "sn-1", "--author", "ann", "--reason", "x" * 500),
    ],
)
def test_wrong_usage(place: Place, words: tuple[str, ...]) -> None:
    """Exit code 2, and nothing is done."""
    assert place.run(*words).exit_code == 2
    assert place.state("sn-1") == "held"
