"""What a Redis URL says: one server, or the nodes by which a cluster is found. Pure.

`redis+cluster://[user:password@]host:port[,host:port]…[?options]`, or `rediss+cluster://` over TLS.
The options are those of a single server's URL and hold for every node.
"""

from typing import Final, NamedTuple
from urllib.parse import urlsplit

_DEFAULT_PORT: Final = 6379
_CLUSTER: Final = {"redis+cluster": "redis", "rediss+cluster": "rediss"}


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ClusterUrl(NamedTuple):
    """A URL of a cluster, taken apart. `credentials` end in @ or are empty; `options` start with ?"""

    scheme: str
    credentials: str
    nodes: tuple[Address, ...]
    options: str

    def of(self, node: Address) -> str:
        """The URL of one of its nodes, as of a single server."""
        return f"{self.scheme}://{self.credentials}{node}{self.options}"


def is_cluster(url: str) -> bool:
    """Does the URL name a cluster?"""
    return url.partition("://")[0] in _CLUSTER


def parse_cluster(url: str) -> ClusterUrl:
    """The parts of a cluster's URL. Raises ValueError, without a secret, for what is none."""
    scheme, _, rest = url.partition("://")
    place, mark, options = rest.partition("?")
    credentials, at, hosts = place.rpartition("@")
    hosts, _, database = hosts.partition("/")
    if scheme not in _CLUSTER or database not in ("", "0"):
        raise ValueError("not the URL of a cluster, which has only database 0")
    nodes = tuple(_address(host) for host in hosts.split(","))
    return ClusterUrl(_CLUSTER[scheme], credentials + at, nodes, mark + options)


def _address(text: str) -> Address:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:  # its text would show what was given
        host, port = None, None
    if not host or port == 0:
        raise ValueError("every node is a host:port")
    return Address(host, _DEFAULT_PORT if port is None else port)
