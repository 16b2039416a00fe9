"""HAProxy as Debian installs it: one thread."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from loadtests.compare.nginx import executable
from loadtests.compare.peers.peer import Running, Site
from loadtests.compare.processes import Command, listening, started
from loadtests.compare.scenarios import Scenario

_START_S: Final = 20.0
_CONFIGURATION: Final = """\
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  option forwardfor
  http-reuse always
frontend in
  bind 127.0.0.1:{port} backlog 4096
  default_backend origin
backend origin
  server origin 127.0.0.1:{upstream} pool-max-conn 1024
"""


class HAProxy:
    """Forwards only."""

    name = "haproxy"
    does = "forward"
    fetched = None

    def missing(self, _: Path) -> str | None:
        """Debian's package."""
        return None if executable("haproxy") else "apt-get install haproxy"

    def plays(self, _: Scenario) -> bool:
        """Everywhere."""
        return True

    def version(self, _: Path) -> str:
        """As the program says."""
        argv = [executable("haproxy") or "haproxy", "-v"]
        said = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
        return " ".join(said.stdout.split()[:1] + said.stdout.split()[2:3])

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """In the foreground."""
        path = site.folder / "haproxy.cfg"
        path.write_text(_CONFIGURATION.format(port=site.port, upstream=site.upstream))
        argv = [executable("haproxy") or "haproxy", "-db", "-f", str(path)]
        with started(Command(argv, site.folder, site.cores.proxy, name="haproxy")) as process:
            listening(process, site.port, site.folder / "haproxy.log", _START_S)
            yield Running(site.port, [process.pid])
