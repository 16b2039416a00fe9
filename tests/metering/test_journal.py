from metering.journal import MemoryLane
from metering.partitions import partition_of
from tests.fakes import usage_record


def test_numbers_count_from_one_over_all_partitions() -> None:
    """A lane numbers its records 1, 2, 3 whatever customer they are of."""
    lane = MemoryLane("lane", 64)
    assert [lane.append(usage_record(c, requests=1)) for c in "abc"] == [1, 2, 3]


def test_after_gives_the_rest_of_a_partition() -> None:
    """Records at or before the position are left out, those of other partitions too."""
    lane = MemoryLane("lane", 64)
    for customer in ("a", "b", "a", "a"):
        lane.append(usage_record(customer, requests=1))
    partition = partition_of("a", 64)
    assert [e.number for e in lane.after(partition, 1, limit=10)] == [3, 4]
    assert [e.number for e in lane.after(partition, 1, limit=1)] == [3]
    assert lane.count_after(partition, 3) == 1
    assert lane.end(partition) == 4


def test_time_never_goes_back_in_a_lane() -> None:
    """A clock that stepped back gives the last record's time."""
    lane = MemoryLane("lane", 1)
    lane.append(usage_record(time_ms=2000, requests=1))
    lane.append(usage_record(time_ms=1000, requests=1))
    assert [e.record.time_ms for e in lane.after(0, 0, limit=10)] == [2000, 2000]


def test_a_mark_bounds_every_later_record() -> None:
    """What is appended after mark(T) has a time of at least T."""
    lane = MemoryLane("lane", 1)
    assert lane.mark(5000) == 5000
    lane.append(usage_record(time_ms=4000, requests=1))
    assert lane.after(0, 0, limit=1)[0].record.time_ms == 5000


def test_what_the_ledger_holds_is_let_go() -> None:
    """Retiring forgets records, never totals."""
    lane = MemoryLane("lane", 1)
    for _ in range(3):
        lane.append(usage_record(requests=1, tokens_in=10))
    lane.retire(0, 2)
    assert [e.number for e in lane.after(0, 0, limit=10)] == [3]
    lane.retire(0, 3)
    assert lane.touched() == []
    lane.retire(0, 3)
    assert lane.totals() == (3, {"requests": 3, "tokens_in": 30})
