import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering import deltas
from metering.deltas import DeltaKey
from metering.usage import Account, Charge, Grade, Outcome, Quantity, UsageRecord
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


def fields_of(packed: bytes) -> dict[str, int]:
    """What the script makes of its argument."""
    found: dict[str, int] = {}
    repeated, groups = msgspec.msgpack.decode(packed)
    for begin, route, plan, rows in groups:
        for row in rows:
            for at in range(0, len(plan), 3):
                instance, rest, amount = plan[at], plan[at + 1], row[plan[at + 2] - 1]
                if amount != 0:
                    name = row[instance - 1] if instance else ""
                    field = f"{begin}{row[0]}\x1f{name}{route}{rest}"
                    assert repeated or field not in found
                    assert isinstance(amount, str) == (int(amount) >= 2**53)
                    found[field] = found.get(field, 0) + int(amount)
    return found


# Some are one object for several records, some are not.
ACCOUNTS = st.builds(
    Account,
    st.sampled_from(["a", "%s", "客户"]),
    st.sampled_from(["chat", "100%d"]),
    st.lists(
        st.builds(Charge, st.sampled_from(["i", "j%"]), st.sampled_from(["tokens_in", "%d", "x"])),
        max_size=3,
    ).map(tuple),
) | st.sampled_from([Account("a", "chat", (Charge("i", "requests"),)), Account("b", "chat")])
records = st.builds(
    UsageRecord,
    request_id=st.just("r"),
    time_ms=st.integers(0, 3 * 3_600_000),
    account=ACCOUNTS,
    status=st.just(200),
    outcome=st.just(Outcome.COMPLETE),
    quantities=st.dictionaries(
        st.sampled_from(["requests", "tokens_in", "%%", "%d"]),
        st.builds(Quantity, st.integers(0, 3) | st.integers(0, 10**16), st.sampled_from(Grade)),
    ),
)


@given(st.lists(records, max_size=8), st.integers(0, 8))
def test_what_is_sent_is_what_was_merged(several: list[UsageRecord], cut: int) -> None:
    """Every field with its sum and no zero, in one go or two, whether as records stand together or
    key by key."""
    merging = deltas.Merging()
    for part in (several[:cut], several[cut:]):
        merging.add(map(deltas.booked, part))
    merged = merging.deltas()
    assert merged == deltas.merge(several)
    expected = {deltas.encode(key): value for key, value in merged.items()}
    assert 0 not in expected.values()
    assert fields_of(deltas.pack(merged)) == expected
    assert fields_of(deltas.pack(dict(merged))) == expected


@given(st.lists(records, max_size=8))
def test_each_meter_and_each_charge_is_counted(several: list[UsageRecord]) -> None:
    """Against the plainest sum."""
    plain: dict[DeltaKey, int] = {}
    for one in several:
        charged = [("", meter) for meter in one.quantities]
        for instance, meter in charged + list(one.charges):
            value, grade = one.quantities.get(meter, Quantity(0))
            window = Window(one.time_ms // 3_600_000)
            key = DeltaKey(window, one.customer_id, instance, one.route, meter, grade)
            plain[key] = plain.get(key, 0) + value
    assert deltas.merge(several) == {key: value for key, value in plain.items() if value}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**15)), max_size=30))
def test_merging_adds_up(pairs: list[tuple[str, int]]) -> None:
    """However many records, the sum per customer is theirs."""
    merged = deltas.merge(usage_record(customer, tokens_in=n) for customer, n in pairs)
    for customer in "abc":
        expected = sum(n for name, n in pairs if name == customer)
        assert sum(v for k, v in merged.items() if k.customer_id == customer) == expected
