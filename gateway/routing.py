"""Which route a path belongs to, and what the route's upstream is asked for. Pure.

A path is matched as an upstream would read it, percent-decoded, so that no spelling of it is
counted as one route and served as another. It is forwarded byte for byte as it came.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote_to_bytes, urlsplit

from gateway.errors import BadPath, UnknownRoute
from gateway.readings import Path
from gateway.request_usage import BUILT_IN, Asked
from gateway.settings import HealthSettings, Meter, PoolSettings, Route, Timeouts
from gateway.tap import UsagePlan
from metering.catalogue import Product, catalogue, sold_on

UNIX: Final = "http+unix"  # scheme of an upstream at a unix socket

_COUNTED_HERE: Final = frozenset(
    {"requests", "bytes_in", "bytes_out", "messages_in", "messages_out", "duration_ms"}
)
_DECODINGS: Final = 3  # deeper nesting of percent signs serves no honest caller

_NOT_PRINTABLE: Final = re.compile(rb"[^\x21-\x7e]")
_AMBIGUOUS: Final = re.compile(rb"[\x00-\x1f\x7f\\]|//")
# A segment `.` or `..`, also with the parameters some servers cut off first (`..;x`).
_DOT_SEGMENT: Final = re.compile(rb"(?:^|[/\\])\.{1,2}(?:;[^/\\]*)?(?:[/\\]|$)")


@dataclass(frozen=True, slots=True)
class Upstream:
    """One base URL behind a route: `origin` as in `http://host:port`, `path` without last `/`.

    `origin` of a unix socket is `http+unix:///run/app.sock`; such a URL has no path of its own.
    """

    origin: str
    host: bytes
    path: bytes


@dataclass(frozen=True, slots=True)
class ServedRoute:
    """Everything an exchange needs to know of its route."""

    name: str
    prefix: bytes
    upstreams: tuple[Upstream, ...]  # each once
    strip_prefix: bool
    identity: frozenset[str]
    forward_authorization: bool
    timeouts: Timeouts
    pool: PoolSettings
    health: HealthSettings
    plan: UsagePlan
    on_disconnect: Literal["drain", "abort"]
    products: tuple[Product, ...]

    def covers(self, path: bytes) -> bool:
        """Whether the decoded path lies under the prefix, on a segment boundary."""
        prefix = self.prefix
        return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/")

    def rest_of(self, target: bytes) -> bytes:
        """Path and query as any upstream gets them below its own path. Raises BadPath."""
        if not self.strip_prefix:
            return target
        path, mark, query = target.partition(b"?")
        return _after_prefix(path, self.prefix) + mark + query


class RouteTable:
    """All routes of a worker. Immutable."""

    def __init__(
        self,
        routes: Iterable[Route],
        products: Iterable[Product] = (),
        meters: Mapping[str, Meter] | None = None,
    ) -> None:
        """Raises ValueError for two routes of one name or path, and for an unusable upstream."""
        sold = list(products)
        self.products = catalogue(sold)
        served = [_served(route, sold_on(sold, route.name), meters or {}) for route in routes]
        _refuse_twins([route.name for route in served], "name")
        _refuse_twins([route.prefix.decode() or "/" for route in served], "path")
        self.packages = tuple(product for product in sold if product.is_package)
        self.routes = tuple(sorted(served, key=lambda route: len(route.prefix), reverse=True))

    def match(self, path: bytes) -> ServedRoute:
        """The route with the longest prefix of the decoded path. Raises UnknownRoute."""
        for route in self.routes:
            if route.covers(path):
                return route
        raise UnknownRoute


def decoded_path(target: bytes) -> bytes:
    """The path of an origin-form target, percent-decoded once. Raises BadPath.

    Refused is what upstreams are known to rewrite: dot segments (RFC 3986 §5.2.4) in any nesting
    of percent-encoding, empty segments, backslashes, control characters.
    """
    if not target.startswith(b"/") or _NOT_PRINTABLE.search(target):
        raise BadPath
    decoded = unquote_to_bytes(target.partition(b"?")[0])
    if _AMBIGUOUS.search(decoded):
        raise BadPath
    deeper = decoded
    for _ in range(_DECODINGS):
        if _DOT_SEGMENT.search(deeper):
            raise BadPath
        before, deeper = deeper, unquote_to_bytes(deeper)
        if deeper == before:
            return decoded
    raise BadPath


def _after_prefix(path: bytes, prefix: bytes) -> bytes:
    """The raw path after the bytes that decode to the prefix, `/` when nothing is left."""
    at = 0
    for _ in prefix:
        at += 3 if path[at : at + 1] == b"%" else 1
    rest = path[at:] or b"/"
    if not rest.startswith(b"/"):
        raise BadPath("Write the '/' that ends the route's prefix plainly, not as '%2F'.")
    return rest


def _served(
    route: Route, products: tuple[Product, ...], meters: Mapping[str, Meter]
) -> ServedRoute:
    return ServedRoute(
        name=route.name,
        prefix=route.path.rstrip("/").encode(),
        upstreams=tuple(dict.fromkeys(_upstream(url) for url in route.upstream)),
        strip_prefix=route.strip_prefix,
        identity=frozenset(route.identity),
        forward_authorization=route.forward_authorization,
        timeouts=route.timeouts,
        pool=route.pool,
        health=route.health,
        plan=_plan(route, products, meters),
        on_disconnect=route.usage.on_disconnect,
        products=products,
    )


def _plan(route: Route, products: tuple[Product, ...], meters: Mapping[str, Meter]) -> UsagePlan:
    sold = frozenset(product.meter for product in products if product.meter is not None)
    keys = {name: tuple(meter.path.split(".")[1:]) for name, meter in meters.items()}
    asked = {name: BUILT_IN[name] for name in sorted(sold & BUILT_IN.keys())} | {
        name: Asked(keys[name], meter.count, meter.times)
        for name, meter in meters.items()
        if meter.of == "request"
    }
    replied = {name: meter for name, meter in meters.items() if meter.of == "reply"}
    return UsagePlan(
        dialect=route.usage.dialect,
        paths={name: Path(keys[name], meter.times) for name, meter in replied.items()},
        asked=asked if route.usage.dialect != "none" else {},
        expected=sold - _COUNTED_HERE,
        inject=route.usage.inject_stream_usage == "auto",
        normalize=route.usage.normalize,
    )


def _upstream(url: str) -> Upstream:
    parts = urlsplit(url)
    if parts.scheme == UNIX:
        if parts.netloc or not parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("a unix socket is written http+unix:///run/app.sock")
        return Upstream(url, b"localhost", b"")
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("an upstream URL has scheme, host, port and path, and nothing else")
    _ = parts.port  # raises ValueError when it is no port
    host = parts.netloc.encode("idna")
    path = parts.path.rstrip("/").encode("ascii")
    return Upstream(f"{parts.scheme}://{host.decode()}", host, path)


def _refuse_twins(values: list[str], what: str) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"two routes have the {what} {value!r}")
