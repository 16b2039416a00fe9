"""The judgement on a drill: what is exact, and what is not."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.partitions import partition_of
from tallygate.drills.books import Seen
from tallygate.drills.judging import Answered, Evidence, Item, Recorded, Unexplained, judge

PARTITIONS = 8
CUSTOMERS = ("ada", "bob", "cyd")
LANES = ("a", "b")


def recorded(request_id: str, customer: str, lane: str, number: int) -> Recorded:
    """A record of 3 tokens in and 5 out, charged to an instance."""
    quantities = {"requests": 1, "tokens_in": 3, "tokens_out": 5}
    amounts = {Item(customer, "", meter): value for meter, value in quantities.items()}
    amounts[Item(customer, f"{customer}-1", "tokens_out")] = 5
    return Recorded(request_id, lane, number, 1000 + number, customer, True, quantities, amounts)


def counts(records: list[Recorded]) -> dict[Item, int]:
    total: Counter[Item] = Counter()
    for record in records:
        total.update(record.amounts)
    return dict(total)


def exact(choices: list[tuple[str, str]]) -> Evidence:
    """A drill in which nothing went wrong: one request for each customer and lane given."""
    records = [
        recorded(f"r-{n}", customer, lane, n + 1) for n, (customer, lane) in enumerate(choices)
    ]
    return Evidence(
        answered={r.request_id: Answered(r.customer_id, 3, 5, True) for r in records},
        seen={r.request_id: Seen(r.customer_id, 3, 5) for r in records},
        records=records,
        counted=counts(records),
        partitions=PARTITIONS,
    )


calls = st.lists(st.tuples(st.sampled_from(CUSTOMERS), st.sampled_from(LANES)), min_size=1)


@given(calls)
def test_a_drill_in_which_all_agrees_is_exact(choices: list[tuple[str, str]]) -> None:
    """Nothing is lost, nothing double, no problem."""
    verdict = judge(exact(choices))
    assert verdict.problems == []
    assert (verdict.loss, verdict.double, verdict.unexplained, verdict.lost_in_cut) == (0, 0, 0, 0)


def without_a_record(good: Evidence, at: int) -> Evidence:
    kept = [record for n, record in enumerate(good.records) if n != at]
    return replace(good, records=kept, counted=counts(kept))


def not_counted(good: Evidence, at: int) -> Evidence:
    return replace(good, counted=counts([r for n, r in enumerate(good.records) if n != at]))


def counted_twice(good: Evidence, at: int) -> Evidence:
    return replace(good, counted=counts([*good.records, good.records[at]]))


def recorded_twice(good: Evidence, at: int) -> Evidence:
    more = [*good.records, replace(good.records[at], number=10_000)]
    return replace(good, records=more, counted=counts(more))


def a_number_twice(good: Evidence, at: int) -> Evidence:
    more = [*good.records, replace(good.records[at], request_id="x", quantities={}, amounts={})]
    return replace(good, records=more)


def uncertain_and_recorded(good: Evidence, at: int) -> Evidence:
    return replace(good, uncertain=frozenset({good.records[at].request_id}))


def other_tokens(good: Evidence, at: int) -> Evidence:
    wrong = dict(good.answered)
    wrong[good.records[at].request_id] = Answered(good.records[at].customer_id, 3, 6, True)
    return replace(good, answered=wrong)


def other_tokens_seen(good: Evidence, at: int) -> Evidence:
    wrong = dict(good.seen)
    wrong[good.records[at].request_id] = Seen(good.records[at].customer_id, 2, 5)
    return replace(good, seen=wrong)


def never_asked(good: Evidence, at: int) -> Evidence:
    known = dict(good.answered)
    del known[good.records[at].request_id]
    return replace(good, answered=known)


def time_gone_back(good: Evidence, at: int) -> Evidence:
    later = recorded("later", "ada", good.records[at].lane, 10_000)
    more = [*good.records, replace(later, time_ms=1)]
    asked = {**good.answered, "later": Answered("ada", 3, 5, True)}
    return replace(good, records=more, counted=counts(more), answered=asked)


def asked_twice(good: Evidence, at: int) -> Evidence:
    return replace(good, answered_twice=frozenset({good.records[at].request_id}))


def refused_and_recorded(good: Evidence, at: int) -> Evidence:
    return replace(good, refused=frozenset({good.records[at].request_id}))


def a_lane_given_up(good: Evidence, at: int) -> Evidence:
    return replace(good, lost_lanes=(good.records[at].lane,))


SABOTAGE = (
    a_lane_given_up,
    refused_and_recorded,
    without_a_record,
    not_counted,
    counted_twice,
    recorded_twice,
    a_number_twice,
    uncertain_and_recorded,
    other_tokens,
    other_tokens_seen,
    never_asked,
    time_gone_back,
    asked_twice,
)


@pytest.mark.parametrize("sabotage", SABOTAGE)
@given(choices=calls, where=st.integers(0))
def test_no_sabotage_is_overlooked(
    sabotage: Callable[[Evidence, int], Evidence], choices: list[tuple[str, str]], where: int
) -> None:
    """Whatever single thing is taken, added or changed is a problem."""
    verdict = judge(sabotage(exact(choices), where % len(choices)))
    assert not verdict.exact


def test_losses_and_double_counts_are_numbers() -> None:
    """Each request once, whatever else is said about it."""
    good = exact([("ada", "a"), ("bob", "a"), ("ada", "b")])
    assert judge(without_a_record(good, 0)).loss == 1
    assert judge(not_counted(good, 1)).loss == 1
    assert judge(counted_twice(good, 2)).double == 1
    assert judge(recorded_twice(good, 2)).double == 1


@pytest.mark.parametrize("refused", [True, False])
def test_a_request_without_a_record_may_be_named(refused: bool) -> None:
    """Its worker died, or its customer was told; then he cannot have seen it complete."""
    good = without_a_record(exact([("ada", "a"), ("bob", "b")]), 0)
    name = frozenset({"r-0"})
    named = replace(good, refused=name) if refused else replace(good, uncertain=name)
    assert judge(named).problems == [
        "1 requests their customers saw complete have no record: r-0",
    ]
    unseen = {request_id: seen for request_id, seen in good.seen.items() if request_id != "r-0"}
    fine = judge(replace(named, seen=unseen))
    assert (fine.exact, fine.refused) == (True, int(refused))


def cut_off(evidence: Evidence, *at: int) -> Evidence:
    """A power cut took these records; what was counted stays."""
    kept = [record for n, record in enumerate(evidence.records) if n not in at]
    gone = frozenset(evidence.records[n].request_id for n in at)
    return replace(evidence, records=kept, unsynced=gone)


def test_what_a_power_cut_took_and_redis_knew_is_unexplained() -> None:
    """As many as are missing, where the finding says so."""
    good = exact([("ada", "a"), ("ada", "a"), ("bob", "a")])
    named = (Unexplained("a", partition_of("ada", PARTITIONS), 2, 3),)
    cut = replace(cut_off(good, 1), unexplained=named)
    verdict = judge(cut)
    assert (verdict.problems, verdict.unexplained, verdict.lost_in_cut) == ([], 1, 0)
    assert not judge(replace(cut, unexplained=())).exact
    assert not judge(replace(cut, counted=counts([*good.records, good.records[1]]))).exact


def test_what_a_power_cut_took_from_everywhere_is_not_hidden() -> None:
    """It is a figure of its own."""
    good = cut_off(exact([("ada", "a"), ("bob", "a")]), 1)
    lost = replace(good, counted=counts(good.records))
    verdict = judge(lost)
    assert (verdict.problems, verdict.unexplained, verdict.lost_in_cut) == ([], 0, 1)


def test_with_fsync_always_nothing_that_was_seen_may_be_missing() -> None:
    """The last byte waited until the record was durable."""
    good = cut_off(exact([("ada", "a"), ("bob", "a")]), 1)
    lost = replace(good, counted=counts(good.records), fsync_always=True)
    assert judge(lost).loss == 1
    assert judge(replace(lost, seen={})).exact


def test_a_finding_names_a_few_requests_and_counts_all() -> None:
    """A problem is one line."""
    good = exact([("ada", "a")] * 9)
    (said,) = judge(replace(good, records=[], counted={}, seen={})).problems
    assert said.startswith("9 requests the upstream answered have no record: r-0, r-1")
    assert said.endswith(", …")
