"""What Prometheus sees of the connections to upstreams; read when it asks."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.balancing import Balancer
from gateway.pool import Pool
from gateway.pools import Pools

_GAUGES: Final[dict[str, tuple[str, Callable[[Pool], int]]]] = {
    "connections": ("Connections to the upstream.", lambda pool: pool.open),
    "connections_idle": ("Those that nobody uses.", lambda pool: pool.idle),
    "connecting": ("Connects under way.", lambda pool: pool.connecting),
    "waiting": ("Calls that wait for a connection.", lambda pool: pool.waiting),
}
_COUNTERS: Final[dict[str, tuple[str, Callable[[Pool], int]]]] = {
    "connections_opened": ("Connections that were opened.", lambda pool: pool.figures.opened),
    "connections_reused": ("Calls on a used connection.", lambda pool: pool.reused),
    "connects_failed": ("Connects that failed.", lambda pool: pool.figures.unreachable),
    "overflows": ("Calls without room in the queue.", lambda pool: pool.figures.overflowed),
}


class PoolMetrics(Collector):
    """Shows one worker's pools by their upstream, and its balancers by their route."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def collect(self) -> Iterable[Metric]:
        for name, (text, read) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"gateway_upstream_{name}", text, labels=("upstream",))
            yield self._by_upstream(gauge, read)
        for name, (text, read) in _COUNTERS.items():
            counter = CounterMetricFamily(f"gateway_upstream_{name}", text, labels=("upstream",))
            yield self._by_upstream(counter, read)
        yield self._by_route(
            GaugeMetricFamily(
                "gateway_upstreams_healthy", "Upstreams that get calls.", labels=("route",)
            ),
            lambda balancer: balancer.healthy,
        )
        yield self._by_route(
            CounterMetricFamily(
                "gateway_upstream_ejections", "Upstreams taken out.", labels=("route",)
            ),
            lambda balancer: balancer.ejections,
        )
        yield self._by_route(
            CounterMetricFamily(
                "gateway_upstream_retries", "Further attempts of calls.", labels=("route",)
            ),
            lambda balancer: balancer.retries,
        )

    def _by_upstream(self, family: Any, read: Callable[[Pool], int]) -> Metric:
        """Two pools of one upstream, with other settings, are one figure."""
        sums: dict[str, int] = {}
        for pool in self._pools.all():
            url = pool.origin + pool.upstream.path.decode()
            sums[url] = sums.get(url, 0) + read(pool)
        for url, value in sums.items():
            family.add_metric((url,), value)
        found: Metric = family
        return found

    def _by_route(self, family: Any, read: Callable[[Balancer], int]) -> Metric:
        for route, balancer in self._pools.balancers.items():
            family.add_metric((route,), read(balancer))
        found: Metric = family
        return found
