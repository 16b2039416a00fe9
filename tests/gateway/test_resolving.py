"""The addresses of an upstream, from a resolver that says what the test wants."""

import socket

import anyio
import anyio.lowlevel
import pytest

from gateway.resolving import Address, Addresses, system_resolve

pytestmark = pytest.mark.anyio

A, B, C = (Address(socket.AF_INET, (f"10.0.0.{n}", 80)) for n in (1, 2, 3))


class Names:
    """A resolver. `found` is what it says next, or raises."""

    def __init__(self, *found: Address) -> None:
        self.found: list[Address] | Exception = list(found)
        self.asked = 0
        self.changes: list[frozenset[Address]] = []

    async def __call__(self) -> list[Address]:
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def addresses(self, ttl_s: float = 30) -> Addresses:
        """What is tested."""
        made = Addresses(self, ttl_s)
        made.changed = self.changes.append
        return made


async def test_addresses_take_turns() -> None:
    """Each connect begins with another one; all are asked for once."""
    names = Names(A, B)
    addresses = names.addresses()
    assert [await addresses.in_turn() for _ in range(3)] == [[A, B], [B, A], [A, B]]
    assert names.asked == 1


async def test_many_at_once_ask_once() -> None:
    """The first connects of a worker come together."""
    names = Names(A)
    addresses = names.addresses()
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(addresses.in_turn)
    assert names.asked == 1


async def test_what_failed_comes_last() -> None:
    """Until it is forgotten."""
    addresses = Names(A, B, C).addresses(ttl_s=0.05)
    await addresses.in_turn()
    addresses.failed(B)
    for _ in range(3):
        assert (await addresses.in_turn())[-1] == B
    await anyio.sleep(0.06)
    assert {(await addresses.in_turn())[-1] for _ in range(3)} == {A, B, C}


async def test_it_is_asked_again_after_a_while() -> None:
    """And sooner when something failed, but not at every failure."""
    addresses = Names(A).addresses(ttl_s=30)
    assert not addresses.due(anyio.current_time() + 99)  # nobody wanted them yet
    await addresses.in_turn()
    now_s = anyio.current_time()
    assert [addresses.due(now_s + later) for later in (0, 29, 31)] == [False, False, True]
    addresses.failed(A)
    assert [addresses.due(now_s + later) for later in (0, 1.1)] == [False, True]


async def test_changes_are_told() -> None:
    """Not what stayed the same."""
    names = Names(A, B)
    addresses = names.addresses()
    await addresses.in_turn()
    names.found = [B, A]
    await addresses.refresh()
    names.found = [C]
    await addresses.refresh()
    assert names.changes == [{A, B}, {C}]
    assert await addresses.in_turn() == [C]


@pytest.mark.parametrize("trouble", [socket.gaierror("no"), [], ValueError("no")])
async def test_a_resolver_in_trouble_changes_nothing(
    trouble: list[Address] | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """What was known is used on; the log says it once."""
    names = Names(A)
    addresses = names.addresses()
    await addresses.in_turn()
    names.found = trouble
    await addresses.refresh()
    await addresses.refresh()
    assert await addresses.in_turn() == [A]
    assert addresses.due(anyio.current_time() + 1.1)
    assert len(caplog.records) == 1


async def test_a_name_nobody_knows_is_an_os_error() -> None:
    """Where nothing was known before."""
    names = Names()
    with pytest.raises(OSError, match="no address"):
        await names.addresses().in_turn()


async def test_the_system_knows_this_machine() -> None:
    """Numbers need no lookup; a name that cannot be one is an OSError too."""
    assert await system_resolve("127.0.0.1", 80) == [Address(socket.AF_INET, ("127.0.0.1", 80))]
    assert await system_resolve("::1", 80) == [Address(socket.AF_INET6, ("::1", 80))]
    with pytest.raises(OSError, match="no name of a host"):
        await system_resolve("x" * 70, 80)


async def test_the_interface_of_a_link_local_address_is_kept() -> None:
    """uvloop would leave it out."""
    (found,) = await system_resolve("fe80::1%1", 80)
    assert found.sockaddr == ("fe80::1%1", 80)
