"""The marketplace's memory."""

import pytest

from tallygate.simulator.errors import BadRequest, NotFound
from tallygate.simulator.marketplace import Marketplace
from tallygate.simulator.models import Instance, Kind, Order, Product
from tests.tallygate.simulator.stage import NOW_MS, record

CHAT = Product("chat", "Chat", Kind.ON_DEMAND)
PACK = Product("pack", "Pack", Kind.ON_DEMAND_PKG, covers=frozenset({"chat"}))
LATER_MS = NOW_MS + 3_600_000


def instance(instance_id: str, product: Product = CHAT, customer_id: str = "cust-1") -> Instance:
    return Instance(instance_id, "CS1", f"CS1-{instance_id}", product, customer_id, NOW_MS)


@pytest.fixture
def marketplace() -> Marketplace:
    made = Marketplace()
    made.offer([CHAT, PACK])
    made.provision(instance("i-1"))
    return made


def test_order_ids_are_new(marketplace):
    """CS and digits, never twice, also in the same millisecond."""
    ids = {marketplace.new_order_id(NOW_MS) for _ in range(100)}
    assert len(ids) == 100
    assert all(each.startswith("CS") and each[2:].isdigit() for each in ids)


def test_placing_numbers_the_lines(marketplace):
    """The line id is the order id and six digits."""
    order = Order("CS1", "NEW", NOW_MS, "cust-1", "Customer")
    marketplace.place(order, [("chat", None), ("pack", LATER_MS)])
    assert [line.order_line_id for line in marketplace.order("CS1").lines] == [
        "CS1-000001",
        "CS1-000002",
    ]


def test_placing_what_is_not_on_sale(marketplace):
    """Refused, and no half order remains."""
    order = Order("CS1", "NEW", NOW_MS, "cust-1", "Customer")
    with pytest.raises(BadRequest, match="'other' is unknown"):
        marketplace.place(order, [("chat", None), ("other", None)])
    with pytest.raises(NotFound):
        marketplace.order("CS1")


def test_offers_are_replaced(marketplace):
    """The same product id again is the newer product."""
    marketplace.offer([Product("chat", "Chat 2", Kind.ON_DEMAND)])
    assert marketplace.products["chat"].name == "Chat 2"
    assert set(marketplace.products) == {"chat", "pack"}


def test_unknown_instance(marketplace):
    """A clear refusal."""
    with pytest.raises(NotFound, match="'i-9'"):
        marketplace.instance("i-9")


def test_provisioning_again_keeps_the_first(marketplace):
    """The start of the resource does not move."""
    again = instance("i-1")
    again.started_ms = LATER_MS
    assert marketplace.provision(again) is None
    assert marketplace.instance("i-1").started_ms == NOW_MS


def test_instance_id_of_another_line(marketplace):
    """Instance ids are globally unique (§2.6)."""
    stolen = instance("i-1")
    stolen.order_line_id = "CS2-000001"
    finding = marketplace.provision(stolen)
    assert finding is not None
    assert finding.check == "instance-id"


def test_relatable(marketplace):
    """The buyer's own pay-per-use instances of products that the package covers."""
    speech = Product("speech", "Speech", Kind.ON_DEMAND)
    for other in (instance("i-2"), instance("i-3", speech), instance("i-4", CHAT, "cust-2")):
        marketplace.provision(other)
    assert marketplace.relatable(instance("p-1", PACK)) == {"i-1", "i-2"}


def test_collection_and_totals(marketplace):
    """Repeats count once, refused and duplicate records are told apart from the collected."""
    good, repeat = record("i-1"), record("i-1")
    duplicate = record("i-1", metering_sn="other", usage_value="4")
    refused = record("i-1", 60, usage_value="2.0001", end_time="never")
    marketplace.store([good, repeat, duplicate, refused], LATER_MS)
    assert marketplace.totals() == {
        "i-1": {"pushed": "7.5001", "collected": "0", "refused": "0"},
    }
    assert marketplace.collect() == {
        "collected": 1,
        "refused": 1,
        "duplicate": 1,
        "repeat": 1,
        "findings": 2,
    }
    assert marketplace.totals() == {
        "i-1": {"pushed": "7.5001", "collected": "1.5", "refused": "6.0001"},
    }


def test_collecting_again_changes_nothing(marketplace):
    """What is judged stays judged."""
    marketplace.store([record("i-1")], LATER_MS)
    marketplace.collect()
    assert set(marketplace.collect().values()) == {0}


def test_reported_again_after_a_refusal(marketplace):
    """A record that came too early is collected when it is reported again."""
    marketplace.store([record("i-1")], NOW_MS)
    marketplace.collect()
    marketplace.store([record("i-1")], LATER_MS)
    marketplace.collect()
    assert [stored.state for stored in marketplace.records] == ["refused", "collected"]
    assert marketplace.totals() == {
        "i-1": {"pushed": "1.5", "collected": "1.5", "refused": "0"},
    }


def test_repeat_made_at_another_time_counts_once(marketplace):
    """When a record was made is no part of what it charges."""
    marketplace.store([record("i-1"), record("i-1", record_time="20260921T142000Z")], LATER_MS)
    assert marketplace.totals()["i-1"]["pushed"] == "1.5"


def test_unreadable_usage_counts_nothing(marketplace):
    """A value that is no number adds 0."""
    marketplace.store([record("i-1", usage_value="much")], LATER_MS)
    marketplace.collect()
    assert marketplace.totals() == {"i-1": {"pushed": "0", "collected": "0", "refused": "0"}}
