from typing import Any

from metering.redis_urls import Address
from metering.slots import SlotMap, read_slots, redirected

ASKED = Address("10.0.0.1", 7000)
REPLY: list[Any] = [
    [0, 99, [b"10.0.0.1", 7000, b"id", []], [b"10.0.0.4", 7003, b"id", []]],
    [100, 16383, ["10.0.0.2", 7001, "id"]],
]


def test_a_slot_is_found_in_its_range() -> None:
    """First and last belong to it."""
    slots = read_slots(REPLY, ASKED)
    owners = [slots.owner(slot) for slot in (0, 99, 100, 16383)]
    assert [owner and owner.port for owner in owners] == [7000, 7000, 7001, 7001]
    assert [str(node) for node in slots.masters] == ["10.0.0.1:7000", "10.0.0.2:7001"]
    assert [str(node) for node in slots.replicas] == ["10.0.0.4:7003"]


def test_a_slot_nobody_holds() -> None:
    """Before anything is known, and in a cluster with gaps."""
    assert SlotMap().owner(7) is None
    assert read_slots(REPLY[:1], ASKED).owner(100) is None
    assert SlotMap().masters == ()


def test_a_slot_that_moved_is_there_now() -> None:
    """Its neighbours are where they were, and the new master is one of them all."""
    slots = read_slots(REPLY, ASKED)
    slots.move(50, Address("10.0.0.9", 7009))
    assert [slots.owner(slot) for slot in (49, 50)] == [ASKED, ("10.0.0.9", 7009)]
    assert [node.port for node in slots.masters] == [7000, 7001, 7009]


def test_a_node_without_a_name_is_the_one_that_was_asked() -> None:
    """Redis leaves the host out where it knows none, in its map and in redirections."""
    for host in (None, "", b"", "?"):
        slots = read_slots([[0, 1, [host, 7005, "id"]]], ASKED)
        assert slots.owner(0) == ("10.0.0.1", 7005)
    assert redirected("", 7006, ASKED) == ("10.0.0.1", 7006)
    assert redirected("h", 7006, ASKED) == ("h", 7006)
