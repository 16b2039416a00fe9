from hypothesis import given
from hypothesis import strategies as st

from metering.deltas import merge
from metering.usage import Account, Charge, Grade, Outcome, Quantity, UsageRecord
from tallygate.reconciliation.tallying import Ended, Tally
from tallygate.reconciliation.terms import Place, Written
from tests.fakes import usage_record

METERS = ("requests", "tokens_in", "tokens_out")
CHARGES = st.lists(
    st.builds(Charge, st.sampled_from(["i", "j"]), st.sampled_from([*METERS, "images"])), max_size=3
)
RECORDS = st.builds(
    UsageRecord,
    request_id=st.just("r"),
    time_ms=st.integers(0, 3 * 3_600_000),
    account=st.builds(
        Account,
        st.sampled_from(["a", "b"]),
        st.sampled_from(["chat", "other"]),
        CHARGES.map(tuple),
    ),
    status=st.just(200),
    outcome=st.sampled_from(Outcome),
    quantities=st.dictionaries(
        st.sampled_from(METERS),
        st.builds(Quantity, st.integers(0, 9), st.sampled_from(Grade)),
    ),
)


@given(st.lists(st.tuples(RECORDS, st.booleans())))
def test_the_sums_are_those_that_are_sent_to_redis(
    marked: list[tuple[UsageRecord, bool]],
) -> None:
    """But for routes and grades, which are added up."""
    tally = Tally()
    expected: dict[Place, Written] = {}
    for record, counted in marked:
        tally.add(record, counted=counted)
        for key, quantity in merge([record]).items():
            place = Place(key.window, key.customer_id, key.instance_id, key.meter)
            written = expected.setdefault(place, Written())
            written.counted += quantity * counted
            written.on_the_way += quantity * (not counted)
    assert tally.places() == expected
    assert tally.ended.total() == len(marked)


def test_exchanges_are_counted_as_they_ended() -> None:
    """An error is one that used nothing."""
    tally = Tally()
    tally.add(usage_record(time_ms=0, requests=1), counted=True)
    tally.add(usage_record(time_ms=0, requests=1), counted=True)
    tally.add(usage_record(time_ms=0), counted=False)
    assert tally.ended == {
        Ended(0, Outcome.COMPLETE, used=True, counted=True): 2,
        Ended(0, Outcome.COMPLETE, used=False, counted=False): 1,
    }
