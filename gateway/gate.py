"""Lets requests in: from a request head to an Exchange, or to a refusal. Pure."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from uuid import UUID

from gateway import headers as fields
from gateway.admission import Admitted, Directory, admit_key, admit_trusted
from gateway.credentials import Networks, presented_key, trusted_identity
from gateway.exchange import Aim, Exchange, RequestHead
from gateway.routing import RouteTable, ServedRoute, Upstream, decoded_path

_POOL_BYTES: Final = 4096
_UUID_BYTES: Final = 16


class RequestIds:
    """UUID version 4 from random bytes that are drawn 4 KiB at a time."""

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        """`draw` returns that many random bytes, as `os.urandom` does."""
        self._draw = draw
        self._pool = b""
        self._at = 0

    def __call__(self) -> str:
        if self._at >= len(self._pool):
            self._pool, self._at = self._draw(_POOL_BYTES), 0
        raw = self._pool[self._at : self._at + _UUID_BYTES]
        self._at += _UUID_BYTES
        return str(UUID(bytes=raw, version=4))


class Gate:
    """Lets requests in; what all exchanges of a worker have in common."""

    def __init__(
        self,
        table: RouteTable,
        directory: Directory,
        trusted_proxies: Networks,
        trusted_peers: Networks,
    ) -> None:
        self._table = table
        self._directory = directory
        self._trusted_proxies = trusted_proxies
        self._trusted_peers = trusted_peers
        self._turns: Mapping[str, Iterator[Upstream]] = {
            route.name: itertools.cycle(route.upstreams) for route in table.routes
        }

    def open(self, head: RequestHead, request_id: str) -> Exchange:
        """The exchange of a request that may pass. Raises GatewayError for any other."""
        fields.check_request(head.headers, head.http_version)
        path = decoded_path(head.target)
        route = self._table.match(path)
        admitted, believed_id = self._admit(head, route)
        upstream = next(self._turns[route.name])
        about_caller = fields.forwarded(
            head.headers,
            peer=head.peer,
            scheme=head.scheme,
            trusted=head.peer in self._trusted_proxies,
        )
        target = route.upstream_target(head.target, upstream)
        aim = Aim(route, upstream, target, path.decode("utf-8", "replace"), about_caller)
        return Exchange(head, aim, admitted, believed_id or request_id)

    def _admit(self, head: RequestHead, route: ServedRoute) -> tuple[Admitted, str | None]:
        if "trusted" in route.identity and head.peer in self._trusted_peers:
            who = trusted_identity(head.headers)
            if who is not None:
                return admit_trusted(self._directory, route, who), who.request_id
        return admit_key(self._directory, route, presented_key(head.headers)), None
