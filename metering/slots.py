"""Which node of a Redis Cluster holds which slot, as far as we know. Pure: it is told, never asks."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from metering.redis_urls import Address

# Redis names a node that has no other name than the one it was reached by: nothing, or "?".
_NAMELESS = ("", "?")


class SlotRange(NamedTuple):
    """`first` to `last` are held by `master`."""

    first: int
    last: int
    master: Address
    replicas: tuple[Address, ...]


class SlotMap:
    """The ranges that a node told, and the single slots that have moved since."""

    def __init__(self, ranges: Iterable[SlotRange] = ()) -> None:
        self._ranges = tuple(ranges)
        self._moved: dict[int, Address] = {}

    @property
    def masters(self) -> tuple[Address, ...]:
        """Every node that holds slots, once."""
        held = [one.master for one in self._ranges]
        return tuple(dict.fromkeys([*held, *self._moved.values()]))

    @property
    def replicas(self) -> tuple[Address, ...]:
        """Their replicas, once."""
        return tuple(dict.fromkeys(node for one in self._ranges for node in one.replicas))

    def owner(self, slot: int) -> Address | None:
        """Who holds the slot; None when nobody is known to."""
        moved = self._moved.get(slot)
        if moved is not None:
            return moved
        # A cluster has as many ranges as masters, or a few more.
        return next((one.master for one in self._ranges if one.first <= slot <= one.last), None)

    def move(self, slot: int, node: Address) -> None:
        """The slot was said to be there now."""
        self._moved[slot] = node


def read_slots(reply: Sequence[Any], asked: Address) -> SlotMap:
    """What `asked` answered to CLUSTER SLOTS: `[first, last, [host, port, …], replica…]` each."""
    return SlotMap(
        SlotRange(first, last, _node(master, asked), tuple(_node(one, asked) for one in replicas))
        for first, last, master, *replicas in reply
    )


def redirected(host: str, port: int, asked: Address) -> Address:
    """Where a node sends us."""
    return Address(asked.host if host in _NAMELESS else host, port)


def _node(said: Sequence[Any], asked: Address) -> Address:
    host = said[0].decode() if isinstance(said[0], bytes) else said[0]
    return redirected(host or "", int(said[1]), asked)
