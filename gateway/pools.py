"""The pools of a worker and the loop beside them; routes with the same upstream share its pool."""

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from socket import AF_UNIX
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import anyio

from gateway.balancing import Balancer
from gateway.dialing import Dialler, Tls, tls_context
from gateway.pool import Bounds, Pool
from gateway.resolving import Address, Addresses, Resolve, system_resolve
from gateway.routing import UNIX, ServedRoute, Upstream
from gateway.settings import HealthSettings

log = logging.getLogger("tallygate.gateway")

_SWEEP_S: Final = 0.25
_PORTS: Final = {"http": 80, "https": 443}


class Way(NamedTuple):
    """What two routes must have in common to use the same connections."""

    upstream: Upstream
    bounds: Bounds
    dns_ttl_s: float
    ca_file: str | None


class _Tasks:
    """Starts tasks from the event loop's callbacks, where a task group of anyio cannot."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[Any]] = set()

    def start_soon(self, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run it beside what called."""
        task = self._loop.create_task(func(*args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Cancel what still runs."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Pools:
    """`balancers` are those of the routes that are served, by name of route."""

    def __init__(
        self, resolve: Resolve = system_resolve, chance: Callable[[], float] = random.random
    ) -> None:
        self.balancers: dict[str, Balancer] = {}
        self._resolve = resolve
        self._chance = chance
        self._loop: asyncio.AbstractEventLoop
        self._tasks: _Tasks
        self._pools: dict[Way, tuple[Pool, Dialler]] = {}
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._leaving: list[Pool] = []
        self.runs = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connects and sweeps go on for as long as the block does; `serve` inside it."""
        self._loop = asyncio.get_running_loop()
        self._tasks = _Tasks(self._loop)
        self._tasks.start_soon(self._sweep_forever)
        self.runs = True
        try:
            yield
        finally:
            self.runs = False
            with anyio.CancelScope(shield=True):
                for pool in self.all():
                    await pool.aclose()
                await self._tasks.end()

    def serve(self, routes: Iterable[ServedRoute]) -> None:
        """These are the routes from now on. Raises OSError for an unusable `ca_file`.

        What they have in common with the routes before stays as it is; pools that are no longer
        needed keep serving the exchanges that know them.
        """
        served = {route.name: (_ways(route), route.health) for route in routes}
        wanted = {way for ways, _ in served.values() for way in ways}
        pools = {way: self._pools.get(way) or self._made(way) for way in wanted}
        for way, (pool, _) in self._pools.items():
            if way not in wanted:
                pool.retire()
                self._leaving.append(pool)
        self._pools = pools
        self.balancers = {name: self._balancer(name, *each) for name, each in served.items()}

    def all(self) -> Iterator[Pool]:
        """The pools in use, and those whose last exchanges are still open."""
        yield from [pool for pool, _ in self._pools.values()]
        yield from self._leaving

    def sweep(self, now_s: float) -> None:
        """What must be looked at a few times a second."""
        for pool in self.all():
            pool.sweep(now_s)
        for _, dialler in self._pools.values():
            if dialler.addresses.due(now_s):
                self._tasks.start_soon(dialler.addresses.refresh)
        for balancer in self.balancers.values():
            balancer.sweep(now_s)
        self._leaving = [pool for pool in self._leaving if pool.outstanding or pool.open]

    async def _sweep_forever(self) -> None:
        while True:
            await anyio.sleep(_SWEEP_S)
            try:
                self.sweep(self._loop.time())
            except Exception:
                log.exception("looking after the upstream connections failed")

    def _balancer(self, name: str, ways: Iterable[Way], health: HealthSettings) -> Balancer:
        pools = [self._pools[way][0] for way in ways]
        before = self.balancers.get(name)
        if before is not None and before.pools == pools and before.health == health:
            return before
        return Balancer(pools, health, self._chance, self._loop.time)

    def _made(self, way: Way) -> tuple[Pool, Dialler]:
        url = urlsplit(way.upstream.origin)
        tls = None
        if url.scheme == "https":
            tls = Tls(self._context(way.ca_file), url.hostname or "")
        addresses = Addresses(self._lookup(way.upstream.origin), way.dns_ttl_s)
        dialler = Dialler(way.upstream.origin, addresses, tls, way.bounds.wait_s, self._tasks)
        pool = Pool(way.upstream, way.bounds, dialler, self._loop)
        addresses.changed = pool.keep_only
        return pool, dialler

    def _lookup(self, origin: str) -> Callable[[], Awaitable[list[Address]]]:
        url = urlsplit(origin)
        if url.scheme == UNIX:
            return partial(_only, Address(AF_UNIX, url.path))
        return partial(self._resolve, url.hostname or "", url.port or _PORTS[url.scheme])

    def _context(self, ca_file: str | None) -> ssl.SSLContext:
        if ca_file not in self._contexts:
            self._contexts[ca_file] = tls_context(ca_file)
        return self._contexts[ca_file]


async def _only(address: Address) -> list[Address]:
    return [address]


def _ways(route: ServedRoute) -> tuple[Way, ...]:
    """One for each upstream of the route, in their order."""
    settings = route.pool
    bounds = Bounds(
        max_connections=settings.max_connections,
        max_waiting=settings.max_waiting,
        keepalive_s=settings.keepalive,
        wait_s=route.timeouts.connect,
    )
    return tuple(
        Way(upstream, bounds, settings.dns_ttl, settings.ca_file) for upstream in route.upstreams
    )
