"""Everybody who takes part, in the order of a turn and of the tables."""

from collections.abc import Sequence
from typing import Final

from loadtests.compare.fetching import Compiled
from loadtests.compare.peers.direct import Direct
from loadtests.compare.peers.envoy import Envoy
from loadtests.compare.peers.haproxy import HAProxy
from loadtests.compare.peers.litellm import LiteLLM
from loadtests.compare.peers.nginx_forwarding import NginxForwarding
from loadtests.compare.peers.nginx_metering import NginxMetering
from loadtests.compare.peers.peer import Peer
from loadtests.compare.peers.tallygate import Tallygate
from loadtests.compare.peers.traefik import Traefik
from loadtests.compare.scenarios import UnknownName

PEERS: Final[tuple[Peer, ...]] = (
    Direct(),
    Tallygate("linerate"),
    Tallygate("linerate", fetched=Compiled()),
    Tallygate("linerate", limited=True),
    NginxMetering(),
    Envoy(),
    Tallygate("portable"),
    NginxForwarding(),
    HAProxy(),
    Traefik(),
    LiteLLM(),
)


def called(names: Sequence[str]) -> list[Peer]:
    """The peers of these names, all without any. Raises UnknownName."""
    known = [peer.name for peer in PEERS]
    if unknown := [name for name in names if name not in known]:
        raise UnknownName(f"no peer is called {unknown[0]}; there are {', '.join(known)}")
    return [peer for peer in PEERS if not names or peer.name in names]
