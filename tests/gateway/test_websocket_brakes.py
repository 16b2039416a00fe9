"""Limits of WebSockets through a running gateway."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.server import ServerConnection

from gateway.limiting import Limiting
from tests.fakes import FakeClock
from tests.gateway.lender import FakeBank, limits_of, open_calls
from tests.gateway.running import Running, gateway
from tests.gateway.talking import dial, echo, talker
from tests.gateway.test_limiting import ACCOUNT, pack
from tests.servers import eventually


@contextmanager
def limited(
    bank: FakeBank, limits: dict[str, Any], handler: Any = echo, *, sold: bool = False
) -> Iterator[tuple[Running, Limiting]]:
    """A gateway with such limits before an upstream of WebSockets."""
    limiting = limits_of(bank, limits, FakeClock(), loop_time=time.monotonic, go_on_alone=True)
    packages = (pack(),) if sold else ()
    with talker(handler) as up, gateway(up.url, limiting=limiting, packages=packages) as running:
        yield running, limiting


def use_for_ever(client: ClientConnection) -> None:
    """100 tokens again and again."""
    while True:
        client.send("more")
        client.recv(timeout=10)
        time.sleep(0.002)


def reports(connection: ServerConnection) -> None:
    """Each message uses 100 tokens."""
    for _ in connection:
        used = {"input_tokens": 60, "output_tokens": 40}
        connection.send(json.dumps({"type": "response.done", "response": {"usage": used}}))


def test_an_open_session_holds_its_slot() -> None:
    """Another one is refused in HTTP; when it closes there is room again."""
    with limited(FakeBank(), {"default": {"concurrent": 1}}) as (running, _):
        with dial(running):
            with pytest.raises(InvalidStatus) as refused:
                dial(running)
            assert refused.value.response.status_code == 429
            assert refused.value.response.headers["retry-after"] == "1"
            assert b"too_many_concurrent" in (refused.value.response.body or b"")
        running.idle()
        with dial(running) as client:
            client.send("hello")
            assert client.recv(timeout=10) == "hello"


def test_a_session_ends_when_its_package_is_used_up() -> None:
    """1008, and what was used is recorded."""
    bank = FakeBank(left={ACCOUNT: 1000})
    with limited(bank, {}, reports, sold=True) as (running, limits), dial(running) as client:
        with pytest.raises(ConnectionClosed) as closed:
            use_for_ever(client)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "package_used_up")
        used = running.record().quantities["tokens_total"].value
        assert used > 1000
        assert limits.desk.refusals == {("package", "package_used_up"): 1}
        (purse,) = limits.desk.active
        assert (purse.used, purse.reserved) == (used, 0)  # type: ignore[union-attr]


def test_a_session_reserves_as_it_uses() -> None:
    """The bank hears of it long before the session is recorded."""
    bank = FakeBank(left={ACCOUNT: 100_000})
    with limited(bank, {}, reports, sold=True) as (running, limits), dial(running) as client:
        for _ in range(60):
            client.send("more")
            client.recv(timeout=10)
        (purse,) = limits.desk.active
        eventually(lambda: purse.reserved == 6000)  # type: ignore[union-attr]
        eventually(lambda: bank.asked[-1].held >= 6000)  # type: ignore[union-attr]
    running.record()
    eventually(lambda: purse.used == 6000)  # type: ignore[union-attr]
    assert purse.reserved == 0  # type: ignore[union-attr]


def test_a_session_that_is_refused_upstream_gives_everything_back() -> None:
    """Nothing stays open."""
    bank = FakeBank(left={ACCOUNT: 1000})
    limits = limits_of(
        bank, {"default": {"concurrent": 3}}, FakeClock(), loop_time=time.monotonic, go_on_alone=True
    )  # fmt: skip
    with gateway("http://127.0.0.1:1", limiting=limits, packages=(pack(),)) as running:
        with pytest.raises(InvalidStatus) as refused:
            dial(running)
        assert refused.value.response.status_code == 502
        assert not any(open_calls(purse) for purse in limits.desk.active)


def test_stretches_settle_what_they_used() -> None:
    """Each record settles its part, and the session goes on."""
    bank = FakeBank(left={ACCOUNT: 100_000})
    limits = limits_of(bank, {}, FakeClock(), loop_time=time.monotonic, go_on_alone=True)
    settings = {"websocket": {"record_every": 0.2}}
    with (
        talker(reports) as up,
        gateway(up.url, limiting=limits, packages=(pack(),), settings=settings) as running,
        dial(running) as client,
    ):
        client.send("more")
        client.recv(timeout=10)
        eventually(lambda: len(running.kept.records) >= 2)
        (purse,) = limits.desk.active
        assert purse.used == 100  # type: ignore[union-attr]
