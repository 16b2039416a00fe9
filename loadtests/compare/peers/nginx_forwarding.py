"""nginx with `proxy_pass` and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from loadtests.compare import nginx
from loadtests.compare.peers.peer import Running, Site
from loadtests.compare.processes import Command, listening, started
from loadtests.compare.scenarios import Scenario

_INSIDE: Final = """\
{origin}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
{forwards}
    }}
  }}"""
START_S: Final = 20.0


class NginxForwarding:
    """Streams are not buffered: the origin asks for that with `X-Accel-Buffering`, as they do."""

    name = "nginx"
    does = "forward"
    fetched = None

    def missing(self, _: Path) -> str | None:
        """Debian's package."""
        return None if nginx.executable("nginx") else "apt-get install nginx"

    def plays(self, _: Scenario) -> bool:
        """Everywhere."""
        return True

    def version(self, _: Path) -> str:
        """As the program says."""
        return nginx.version(nginx.executable("nginx") or "nginx")

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """One worker."""
        inside = _INSIDE.format(
            origin=nginx.origin(site.upstream), forwards=nginx.FORWARDS, port=site.port
        )
        argv = nginx.command(site.folder, nginx.configuration(site.folder, inside))
        with started(Command(argv, site.folder, site.cores.proxy, name="nginx")) as process:
            listening(process, site.port, site.folder / "nginx.log", START_S)
            yield Running(site.port, [process.pid])
