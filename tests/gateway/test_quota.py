"""What a customer is told who asks with his own key: both shells, real sockets."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.quota import QuotaSource, no_limits
from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus
from metering.errors import MeteringUnavailable
from metering.keys import digest
from metering.lending import Balance, Part, account_of
from metering.partitions import partition_of
from tests.gateway.running import KEY, Running, gateway
from tests.servers import eventually, upstream

OTHER = "sk-other"


@dataclass
class Lender:
    """The bank; every customer has one package of 100 units, of which 40 are left."""

    asked: list[tuple[int, list[str]]] = field(default_factory=list)
    away: bool = False
    left: int = 40

    async def balances(self, partition: int, accounts: Sequence[str]) -> list[Balance]:
        self.asked.append((partition, list(accounts)))
        if self.away:
            raise MeteringUnavailable("Redis cannot be reached")
        parts = (Part("pkg-1", 100, self.left, 0),)
        return [Balance(each, 1, 1_790_000_000_000, parts) for each in accounts]

    async def leased(self, partition: int, names: Sequence[str]) -> list[int]:
        return [7 for _ in names]


def with_package() -> EntitlementSnapshot:
    """What the control plane adds to the customer of the configuration."""
    pkg = EntitledInstance("pkg-1", "P", InstanceStatus.ACTIVE)
    return EntitlementSnapshot("cust-1", "", (), (pkg,))


def buyer() -> EntitlementSnapshot:
    """Another customer, without any package."""
    key = EntitledKey("1", digest(b"pepper", OTHER))
    return EntitlementSnapshot("buyer", "", (key,), ())


@contextmanager
def asking(path: str | None = "/-/quota", **route: Any) -> Iterator[tuple[Running, Lender]]:
    """A gateway that tells its customers."""
    lender = Lender()
    with (
        upstream(lambda request: request.reply(b"upstream")) as up,
        gateway(up.url, settings={"quota_path": path}, **route) as gw,
    ):
        gw.directory.put(with_package())
        gw.public.tell_quota(QuotaSource(lender, no_limits, 16))
        yield gw, lender


@pytest.mark.usefixtures("shell")
def test_a_customer_is_told_with_his_key() -> None:
    """His package and what the gateways have in use; nothing is recorded or sent on."""
    with asking() as (gw, lender):
        reply, body = gw.ask(target="/-/quota?any=thing")
        shown = json.loads(body)
        assert (reply.status, shown["customer_id"]) == (200, "cust-1")
        assert [each["remaining"] for each in shown["packages"]] == ["40.0000"]
        assert [each["in_use"] for each in shown["items"]] == ["7.0000"]
        assert reply.getheader("Content-Type") == "application/json"
        assert reply.getheader("Cache-Control") == "no-store"
        assert reply.getheader("X-Request-Id")
        assert reply.getheader("Date")
        assert lender.asked == [(partition_of("cust-1", 16), [account_of("cust-1", "T")])]
        assert gw.kept.records == []


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("key", [None, "sk-wrong"])
def test_a_stranger_is_told_what_he_is_told_elsewhere(key: str | None) -> None:
    """The same 401, and nobody is asked for anything."""
    with asking() as (gw, lender):
        elsewhere, text = gw.ask(key=key)
        reply, body = gw.ask(target="/-/quota", key=key)
        said, known = json.loads(body)["error"], json.loads(text)["error"]
        assert said | {"request_id": ""} == known | {"request_id": ""}
        kept = ("www-authenticate", "content-type")
        assert [reply.status, *(reply.getheader(each) for each in kept)] == [
            elsewhere.status,
            *(elsewhere.getheader(each) for each in kept),
        ]
        assert lender.asked == []


def test_he_may_ask_as_often_as_he_likes() -> None:
    """The figures are read once a second, for each customer."""
    with asking() as (gw, lender), gw.connect() as connection:
        bodies = set()
        for _ in range(30):
            connection.request("GET", "/-/quota", headers={"X-Api-Key": KEY})
            bodies.add(connection.getresponse().read())
        assert len(lender.asked) == len(bodies) <= 2
        lender.left = 39
        eventually(lambda: b'"39.0000"' in gw.ask(target="/-/quota")[1])


def test_without_redis_he_is_told_the_last_figures() -> None:
    """Whose time stands in them; who has none is told to come again."""
    with asking() as (gw, lender):
        lender.away = True
        reply, body = gw.ask(target="/-/quota")
        assert (reply.status, reply.getheader("Retry-After")) == (503, "1")
        assert b"quota_unreadable" in body
        lender.away = False
        eventually(lambda: gw.ask(target="/-/quota")[0].status == 200)
        before, lender.away = len(lender.asked), True
        eventually(lambda: gw.ask(target="/-/quota")[0].status == 200 and lender.asked[before:])
        assert gw.ask(target="/-/quota")[0].status == 200


@pytest.mark.usefixtures("shell")
def test_it_is_only_read() -> None:
    """Anything but GET and HEAD is refused."""
    with asking() as (gw, lender):
        reply, body = gw.ask("POST", "/-/quota", b"{}")
        assert (reply.status, reply.getheader("Allow")) == (405, "GET, HEAD")
        assert json.loads(body)["error"]["code"] == "method_not_allowed"
        reply, body = gw.ask("HEAD", "/-/quota")
        assert (reply.status, body) == (200, b"")
        assert len(lender.asked) == 1


@pytest.mark.usefixtures("shell")
def test_it_gives_way_to_a_route(caplog: pytest.LogCaptureFixture) -> None:
    """And says so, once at the start."""
    with asking(path="/v1/quota") as (gw, lender):
        assert gw.ask(target="/v1/quota")[1] == b"upstream"
        assert lender.asked == []
    (said,) = [each for each in caplog.messages if "quota" in each]
    assert said.startswith("route chat covers /v1/quota")


@pytest.mark.usefixtures("shell")
def test_it_may_be_elsewhere_or_off() -> None:
    """The setting says where."""
    with asking(path="/me/left") as (gw, _):
        assert gw.ask(target="/me/left")[0].status == 200
        assert gw.ask(target="/-/quota")[0].status == 404
    with asking(path=None) as (gw, _):
        assert gw.ask(target="/-/quota")[0].status == 404


def test_a_key_tells_of_its_own_customer_only() -> None:
    """Also right after another one asked."""
    with asking() as (gw, lender):
        assert json.loads(gw.ask(target="/-/quota")[1])["customer_id"] == "cust-1"
        gw.directory.put(buyer())
        shown = json.loads(gw.ask(target="/-/quota", key=OTHER)[1])
        assert shown["customer_id"] == "buyer"
        assert shown["packages"] == []
        assert lender.asked[1][1] == []
