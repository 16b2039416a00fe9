"""What of a drain matched no instance."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from billing_sync.booking import UsageRow, book
from billing_sync.suspense import Holding, sold, take, undecided, unmatched
from metering.catalogue import Product, agents_account
from metering.deltas import merge
from metering.usage import Account, Charge, Grade, Outcome, Quantity, UsageRecord
from metering.windows import HOUR_MS, start_ms
from tests.billing_sync.books import HOUR, METER
from tests.billing_sync.correcting import SELLING

TWO = [Product(product_id=name, routes=["chat"], meter=METER) for name in ("BASIC", "PRO", "OTHER")]


def row(quantity: int, instance_id: str = "", **columns: object) -> UsageRow:
    usual = UsageRow(HOUR, "cust-1", instance_id, "chat", METER, "exact", "", HOUR, quantity)
    return usual._replace(**columns)  # type: ignore[arg-type]


def found(
    rows: Sequence[UsageRow],
    products: Sequence[Product] = tuple(SELLING.values()),
    holding: Holding | None = None,
) -> dict[tuple[str, str], int]:
    """What is unmatched by customer and product, over hours and grades."""
    holdings = {"cust-1": holding} if holding else {}
    sums: dict[tuple[str, str], int] = {}
    for one in unmatched(rows, sold(products, rows), holdings):
        place = (one.customer_id, one.product_id)
        sums[place] = sums.get(place, 0) + one.quantity
    return sums


def test_what_was_charged_is_matched() -> None:
    """Nothing is left."""
    assert found([row(5), row(5, "i")]) == {}


def test_what_was_charged_to_nobody_is_not() -> None:
    """Before the instance was active, or of a customer nobody knows."""
    assert found([row(5), row(3, "i")]) == {("cust-1", "TOKENS"): 2}
    assert found([row(5, customer_id="stranger")]) == {("stranger", "TOKENS"): 5}


def test_every_product_has_its_own_meter() -> None:
    """Tokens are charged, calls are not."""
    rows = [row(5), row(5, "i"), row(1, meter="requests")]
    assert found(rows) == {("cust-1", "CALLS"): 1}


def test_what_is_not_sold_there_is_no_suspense() -> None:
    """Another route, another meter, what the marketplace's own gateway charges, a route that is gone."""
    rows = [
        row(5, route="plain"),
        row(5, meter="bytes_in"),
        row(5, meter="images"),
        row(5, route="gone"),
    ]
    assert found(rows) == {}


def test_hours_and_grades_are_kept_apart() -> None:
    """By the hour it was used in, wherever it is booked."""
    rows = [
        row(5),
        row(7, origin=HOUR - 1, mark="late"),
        row(7, "i", origin=HOUR - 1, mark="late"),
        row(2, grade="partial"),
    ]
    left = unmatched(rows, sold(SELLING.values(), rows), {})
    assert [(one.origin, one.grade, one.quantity) for one in left] == [
        (HOUR, "exact", 5),
        (HOUR, "partial", 2),
    ]


def test_two_instances_of_one_product_are_charged_one_after_the_other() -> None:
    """A call charges the first active one: before and after a change they add up."""
    assert found([row(5), row(3, "i"), row(2, "j")]) == {}


def test_products_with_the_same_meter_are_alternatives() -> None:
    """Who bought only one of them owes nothing for the others; who bought none owes for one."""
    basic = Holding(frozenset({"BASIC"}), {"i": "BASIC"})
    assert found([row(5), row(5, "i")], TWO, basic) == {}
    assert found([row(5), row(3, "i")], TWO, basic) == {("cust-1", "BASIC"): 2}
    assert found([row(5)], TWO) == {("cust-1", "BASIC"): 5}
    pro = Holding(frozenset({"PRO"}), {"i": "PRO"})
    assert found([row(5)], TWO, pro) == {("cust-1", "PRO"): 5}


def test_who_holds_both_is_charged_for_both() -> None:
    """Each is held against the total by itself."""
    both = Holding(frozenset({"BASIC", "PRO"}), {"i": "BASIC", "j": "PRO"})
    assert found([row(5), row(5, "i"), row(5, "j")], TWO, both) == {}
    assert found([row(5), row(5, "i"), row(1, "j")], TWO, both) == {("cust-1", "PRO"): 4}


def test_a_change_from_one_to_the_other() -> None:
    """What the one he gave up was charged for is matched."""
    changed = Holding(frozenset({"PRO"}), {"i": "BASIC", "j": "PRO"})
    assert found([row(5), row(3, "i"), row(2, "j")], TWO, changed) == {}


def test_an_instance_nobody_knows_was_charged_all_the_same() -> None:
    """Its usage is kept under its own name."""
    assert found([row(5), row(5, "new")], TWO) == {}


def test_what_the_agents_gateway_charges_is_matched() -> None:
    """A person who assigned it to an instance would make its customer pay twice."""
    account = agents_account("BASIC", "cust-1")
    both = Holding(frozenset({"BASIC", "PRO"}), {"i": "BASIC", "j": "PRO"})
    assert found([row(5), row(5, account)], TWO) == {}
    assert found([row(9), row(5, account), row(4, "i"), row(4, "j")], TWO, both) == {}


def test_holdings_are_asked_for_only_where_they_decide() -> None:
    """One product by a meter needs none."""
    rows = [row(5)]
    assert undecided(rows, sold(SELLING.values(), rows)) == set()
    assert undecided(rows, sold(TWO, rows)) == {"cust-1"}


def test_the_oldest_is_taken_first() -> None:
    """Never more than there is; what was taken too much of before gives nothing."""
    assert take([3, -2, 5, 4], 6) == [3, 0, 3, 0]
    assert take([], 0) == []


CUSTOMERS = st.sampled_from(["cust-1", "cust-2"])
CALLS = st.lists(
    st.tuples(
        CUSTOMERS,
        st.integers(0, 3),  # hours ago
        st.integers(0, 50),  # tokens
        st.sampled_from(["chat", "plain", "gone"]),
        st.booleans(),  # charged for tokens
        st.booleans(),  # charged for the call
        st.sampled_from([200, 404]),
        st.sampled_from(list(Grade)),
    ),
    max_size=30,
)


@given(CALLS)
def test_charged_and_unmatched_are_the_total(
    calls: list[tuple[str, int, int, str, bool, bool, int, Grade]],
) -> None:
    """For any calls, as the gateway merges them and the drain books them, to the unit."""
    records = []
    for customer, ago, tokens, route, by_tokens, by_call, status, grade in calls:
        charges = [Charge(f"t-{customer}", METER)] * by_tokens
        charges += [Charge(f"c-{customer}", "requests")] * by_call
        used = status < 400
        records.append(
            UsageRecord(
                "r",
                start_ms(HOUR) - ago * HOUR_MS,  # type: ignore[arg-type]
                Account(customer, route, tuple(charges) if used else ()),
                status,
                Outcome.COMPLETE,
                {METER: Quantity(tokens, grade), "requests": Quantity(1)} if used else {},
            )
        )
    rows = book(merge(records), closed_through=(HOUR - 1) * HOUR_MS, now_ms=HOUR * HOUR_MS)
    left = found(rows)
    for customer in ("cust-1", "cust-2"):
        mine = [r for r, c in zip(records, calls, strict=True) if c[0] == customer and r.quantities]
        tokens = sum(
            r.quantities[METER].value
            for r in mine
            if r.route == "chat" and Charge(f"t-{customer}", METER) not in r.charges
        )
        called = sum(
            1
            for r in mine
            if r.route in ("chat", "plain") and Charge(f"c-{customer}", "requests") not in r.charges
        )
        assert left.get((customer, "TOKENS"), 0) == tokens
        assert left.get((customer, "CALLS"), 0) == called
