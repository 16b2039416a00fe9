import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering import deltas
from metering.deltas import DeltaKey
from metering.usage import Charge, Grade
from metering.windows import Window
from tests.fakes import usage_record

identifiers = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f"), max_size=30)
keys = st.builds(
    DeltaKey,
    st.integers(0, 10**6).map(Window),
    identifiers,
    identifiers,
    identifiers,
    identifiers,
    st.sampled_from(Grade),
)


@given(keys)
def test_a_key_survives_its_redis_field(key: DeltaKey) -> None:
    """decode is the inverse of encode for every id without control characters."""
    assert deltas.decode(deltas.encode(key)) == key


def test_other_fields_are_no_deltas() -> None:
    """A position is not mistaken for a delta."""
    with pytest.raises(ValueError, match="not a delta field"):
        deltas.decode("p:lane")


def test_a_record_counts_for_its_customer_and_for_each_charge() -> None:
    """Three meters and one charge are four deltas."""
    record = usage_record(
        charges=(Charge("inst-1", "tokens_total"),), requests=1, tokens_total=30, bytes_in=7
    )
    merged = deltas.merge([record])
    assert {(key.instance_id, key.meter): value for key, value in merged.items()} == {
        ("", "requests"): 1,
        ("", "tokens_total"): 30,
        ("", "bytes_in"): 7,
        ("inst-1", "tokens_total"): 30,
    }


def test_a_charge_without_its_quantity_counts_nothing() -> None:
    """A reply without images charges no images."""
    record = usage_record(charges=(Charge("inst-1", "images"),), requests=1)
    assert [key.meter for key in deltas.merge([record])] == ["requests"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**15)), max_size=30))
def test_merging_adds_up(pairs: list[tuple[str, int]]) -> None:
    """However many records, the sum per customer is theirs."""
    merged = deltas.merge(usage_record(customer, tokens_in=n) for customer, n in pairs)
    for customer in "abc":
        expected = sum(n for name, n in pairs if name == customer)
        assert sum(v for k, v in merged.items() if k.customer_id == customer) == expected
