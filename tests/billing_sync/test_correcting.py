"""Adjustments and assigned suspense on real SQL: netted, carried, billed once."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from billing_sync.correction_entries import Adjusted, Assigned
from billing_sync.correction_models import Adjustment, Assignment
from billing_sync.corrections import AdjustmentAsked
from billing_sync.errors import CorrectionRefused
from billing_sync.models import PackageUse, UsageWindow
from billing_sync.push_entries import entry_of, line_of
from metering.windows import HOUR_MS
from tests.billing_sync.books import HOUR, METER, START
from tests.billing_sync.correcting import Desk
from tests.billing_sync.pushing import log_of
from tests.databases import place_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


def corrections_in_log(desk: Desk) -> list[str]:
    """The ids of what stands in the push log."""
    lines = log_of(desk.books.engine).lines()
    return [line.entry.id for line in lines if isinstance(line.entry, Adjusted | Assigned)]


# --- adjustments ----------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", [500, -500])
def test_it_is_netted_into_the_next_record(desk: Desk, quantity: int) -> None:
    """The value says it; the quantity still says what was used."""
    desk.books.buy("i")
    desk.books.use("i", 2000)
    taken = desk.adjust(quantity)
    assert not taken.repeated
    desk.books.to_the_next_hour()
    desk.books.close()
    (record,) = desk.books.records()
    assert record.quantity == 2000
    assert Decimal(record.value) == Decimal(2000 + quantity) / 1000
    assert desk.carry() == 0


def test_below_zero_it_is_carried_until_usage_covers_it(desk: Desk) -> None:
    """No record says less than nothing."""
    desk.books.buy("i")
    desk.adjust(-2500)
    values = []
    for _ in range(3):
        desk.books.use("i", 1000)
        desk.books.to_the_next_hour()
        desk.books.close()
        values = [record.value for record in desk.books.records()]
    assert values == ["0.5000"]
    (record,) = desk.books.records()
    assert record.quantity == 3000
    assert desk.billed() + desk.carry() == desk.owed(3000 - 2500)


def test_in_billing_units(desk: Desk) -> None:
    """The row holds meter units."""
    desk.books.buy("i")
    asked = AdjustmentAsked("v", "i", "li", "because", value=Decimal("-1.5"))
    assert desk.corrector.adjust(asked).row.quantity == -1500
    assert desk.corrector.adjust(asked).repeated


def test_a_repeat_changes_nothing(desk: Desk) -> None:
    """And says so; the row keeps its first time."""
    desk.books.buy("i")
    first = desk.adjust(-5)
    desk.books.clock.advance(seconds=9)
    again = desk.adjust(-5)
    assert again.repeated
    assert again.row.at == first.row.at
    assert desk.carry() == desk.owed(-5)
    assert corrections_in_log(desk) == ["a1"]


@pytest.mark.parametrize(
    "other", [{"quantity": -6}, {"instance_id": "j"}, {"author": "wu"}, {"reason": "none"}]
)
def test_another_one_under_the_same_id_is_refused(desk: Desk, other: dict[str, str]) -> None:
    """Nothing is changed, and nothing logged."""
    desk.books.buy("i")
    desk.books.buy("j")
    desk.adjust(-5)
    with pytest.raises(CorrectionRefused, match="taken by a correction"):
        desk.adjust(**({"quantity": -5} | other))  # type: ignore[arg-type]
    assert len(desk.books.all(Adjustment)) == 1
    assert corrections_in_log(desk) == ["a1"]


def test_one_is_taken_back_by_its_opposite(desk: Desk) -> None:
    """Both rows stay."""
    desk.books.buy("i")
    desk.adjust(-500)
    desk.adjust(500, id="a2", reason="a1 was wrong")
    desk.books.use("i", 2000)
    desk.books.to_the_next_hour()
    desk.books.close()
    assert [record.value for record in desk.books.records()] == ["2.0000"]
    assert len(desk.books.all(Adjustment)) == 2


def test_what_is_refused_leaves_no_trace(desk: Desk) -> None:
    """Unknown, of size nought, or released with its last record made."""
    with pytest.raises(CorrectionRefused, match="no instance"):
        desk.adjust(5)
    desk.books.buy("i")
    desk.books.use("i", 1000)
    desk.books.release("i")
    with pytest.raises(CorrectionRefused, match="changes nothing"):
        desk.adjust(0, id="zero")
    desk.adjust(-5, id="while its last record is to come")
    desk.books.clock.advance(seconds=10)
    desk.books.cut(released_only=True)
    (record,) = desk.books.records()
    assert record.value == "0.9950"
    with pytest.raises(CorrectionRefused, match="last record"):
        desk.adjust(-5, id="after it")
    assert len(desk.books.all(Adjustment)) == 1
    assert len(corrections_in_log(desk)) == 1


def test_a_log_that_cannot_be_written_adjusts_nothing(desk: Desk) -> None:
    """What a set-back ledger could not learn again does not happen."""
    desk.books.buy("i")
    folder = log_of(desk.books.engine).folder
    folder.write_text("in the way")
    with pytest.raises(OSError, match="push"):
        desk.adjust(-5)
    assert desk.books.all(Adjustment) == []
    assert desk.carry() == 0
    folder.unlink()
    assert not desk.adjust(-5).repeated


# --- suspense -------------------------------------------------------------------------------


def test_what_matched_no_instance_is_in_suspense(desk: Desk) -> None:
    """By the hour it was used in, and with the drain that brought it."""
    desk.books.buy("i")
    desk.serve(70)
    desk.serve(30, "i")
    desk.serve(5, window=HOUR - 1)
    desk.serve(9, route="plain")
    assert desk.suspense() == {
        ("cust-1", "TOKENS", HOUR): (70, 0),
        ("cust-1", "TOKENS", HOUR - 1): (5, 0),
    }


def test_it_is_billed_once_when_it_is_assigned(desk: Desk) -> None:
    """With the present hour, marked, and by the hour it was used in."""
    desk.serve(3000)
    desk.books.to_the_next_hour()
    desk.books.close()
    desk.books.buy("i")
    taken = desk.assign()
    assert (taken.row.quantity, taken.row.window) == (3000, HOUR + 1)
    assert desk.suspense() == {("cust-1", "TOKENS", HOUR): (3000, 3000)}
    (row,) = [row for row in desk.books.all(UsageWindow) if row.instance_id]
    assert (row.mark, row.origin, row.window) == ("assigned", HOUR, HOUR + 1)
    with pytest.raises(CorrectionRefused, match="there is no suspense"):
        desk.assign()
    desk.serve(500, "i")
    desk.books.to_the_next_hour()
    desk.books.close()
    (record,) = desk.books.records()
    assert (record.value, record.origins) == ("3.5000", f"[[{HOUR},3000],[{HOUR + 1},500]]")
    desk.books.audit()


def test_some_of_it(desk: Desk) -> None:
    """The oldest first, within the hours asked for, never more than is there."""
    desk.books.buy("i")
    for ago, quantity in ((3, 10), (2, 20), (1, 40)):
        desk.serve(quantity, window=HOUR - ago)
    with pytest.raises(CorrectionRefused, match="only 70"):
        desk.assign(71)
    assert desk.assign(15).row.quantity == 15
    assert desk.assign(first=HOUR - 1, end=HOUR).row.quantity == 40
    assert desk.suspense() == {
        ("cust-1", "TOKENS", HOUR - 3): (10, 10),
        ("cust-1", "TOKENS", HOUR - 2): (20, 5),
        ("cust-1", "TOKENS", HOUR - 1): (40, 40),
    }


def test_a_repeat_under_its_id_assigns_nothing(desk: Desk) -> None:
    """Also when more has come meanwhile; another one under it is refused."""
    desk.books.buy("i")
    desk.serve(10)
    assert not desk.assign(id="s1").repeated
    desk.serve(10)
    assert desk.assign(id="s1").repeated
    with pytest.raises(CorrectionRefused, match="another quantity"):
        desk.assign(4, id="s1")
    assert desk.suspense() == {("cust-1", "TOKENS", HOUR): (20, 10)}
    assert len(desk.books.all(Assignment)) == 1


def test_only_what_the_instance_could_have_been_charged_for(desk: Desk) -> None:
    """The product's meter, on its routes, of its customer."""
    desk.books.buy("i")
    desk.books.buy("c", "CALLS")
    desk.serve(4, meter="requests", route="plain")
    with pytest.raises(CorrectionRefused, match="no suspense"):
        desk.assign()
    with pytest.raises(CorrectionRefused, match="no suspense"):
        desk.assign(product_id="CALLS")
    with pytest.raises(CorrectionRefused, match="another customer"):
        desk.assign(customer_id="cust-2")
    assert desk.assign(instance_id="c").row.meter == "requests"


@pytest.mark.parametrize(("product_id", "bucket"), [("PACK", {}), ("STOP", {"overshoot": 2000})])
def test_packages_give_to_it_as_to_any_usage(
    desk: Desk, product_id: str, bucket: dict[str, int]
) -> None:
    """Their balance goes down with the assignment, not with the use."""
    desk.books.buy("i")
    desk.books.buy("pack", product_id, started=START - HOUR_MS)
    desk.serve(12_000)
    assert desk.books.all(PackageUse) == []
    desk.assign()
    given = {use.package_id: use.quantity for use in desk.books.all(PackageUse)}
    assert given["pack"] == 10_000
    desk.books.to_the_next_hour()
    desk.books.close()
    assert desk.books.buckets() == bucket
    desk.books.audit()


def test_what_records_carry_already_is_not_recorded_again(desk: Desk) -> None:
    """Usage put ahead by a recovery is set off against what is assigned anew."""
    from billing_sync.models import Ahead
    from billing_sync.store import ahead
    from billing_sync.store.engine import writing

    desk.books.buy("i")
    desk.serve(1000)
    with writing(desk.books.engine) as session:
        ahead.put(session, Ahead(instance_id="i", meter=METER, origin=HOUR, quantity=600))
    desk.assign()
    assert desk.books.all(Ahead) == []
    assert desk.books.unrecorded() == 400


# --- two at once, and what survives ----------------------------------------------------------


def test_two_processes_assign_it_once(desk: Desk) -> None:
    """However they overlap: each unit is charged once, and both are told what they did."""
    desk.books.buy("i")
    desk.serve(1000)
    where = place_of(desk.books.engine)
    module = "tests.billing_sync.correcting_process"
    both = [
        subprocess.Popen(
            [sys.executable, "-m", module, *where, "compete", name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    said = [process.communicate(timeout=60)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(int(done) for done, _ in said) == 20
    assert {adjusted for _, adjusted in said} == {"True", "False"}
    assert desk.suspense() == {("cust-1", "TOKENS", HOUR): (1000, 1000)}
    charged = sum(row.quantity for row in desk.books.all(UsageWindow) if row.instance_id == "i")
    assert charged == sum(row.quantity for row in desk.books.all(Assignment)) == 1000
    assert desk.carry() == desk.owed(-7)


def test_an_entry_is_a_line_of_the_push_log(desk: Desk) -> None:
    """With everything that a ledger which lost it needs."""
    desk.books.buy("i")
    desk.serve(10)
    desk.adjust(-5)
    desk.assign(id="s1")
    entries = [line.entry for line in log_of(desk.books.engine).lines()]
    assert [type(entry) for entry in entries] == [Adjusted, Assigned]
    for entry in entries:
        assert entry is not None
        assert entry_of(line_of(entry)) == entry
