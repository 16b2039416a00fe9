"""From a request head to an exchange or a refusal."""

import os
from uuid import UUID

import pytest
from pydantic import SecretStr

from gateway.admission import Directory
from gateway.credentials import Networks
from gateway.errors import BadPath, BadRequest, MissingKey, UnknownRoute
from gateway.exchange import Exchange
from gateway.gate import Gate, RequestIds, Served
from gateway.passage import RequestHead
from gateway.routing import RouteTable
from gateway.settings import Customer, Route
from metering.usage import Outcome, UsageRecord

OURS = "00000000-0000-4000-8000-000000000001"
THEIRS = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
HOST, KEY = (b"host", b"gw"), (b"x-api-key", b"k")


def gate(*, peers: tuple[str, ...] = (), **route: object) -> Gate:
    """A gate with one route and one customer."""
    settings = {"name": "r", "path": "/v1", "upstream": ["http://a", "http://b"]} | route
    directory = Directory(b"pepper", [Customer(id="c", name="C", keys=[SecretStr("k")])])
    table = RouteTable([Route.model_validate(settings)])
    return Gate(Served(table, directory, Networks([]), Networks(peers)), lambda: 0)


def head(target: bytes, *headers: tuple[bytes, bytes], peer: str = "192.0.2.1") -> RequestHead:
    """A GET with these headers."""
    return RequestHead("GET", target, [HOST, *headers], peer, "http")


def record_of(exchange: Exchange) -> UsageRecord:
    """The record of an exchange that got an empty reply."""
    exchange.response_head(200, [])
    record = exchange.end(Outcome.COMPLETE, 1)
    assert record is not None
    return record


def test_request_ids_are_random_uuids_drawn_in_pools() -> None:
    """One draw of 4 KiB serves 256 requests."""
    draws: list[int] = []

    def draw(size: int) -> bytes:
        draws.append(size)
        return os.urandom(size)

    new_id = RequestIds(draw)
    ids = {new_id() for _ in range(257)}
    assert len(ids) == 257
    assert all(UUID(text).version == 4 for text in ids)
    assert draws == [4096, 4096]


def test_a_path_without_route_is_unknown_before_anyone_is_asked_for_a_key() -> None:
    """404 comes before 401."""
    with pytest.raises(UnknownRoute):
        gate().open(head(b"/v2"), OURS)
    with pytest.raises(MissingKey):
        gate().open(head(b"/v1"), OURS)


def test_bad_heads_and_paths_go_nowhere() -> None:
    """Both are checked before the route."""
    with pytest.raises(BadPath):
        gate().open(head(b"/v1/../admin", KEY), OURS)
    with pytest.raises(BadRequest):
        gate().open(head(b"/v1", KEY, HOST), OURS)


def test_the_word_of_a_trusted_peer_counts() -> None:
    """Customer and request id are its own; no key is needed."""
    exchange = gate(peers=("10.0.0.0/8",)).open(
        head(
            b"/v1",
            (b"x-customer-id", b"domain-7"),
            (b"x-request-id", THEIRS.encode()),
            peer="10.1.1.1",
        ),
        OURS,
    )
    record = record_of(exchange)
    assert (record.customer_id, record.request_id) == ("domain-7", THEIRS)


@pytest.mark.parametrize(
    ("peer", "identity"),
    [("192.0.2.1", ["api_key", "trusted"]), ("10.1.1.1", ["api_key"])],
)
def test_the_word_of_anyone_else_does_not(peer: str, identity: list[str]) -> None:
    """Neither from another address, nor where the route does not accept trusted peers."""
    entrance = gate(peers=("10.0.0.0/8",), identity=identity)
    stranger = head(b"/v1", (b"x-customer-id", b"domain-7"), peer=peer)
    with pytest.raises(MissingKey):
        entrance.open(stranger, OURS)
    with_key = head(
        b"/v1", KEY, (b"x-customer-id", b"domain-7"), (b"x-request-id", THEIRS.encode()), peer=peer
    )
    record = record_of(entrance.open(with_key, OURS))
    assert (record.customer_id, record.request_id) == ("c", OURS)


def test_a_trusted_peer_may_also_bring_a_key() -> None:
    """Without X-Customer-Id it is a caller like any other."""
    exchange = gate(peers=("10.0.0.0/8",)).open(head(b"/v1", KEY, peer="10.1.1.1"), OURS)
    assert record_of(exchange).customer_id == "c"
