import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import anyio
import pytest
from sqlalchemy import update

from billing_sync.models import UsageRecord
from billing_sync.store.engine import writing
from billing_sync.store.reconciling import Reach
from metering.windows import HOUR_MS
from tallygate.daily_reports import AFTER_MS, DAY_MS, date_of, keep_reported, lacking, name_of
from tallygate.reconciliation.daily import NotOver, days_asked, write_day
from tallygate.reconciliation.report_signing import private_key, public_text, verify
from tests.tallygate.site import HOUR, Site

pytestmark = pytest.mark.anyio

DAY = HOUR // 24  # the day of the site's first hour
OVER = (DAY + 1) * DAY_MS


def told(_: int) -> None:
    """Nobody listens."""


def test_a_day_lacks_its_report_once_it_is_over(tmp_path: Path) -> None:
    """And closed, and late enough for its records to be taken; nobody reports before the first use."""
    closed = Reach(HOUR, OVER)
    assert lacking(tmp_path, closed, OVER + AFTER_MS) == [DAY]
    assert lacking(tmp_path, closed, OVER + AFTER_MS - 1) == []
    assert lacking(tmp_path, Reach(HOUR, OVER - HOUR_MS), OVER + DAY_MS) == []
    assert lacking(tmp_path, Reach(None, OVER), OVER + DAY_MS) == []
    later = OVER + 3 * DAY_MS
    assert lacking(tmp_path, Reach(HOUR, later), later + AFTER_MS) == [*range(DAY, DAY + 4)]
    (tmp_path / f"{name_of(DAY + 1)}.sig").touch()
    (tmp_path / name_of(DAY + 2)).touch()  # not signed: it was not finished
    found = lacking(tmp_path, Reach(HOUR, later), later + AFTER_MS)
    assert found == [DAY, DAY + 2, DAY + 3]


def test_only_a_week_is_made_up(tmp_path: Path) -> None:
    """Of older days the journals may be gone."""
    later = OVER + 30 * DAY_MS
    assert lacking(tmp_path, Reach(HOUR, later), later + AFTER_MS) == [*range(DAY + 24, DAY + 31)]


async def used(site: Site) -> None:
    site.buy("i")
    site.buy("j", "b")
    site.call(instance="i", tokens=1000)
    await site.flush()
    await site.drain()
    site.clock.advance(ms=2 * DAY_MS)
    site.call(customer="b", instance="j", tokens=1000)
    await site.flush()
    await site.drain()
    site.close()


async def test_a_day_is_written_and_signed(site: Site) -> None:
    """Canonical JSON with the instances of that day, and nothing hidden beside it."""
    await used(site)
    key = private_key(site.folder)
    folder = site.folder / "reports"
    written = await write_day(site.stores, DAY, folder, key, told)
    assert written.exact
    assert sorted(path.name for path in folder.glob("reconciliation-*")) == [
        name_of(DAY),
        f"{name_of(DAY)}.sig",
    ]
    verify(written.path, public_text(key))
    text = written.path.read_text("ascii")
    said = json.loads(text)
    assert text == json.dumps(said, sort_keys=True, separators=(",", ":")) + "\n"
    assert said["verdict"] == {"counted": True, "exact": True, "settled": True}
    assert (said["date"], said["version"]) == (date_of(DAY), 1)
    assert [each["instance_id"] for each in said["instances"]] == ["i"]
    assert said["instances"][0]["hours"][0]["used"] == 2000


async def test_the_same_day_gives_the_same_report(site: Site) -> None:
    """But for the time at which it was made."""
    await used(site)
    key = private_key(site.folder)
    one = await write_day(site.stores, DAY, site.folder / "one", key, told)
    other = await write_day(site.stores, DAY, site.folder / "other", key, told)
    assert one.path.read_bytes() == other.path.read_bytes()


async def test_a_report_that_was_cut_short_is_written_again(site: Site) -> None:
    """Between any two of its steps: what is there without its signature counts for nothing."""
    await used(site)
    key, folder = private_key(site.folder), site.folder / "reports"
    folder.mkdir()
    site.clock.advance(ms=DAY_MS)
    name = name_of(DAY)
    for left in ([f".{name}"], [f".{name}", f".{name}.sig"], [name, f".{name}.sig"]):
        for path in left:
            (folder / path).write_text("half")
        days = await anyio.to_thread.run_sync(days_asked, site.stores, folder, None)
        assert days[0] == DAY
        written = await write_day(site.stores, DAY, folder, key, told)
        verify(written.path, public_text(key))
        assert not (folder / f".{name}").exists()
        written.path.with_name(f"{name}.sig").unlink()


async def test_a_report_that_is_not_exact_says_so(site: Site) -> None:
    """And is signed all the same."""
    await used(site)
    with writing(site.engine) as session:
        session.execute(update(UsageRecord).values(value="7.0000"))
    key = private_key(site.folder)
    written = await write_day(site.stores, DAY, site.folder, key, told)
    assert not written.exact
    said = json.loads(written.path.read_bytes())
    assert said["verdict"] == {"counted": True, "exact": False, "settled": False}
    verify(written.path, public_text(key))


async def test_a_day_that_is_not_over_has_no_report(site: Site) -> None:
    """Nor one whose last hour is not closed."""
    with pytest.raises(NotOver, match=f"{date_of(DAY)} is not closed yet"):
        days_asked(site.stores, site.folder, datetime.fromisoformat(date_of(DAY)))


async def test_old_reports_go(site: Site) -> None:
    """The folder does not grow for ever."""
    await used(site)
    folder = site.folder / "reports"
    folder.mkdir()
    for day in range(DAY - 500, DAY):
        (folder / name_of(day)).touch()
        (folder / f"{name_of(day)}.sig").touch()
    await write_day(site.stores, DAY, folder, private_key(site.folder), told)
    assert len(list(folder.glob("reconciliation-*"))) == 800
    assert (folder / name_of(DAY)).exists()


async def test_the_control_plane_sees_to_it(site: Site) -> None:
    """It starts a process when a report lacks, and only then."""
    await used(site)
    folder = site.folder / "reports"
    site.clock.advance(ms=DAY_MS)
    started, asked = [], anyio.Event()

    def start() -> "subprocess.Popen[bytes]":
        started.append(1)
        asked.set()
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])

    async with anyio.create_task_group() as group:
        group.start_soon(keep_reported, folder, site.engine, site.clock, start)
        await asked.wait()
        group.cancel_scope.cancel()
    assert started == [1]
