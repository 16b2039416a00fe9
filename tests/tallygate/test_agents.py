"""What a configuration says of the Agents gateway is what workers know it by."""

from pathlib import Path

import pytest

from gateway.agents import Agents, Verdict
from tallygate.agents import agents_of
from tallygate.config import ConfigInvalid, parse
from tests.gateway.agent_tokens import APP, SECRET, said_at, token

NOW = 1_790_000_000_000
GOOD = token(said_at(NOW))
APPS = f"agent_apps: [{{app_key: {APP}, app_secret: {SECRET}}}]"


def agents(text: str) -> Agents | None:
    return agents_of(parse(f"koogallery: {{{text}}}", {}, base=Path("/")).koogallery)


def test_without_apps_and_header_nobody_can_be_it() -> None:
    """As in a configuration that says nothing of it."""
    assert agents("jwt_header: X-Token") is None


def test_apps_header_and_tolerance() -> None:
    """Names in any case; the tolerance in seconds."""
    known = agents(f"{APPS}, jwt_header: X-Agent-Token, jwt_tolerance: 5s")
    assert known is not None
    assert known.headers == {b"x-agent-token"}
    for late_ms, verdict in ((304_999, Verdict.PROVED), (305_000, Verdict.EXPIRED)):
        proof = known.prove([(b"x-agent-token", GOOD)], NOW + late_ms)
        assert proof is not None
        assert proof.verdict is verdict


def test_the_constant_header() -> None:
    """Alone is enough."""
    known = agents("constant_header: {name: X-Merchant, value: s3cret}")
    assert known is not None
    proof = known.prove([(b"x-merchant", b"s3cret")], NOW)
    assert proof is not None
    assert proof.holds
    assert known.prove([(b"authorization", GOOD)], NOW) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("agent_apps: [{app_key: a, app_secret: ''}]", "koogallery.agent_apps[0].app_secret"),
        ("agent_apps: [{app_key: '', app_secret: b}]", "koogallery.agent_apps[0].app_key"),
        ("constant_header: {name: X-A, value: ''}", "koogallery.constant_header.value"),
        ('constant_header: {name: X-A, value: "a\\tb"}', "koogallery.constant_header.value"),
        ("constant_header: {name: X A, value: b}", "koogallery.constant_header.name"),
        ("constant_header: {name: X-Customer-Id, value: b}", "koogallery.constant_header.name"),
        ("constant_header: {name: X-Forwarded-Proto, value: b}", "koogallery.constant_header.name"),
        ("jwt_header: Host", "koogallery.jwt_header"),
        ("jwt_tolerance: 60", "koogallery.jwt_tolerance"),
    ],
)
def test_what_would_let_anybody_in_is_refused(text: str, place: str) -> None:
    """An empty secret above all; and headers that everybody sends."""
    with pytest.raises(ConfigInvalid) as caught:
        agents(text)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(place)


def test_a_route_for_the_agents_gateway_alone_needs_something_to_know_it_by() -> None:
    """Or nobody could call."""
    route = "routes: [{name: a, path: /, upstream: ['http://u:1'], identity: [koogallery]}]\n"
    with pytest.raises(ConfigInvalid, match=r"koogallery\.agent_apps"):
        parse(route, {}, base=Path("/"))
    parse(f"{route}koogallery: {{{APPS}}}", {}, base=Path("/"))
