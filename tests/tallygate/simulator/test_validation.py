"""Records among each other: repeats, duplicates, numbers, overlaps."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.models import Instance, Kind, Product
from tallygate.simulator.packages import PackageBook
from tallygate.simulator.stored import State, StoredRecord
from tallygate.simulator.validation import Covered, Judgement, Validation
from tests.tallygate.simulator.stage import NOW_MS, record

HOUR_MS = 3_600_000


@pytest.fixture
def validation() -> Validation:
    return Validation(PackageBook())


def instances() -> dict[str, Instance]:
    product = Product("chat", "Chat", Kind.ON_DEMAND)
    return {
        name: Instance(name, "CS1", f"CS1-{name}", product, "cust-1", NOW_MS)
        for name in ("i-1", "i-2")
    }


def judge(validation: Validation, *args: Any, **fields: Any) -> Judgement:
    stored = StoredRecord(record(*args, **fields), NOW_MS + HOUR_MS)
    return validation.judge(stored, instances())


def found(judgement: Judgement) -> list[str]:
    return [finding.check for finding in judgement.findings]


def test_good_records(validation):
    """Intervals side by side, in any order, of two instances."""
    for instance_id in ("i-1", "i-2"):
        for begin_s in (60, 0, 120):
            judgement = judge(validation, instance_id, begin_s)
            assert (judgement.state, judgement.findings) == (State.VALID, ())


def test_repeat_is_harmless(validation):
    """The same record again is told from a conflict, even when it was sent at another time."""
    judge(validation, "i-1")
    assert judge(validation, "i-1").state is State.REPEAT
    later = judge(validation, "i-1", record_time="20260921T141500Z")
    assert (later.state, later.findings) == (State.REPEAT, ())
    assert judge(validation, "i-1", usage_value="1.50").state is State.REPEAT


@pytest.mark.parametrize(
    "fields", [{"usage_value": "2"}, {"metering_sn": "other"}, {"metering_sn": None}]
)
def test_duplicate_of_an_interval(validation, fields):
    """Only the first record of an interval counts; another one is a mistake."""
    judge(validation, "i-1")
    judgement = judge(validation, "i-1", **fields)
    assert judgement.state is State.DUPLICATE
    assert found(judgement) == ["sdr-duplicate"]


def test_same_interval_of_another_instance(validation):
    """Duplicates are of one instance."""
    judge(validation, "i-1")
    assert judge(validation, "i-2").state is State.VALID


def test_number_used_twice(validation):
    """A metering_sn belongs to one record."""
    judge(validation, "i-1", metering_sn="sn")
    judgement = judge(validation, "i-1", 60, metering_sn="sn")
    assert (judgement.state, found(judgement)) == (State.REFUSED, ["sdr-refused"])
    assert "metering_sn" in judgement.reason


def test_refused_leaves_no_trace(validation):
    """After a refusal the same interval and number may be reported again."""
    assert judge(validation, "i-1", usage_value="0").state is State.REFUSED
    assert judge(validation, "i-1").state is State.VALID


@pytest.mark.parametrize(
    ("fields", "check"),
    [
        ({"metering_sn": None}, "metering-sn"),
        ({"end_time": "20260921T141320Z"}, "empty-interval"),
    ],
)
def test_oddities(validation, fields, check):
    """Valid, but worth a word."""
    judgement = judge(validation, "i-1", **fields)
    assert (judgement.state, found(judgement)) == (State.VALID, [check])


@pytest.mark.parametrize("begin_s", [30, 90])
def test_overlap(validation, begin_s):
    """Two records of one instance share time."""
    judge(validation, "i-1", 60)
    assert found(judge(validation, "i-1", begin_s)) == ["overlap"]
    assert found(judge(validation, "i-2", begin_s)) == []


def test_valid_record_takes_from_its_package():
    """The next one meets what is left, before anything is collected."""
    stop = Product("stop", "Stop", Kind.ON_DEMAND_PKG, stop_before_excess=True)
    stop = replace(stop, covers=frozenset({"chat"}), quotas={"chat": Decimal(2)})
    package = Instance("p-1", "CS1", "CS1-p-1", stop, "cust-1", NOW_MS)
    book, known = PackageBook(), instances() | {"p-1": package}
    book.add(package)
    validation, states = Validation(book), []
    for begin_s in (0, 60):
        stored = StoredRecord(record("i-1", begin_s, relate_pkg_instance="p-1"), NOW_MS + HOUR_MS)
        states.append(validation.judge(stored, known).state)
    assert states == [State.VALID, State.REFUSED]


def test_unknown_instance(validation):
    """A record of nobody is refused."""
    judgement = judge(validation, "i-9")
    assert (judgement.state, judgement.reason) == (State.REFUSED, "instance_id is unknown")


def test_repeat_without_a_number(validation):
    """Two equal records are one, though nothing names them."""
    judge(validation, "i-1", metering_sn=None)
    assert judge(validation, "i-1", metering_sn=None).state is State.REPEAT


def test_product_of_the_old_interface(validation):
    """Where the product is named it must be the right one, and no number is missed."""
    wrong = judge(validation, "i-1", product_id="speech", metering_sn=None)
    assert "product_id" in wrong.reason
    right = judge(validation, "i-1", product_id="chat", metering_sn=None)
    assert (right.state, right.findings) == (State.VALID, ())


@pytest.mark.parametrize(("begin_s", "state"), [(0, State.REFUSED), (60, State.VALID)])
def test_frozen_time(begin_s, state):
    """Usage of a time that was frozen from end to end is refused where that is asked for."""
    known = instances()
    known["i-1"].freeze(NOW_MS)
    known["i-1"].unfreeze(NOW_MS + 90_000)
    stored = StoredRecord(record("i-1", begin_s), NOW_MS + HOUR_MS)
    assert Validation(PackageBook(), refuse_frozen=True).judge(stored, known).state is state
    assert Validation(PackageBook()).judge(stored, known).state is State.VALID


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=30)


@given(SPANS, st.integers(0, 40), st.integers(1, 10))
def test_covered_time(spans, begin, length):
    """It meets an interval exactly when one of those taken in does."""
    covered = Covered()
    for low, size in spans:
        covered.add(low, low + size)
    end = begin + length
    assert covered.meets(begin, end) == any(low < end and begin < low + n for low, n in spans)
    assert covered._begins == sorted(covered._begins)
    assert all(e < b for e, b in zip(covered._ends, covered._begins[1:], strict=False))
