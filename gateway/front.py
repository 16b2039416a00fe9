"""What the customers' listener serves by itself: the proxy, and at one path the caller's own figures.

Only where no route covers that path; which one does is said, as often as the routes change.
"""

import logging
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from gateway.errors import UnknownRoute
from gateway.gate import Gate
from gateway.proxy import Proxy
from gateway.quota import Quota

log = logging.getLogger("tallygate.gateway")


@dataclass
class Front:
    """The ASGI application. Without `quota` or `path` there is only the proxy."""

    gate: Gate
    proxy: Proxy
    path: str | None
    quota: Quota | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["path"] == self.path
        if asked and self.quota is not None and self._covering() is None:
            await self.quota(scope, receive, send)
        else:
            await self.proxy(scope, receive, send)

    def say(self) -> None:
        """Name the route that takes the place of the figures."""
        route = self._covering()
        if route is not None and self.quota is not None:
            log.warning(
                "route %s covers %s, so customers cannot ask for their quota; "
                "set gateway.quota_path to another path, or to null",
                route,
                self.path,
            )

    def _covering(self) -> str | None:
        if self.path is None:
            return None
        try:
            return self.gate.served.table.match(self.path.encode()).name
        except UnknownRoute:
            return None
