"""`tallygate recover` as it is typed: on a ledger in a file, with a real Redis or without one."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlmodel import select

from billing_sync.models import UsageRecord
from billing_sync.push_entries import Claimed, Logged, Settled
from billing_sync.push_log import PushLog
from billing_sync.recovery import Recovered
from billing_sync.store import stops
from billing_sync.store.engine import open_engine, reading, sqlite_url, writing
from metering.embedded import EmbeddedValkey
from metering.windows import HOUR_MS
from tallygate.recover import recover
from tallygate.recovering import told

START = 500_000 * HOUR_MS
RECORD = Logged(
    metering_sn="sn-1",
    instance_id="inst-1",
    customer_id="cust-1",
    product_id="P",
    meter="requests",
    begin=START,
    end=START + HOUR_MS,
    recorded_at=START + HOUR_MS,
    quantity=7,
    value="7.0000",
    unit=1,
    relate_pkg_instance="",
    window=500_000,
    origins="[[500000,7]]",
)


class Place:
    """A configuration and its data_dir."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "var"
        self.config = folder / "tallygate.yaml"
        self.config.write_text(f"data_dir: {self.data_dir}\nredis: embedded\npartitions: 2\n")
        self.log = PushLog(self.data_dir / "push")

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(recover, ["-c", str(self.config), *words])

    def states(self) -> dict[str, str]:
        engine = open_engine(sqlite_url(self.data_dir / "ledger.db"))
        with reading(engine) as session:
            found = dict(session.exec(select(UsageRecord.metering_sn, UsageRecord.state)).all())
        engine.dispose()
        return found

    def stop(self, reason: str) -> None:
        engine = open_engine(sqlite_url(self.data_dir / "ledger.db"))
        with writing(engine) as session:
            stops.stop(session, reason, START)
        engine.dispose()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """With its Redis running."""
    place = Place(tmp_path)
    place.data_dir.mkdir()
    with EmbeddedValkey(place.data_dir):
        yield place


def test_nothing_to_recover(place: Place) -> None:
    """Exit code 1 and a line that says why; nothing is written over."""
    for _ in range(2):
        result = place.run()
        assert (result.exit_code, "nothing to recover" in result.output) == (1, True)
        assert "Traceback" not in result.output


def test_put_back_and_said(place: Place) -> None:
    """What was put back, what cannot be known, and that billing goes on; a second time there is
    nothing left to do."""
    place.log.append(Claimed("c1", START, (RECORD,)), durable=True)
    place.log.append(Settled("c1", START + 5, "accepted", ("sn-1",)), durable=False)
    result = place.run()
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "the ledger was set back: the push log holds batches unknown to the ledger",
        "put back: 1 usage records of 1 batches, 2027-01-15T08:00:00Z to 2027-01-15T09:00:00Z; "
        "1 were accepted by the marketplace, 0 are pushed again as they were",
        "still to come again from the lanes: 7 meter units of usage that is recorded already",
        "not known here: instance inst-1, bought after the backup",
        "not known here: purchases, renewals, freezes and releases since the backup; compare the "
        "instances with the marketplace's",
        "recording and pushing go on",
    ]
    assert place.states() == {"sn-1": "sent"}
    assert place.run().exit_code == 1


def test_for_scripts(place: Place) -> None:
    """One JSON object on standard output."""
    place.log.append(Claimed("c1", START, (RECORD,)), durable=True)
    result = place.run("--json")
    said = json.loads(result.stdout)
    assert (said["sent"], said["pending"], said["ahead"]) == (0, 1, 7)
    assert said["unknown_instances"] == ["inst-1"]


def test_what_redis_knows_is_asked_first(place: Place) -> None:
    """Right after a restore nobody has found it out yet: the command does, and lifts it at once, so
    that the control plane need not be told twice."""
    ledger, backup = place.data_dir / "ledger.db", place.data_dir / "backup.db"
    assert place.run().exit_code == 1  # the first start
    with closing(sqlite3.connect(ledger)) as one, closing(sqlite3.connect(backup)) as other:
        one.backup(other)
        one.execute("update partition set epoch = 'x' || id")
        one.execute(
            "insert into epoch (id, partition, at, reason) select epoch, id, 0, '' from partition"
        )
        one.commit()
    assert place.run().exit_code == 1  # Redis hears of the new epochs
    for suffix in ("-wal", "-shm"):
        ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup, ledger)
    result = place.run()
    assert result.exit_code == 0, result.output
    assert "Redis names an epoch of partition 0 that the ledger has never seen" in result.output
    assert "nothing, the push log holds no record that the ledger lacks" in result.output
    assert place.run().exit_code == 1


def test_without_redis_it_is_said_and_done(tmp_path: Path) -> None:
    """What the log tells is enough; the question is asked again by the control plane."""
    place = Place(tmp_path)
    assert place.run().exit_code == 1
    place.stop("found before Redis went away")
    result = place.run()
    assert result.exit_code == 0, result.output
    assert "not asked what Redis knows" in result.output
    assert "found before Redis went away" in result.output


def test_a_damaged_log_is_refused_unless_told(place: Place) -> None:
    """One line that says which and what to do."""
    for claim in ("c1", "c2"):
        place.log.append(Claimed(claim, START, ()), durable=True)
    (file,) = place.log.folder.glob("*.jsonl")
    file.write_bytes(file.read_bytes().replace(b"c1", b"cx", 1))
    result = place.run()
    assert (result.exit_code, "--pass-over-damage" in result.output) == (1, True)
    assert f"{file.name}:1" in result.output
    result = place.run("--pass-over-damage")
    assert result.exit_code == 0
    assert "1 damaged lines" in result.output


def test_a_wrong_configuration(tmp_path: Path) -> None:
    """Is wrong usage, not a finding."""
    result = CliRunner().invoke(recover, ["-c", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2


def test_help_has_an_example() -> None:
    """As every command's."""
    result = CliRunner().invoke(recover, ["--help"])
    assert "  tallygate recover -c tallygate.yaml" in result.output


def test_all_that_can_be_unknown_is_said() -> None:
    """A log that begins too late, and more instances than fit on a screen."""
    many = [f"i{number}" for number in range(25)]
    recovered = Recovered("reason", 2, 1, 1, 0, 0, 0, gap=True, unknown_instances=many)
    lines = list(told(recovered))
    assert "not known here: 5 more instances" in lines
    assert any("before the push log begins" in line for line in lines)
    assert not any("lanes" in line for line in lines)
