from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync import origins, records
from billing_sync.records import SCALE, Part
from billing_sync.store.balancing import Holding, InBucket, OfAhead, Recorded, Remains, Used
from metering.windows import HOUR_MS
from tallygate.reconciliation.balance import Balance, balance
from tallygate.reconciliation.terms import EVERYTHING, Span

HOUR = 500_000
METER = "tokens_total"
UNIT = 1000


@dataclass
class Books:
    """One instance's books, kept as closing keeps them."""

    used: list[Used] = field(default_factory=list)
    records: list[Recorded] = field(default_factory=list)
    buckets: list[InBucket] = field(default_factory=list)
    ahead: list[OfAhead] = field(default_factory=list)
    carry: Remains = field(default_factory=lambda: Remains("", 0, 0, ()))
    adjusted: int = 0
    assigned: int = 0
    source: str = "koogallery"

    def use(self, hour: int, quantity: int, *, billed: int = 0, mark: str = "") -> None:
        """Used, and recorded where it is billed."""
        window = billed or hour
        self.used.append(Used(METER, window, hour, mark, quantity, quantity))
        self.record(window, ((hour, quantity),))

    def record(self, window: int, new: origins.Origins) -> None:
        """What becomes of new usage: a record, or it waits."""
        quantity = origins.total(new)
        part = Part("", quantity, self.carry.quantity, self.carry.waiting)
        begin = window * HOUR_MS
        drafts = records.draft([part], begin=begin, end=begin + HOUR_MS, unit=UNIT)
        assert drafts is not None
        pool = origins.of([*new, *self.carry.origins])
        for draft in drafts.records:
            carried, pool = origins.split(pool, draft.quantity)
            serial = records.metering_sn("i", draft.begin, draft.end)
            said = (draft.begin, draft.end, draft.quantity, str(draft.value), UNIT, "", "sent")
            self.records.append(Recorded(serial, METER, window, *said, carried))
        rest = drafts.remainders[""]
        self.carry = Remains("", rest.carry, rest.waiting, pool)

    def holding(self) -> Holding:
        return Holding(
            "i",
            "a",
            "TOKENS",
            self.source,
            HOUR + 1000,
            self.used,
            self.records,
            [self.carry],
            self.buckets,
            self.ahead,
            self.adjusted,
            self.assigned,
        )

    def balance(self, span: Span = EVERYTHING) -> Balance:
        return balance(self.holding(), span)


quantities = st.lists(st.integers(1, 10**7), min_size=1, max_size=12)


def kept(amounts: list[int]) -> Books:
    books = Books()
    for number, quantity in enumerate(amounts):
        books.use(HOUR + number, quantity)
    return books


def kinds(found: Balance) -> list[str]:
    return [each.kind for each in found.differences]


@given(quantities)
def test_what_closing_writes_ties(amounts: list[int]) -> None:
    """Whatever was used, whatever remains."""
    found = kept(amounts).balance()
    assert found.differences == []
    assert found.difference == 0
    assert found.in_records + found.remainder == sum(amounts) * SCALE


@given(quantities, st.data())
def test_a_value_changed_by_a_hair_is_found(amounts: list[int], data: st.DataObject) -> None:
    """One ten-thousandth of a billing unit, in any record; the hours still tie."""
    books = kept([*amounts, 10**6])
    at = data.draw(st.integers(0, len(books.records) - 1))
    record = books.records[at]
    books.records[at] = record._replace(value=str(Decimal(record.value) + Decimal("0.0001")))
    found = books.balance()
    assert kinds(found) == ["value"]
    assert found.difference == found.differences[0].amount == UNIT


@given(quantities, st.data())
def test_a_lost_record_is_found(amounts: list[int], data: st.DataObject) -> None:
    """With its hours."""
    books = kept([*amounts, 10**6])
    gone = books.records.pop(data.draw(st.integers(0, len(books.records) - 1)))
    found = books.balance()
    assert {each.kind for each in found.differences} <= {"hours", "value"}
    off = {each.first: -each.amount // SCALE for each in found.differences if each.kind == "hours"}
    assert off == dict(gone.origins)


def test_two_errors_that_even_out_are_two() -> None:
    """The sum of the instance is right, its hours are not."""
    books = kept([5000, 5000])
    one, other = books.records
    books.records = [
        one._replace(quantity=4000, value="4.0000", origins=((HOUR, 4000),)),
        other._replace(quantity=6000, value="6.0000", origins=((HOUR + 1, 6000),)),
    ]
    found = books.balance()
    assert found.difference == 0
    assert [(each.first - HOUR, each.amount) for each in found.differences] == [
        (0, -1000 * SCALE),
        (1, 1000 * SCALE),
    ]


def test_late_use_belongs_to_its_own_hour() -> None:
    """Wherever it is billed; a bucket names the hour of billing, and both are then one."""
    books = kept([5000, 5000])
    books.use(HOUR, 700, billed=HOUR + 5, mark="late")
    assert books.balance().differences == []
    books.used.append(Used(METER, HOUR + 6, HOUR + 1, "late", 30, 30))
    books.buckets.append(InBucket(HOUR + 6, "unbillable", 30))
    assert books.balance().differences == []
    books.buckets[0] = InBucket(HOUR + 6, "unbillable", 31)
    (found,) = books.balance().differences
    assert (found.kind, found.first, found.last) == ("hours", HOUR + 1, HOUR + 6)
    assert found.amount == SCALE


def test_a_bucket_of_a_day_may_name_another_hour_of_it() -> None:
    """But not one of another day."""
    books = kept([5000])
    books.used.append(Used(METER, HOUR + 2, HOUR + 2, "", 30, 30))
    books.buckets.append(InBucket(HOUR + 20, "overshoot", 30))
    assert books.balance().differences == []
    books.buckets[0] = InBucket(HOUR + 40, "overshoot", 30)
    assert kinds(books.balance()) == ["hours", "hours"]


def test_what_is_not_recorded_yet_is_no_difference() -> None:
    """Open or waiting; instances that are not sold get no records at all."""
    books = kept([5000])
    books.used += [
        Used(METER, HOUR + 1, HOUR + 1, "", 40, 0),
        Used(METER, HOUR + 1000, HOUR + 1000, "", 3, 0),
    ]
    found = books.balance()
    assert (found.differences, found.waiting, found.open, found.unsold) == ([], 40, 3, 0)
    static = Books(used=[Used(METER, HOUR, HOUR, "", 40, 0)], source="static").balance()
    assert (static.differences, static.unsold, static.waiting) == ([], 40, 0)


@pytest.mark.parametrize("recorded", [-1, 41])
def test_no_more_than_was_used_is_recorded(recorded: int) -> None:
    """Nor less than nothing."""
    books = Books(used=[Used(METER, HOUR, HOUR, "", 40, recorded)])
    assert "recorded" in kinds(books.balance())


def test_adjustments_stand_in_the_remainder() -> None:
    """They change what is billed, and no hour."""
    books = kept([5000])
    books.adjusted = -700
    books.carry = books.carry._replace(quantity=books.carry.quantity - 700 * SCALE)
    books.use(HOUR + 1, 5000)
    found = books.balance()
    assert found.differences == []
    assert books.records[-1].value == "4.3000"
    books.adjusted = -699
    assert kinds(books.balance()) == ["value"]


def test_what_was_assigned_somebody_assigned() -> None:
    """Usage with that mark has a row that says who and why."""
    books = kept([5000])
    books.use(HOUR, 300, billed=HOUR + 3, mark="assigned")
    assert kinds(books.balance()) == ["assigned"]
    books.assigned = 300
    assert books.balance().differences == []


def test_what_records_carry_ahead_of_its_return_counts() -> None:
    """After a recovery, until the lanes have brought it again."""
    books = kept([5000])
    books.used = [Used(METER, HOUR, HOUR, "", 1000, 1000)]
    books.ahead = [OfAhead(METER, HOUR, 4000)]
    assert books.balance().differences == []
    books.ahead = [OfAhead(METER, HOUR, 3999)]
    assert kinds(books.balance()) == ["hours"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"value": "0.0000"}, "is none the marketplace takes"),
        ({"value": "100000000.0000"}, "is none the marketplace takes"),
        ({"value": "1.00001"}, "is none the marketplace takes"),
        ({"value": "NaN"}, "is none the marketplace takes"),
        ({"value": "Infinity"}, "is none the marketplace takes"),
        ({"value": "x" * 10**5}, "is none the marketplace takes"),
        ({"end": HOUR * HOUR_MS}, "its interval is empty"),
        ({"begin": HOUR * HOUR_MS + 1}, "not of whole seconds"),
        ({"metering_sn": "other"}, "its metering_sn is not that"),
        ({"state": "lost"}, "nobody knows its state 'lost'"),
    ],
)
def test_a_record_that_breaks_a_rule_is_named(changes: dict[str, object], said: str) -> None:
    """By its id; nothing fails at what somebody wrote by hand."""
    books = kept([5000])
    books.records = [books.records[0]._replace(**changes)]  # type: ignore[arg-type]  # by hand
    texts = [each.text for each in books.balance().differences if each.kind == "rule"]
    assert any(said in text for text in texts), texts


def test_intervals_do_not_overlap() -> None:
    """The marketplace would count only one of two that are the same."""
    books = kept([5000, 5000])
    begin = books.records[0].end - 1000
    end = books.records[1].end
    serial = records.metering_sn("i", begin, end)
    books.records[1] = books.records[1]._replace(begin=begin, metering_sn=serial)
    (found,) = books.balance().differences
    assert (found.kind, found.metering_sn) == ("rule", serial)
    assert found.text == "its interval begins before the one before it ends"


def test_hours_and_states_are_those_of_the_span() -> None:
    """The sums are not: a remainder goes from hour to hour."""
    found = kept([5000, 5000, 5000]).balance(Span(HOUR + 1, HOUR + 2))
    assert [(each.window, each.used, each.carried) for each in found.hours] == [
        (HOUR + 1, 5000, 5000)
    ]
    assert found.states["sent"].records == 1
    assert found.used == 15_000
