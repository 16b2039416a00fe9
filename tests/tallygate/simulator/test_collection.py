"""Records among each other: repeats, duplicates, numbers, overlaps."""

from typing import Any

import pytest

from tallygate.simulator.collection import Collection, Judgement, State
from tallygate.simulator.models import Instance, Kind, Product
from tests.tallygate.simulator.stage import NOW_MS, record

HOUR_MS = 3_600_000


@pytest.fixture
def collection() -> Collection:
    return Collection()


def instances() -> dict[str, Instance]:
    product = Product("chat", "Chat", Kind.ON_DEMAND)
    return {
        name: Instance(name, "CS1", f"CS1-{name}", product, "cust-1", NOW_MS)
        for name in ("i-1", "i-2")
    }


def judge(collection: Collection, *args: Any, **fields: Any) -> Judgement:
    return collection.judge(record(*args, **fields), NOW_MS + HOUR_MS, instances())


def found(judgement: Judgement) -> list[str]:
    return [finding.check for finding in judgement.findings]


def test_good_records(collection):
    """Intervals side by side, in any order, of two instances."""
    for instance_id in ("i-1", "i-2"):
        for begin_s in (60, 0, 120):
            judgement = judge(collection, instance_id, begin_s)
            assert judgement == Judgement(State.COLLECTED)


def test_repeat_is_harmless(collection):
    """The same record again is told from a conflict, even when it was sent at another time."""
    judge(collection, "i-1")
    assert judge(collection, "i-1").state is State.REPEAT
    later = judge(collection, "i-1", record_time="20260921T141500Z")
    assert (later.state, later.findings) == (State.REPEAT, ())
    assert judge(collection, "i-1", usage_value="1.50").state is State.REPEAT


@pytest.mark.parametrize(
    "fields", [{"usage_value": "2"}, {"metering_sn": "other"}, {"metering_sn": None}]
)
def test_duplicate_of_an_interval(collection, fields):
    """Only the first record of an interval counts; another one is a mistake."""
    judge(collection, "i-1")
    judgement = judge(collection, "i-1", **fields)
    assert judgement.state is State.DUPLICATE
    assert found(judgement) == ["sdr-duplicate"]


def test_same_interval_of_another_instance(collection):
    """Duplicates are of one instance."""
    judge(collection, "i-1")
    assert judge(collection, "i-2").state is State.COLLECTED


def test_number_used_twice(collection):
    """A metering_sn belongs to one record."""
    judge(collection, "i-1", metering_sn="sn")
    judgement = judge(collection, "i-1", 60, metering_sn="sn")
    assert (judgement.state, found(judgement)) == (State.REFUSED, ["sdr-refused"])
    assert "metering_sn" in judgement.reason


def test_refused_leaves_no_trace(collection):
    """After a refusal the same interval and number may be reported again."""
    assert judge(collection, "i-1", usage_value="0").state is State.REFUSED
    assert judge(collection, "i-1").state is State.COLLECTED


@pytest.mark.parametrize(
    ("fields", "check"),
    [
        ({"metering_sn": None}, "metering-sn"),
        ({"end_time": "20260921T141320Z"}, "empty-interval"),
    ],
)
def test_oddities(collection, fields, check):
    """Collected, but worth a word."""
    judgement = judge(collection, "i-1", **fields)
    assert (judgement.state, found(judgement)) == (State.COLLECTED, [check])


@pytest.mark.parametrize("begin_s", [30, 90])
def test_overlap(collection, begin_s):
    """Two records of one instance share time."""
    judge(collection, "i-1", 60)
    assert found(judge(collection, "i-1", begin_s)) == ["overlap"]
    assert found(judge(collection, "i-2", begin_s)) == []


def test_unknown_instance(collection):
    """A record of nobody is refused."""
    judgement = judge(collection, "i-9")
    assert (judgement.state, judgement.reason) == (State.REFUSED, "instance_id is unknown")
