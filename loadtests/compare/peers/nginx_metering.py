"""nginx with Lua as a user would meter with it today: keys, identity headers, `usage` of replies and
streams, counters in a shared dictionary, brought to Redis every 200 ms. A crash loses what was not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Final

from loadtests.compare import nginx
from loadtests.compare.peers.nginx_forwarding import START_S
from loadtests.compare.peers.peer import Running, Site
from loadtests.compare.processes import Command, listening, started
from loadtests.compare.redis_server import redis_server
from loadtests.compare.scenarios import Scenario

_INSIDE: Final = """\
  lua_package_path "{folder}/?.lua;;";
  lua_shared_dict counters 32m;
  init_by_lua_block {{ require("metering") }}
  init_worker_by_lua_block {{ require("metering").start("127.0.0.1", {redis}) }}
{origin}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      set $customer "";
      access_by_lua_block {{ require("metering").admit() }}
{forwards}
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Customer-Id $customer;
      proxy_set_header Authorization "";
      add_header X-Request-Id $request_id;
      body_filter_by_lua_block {{ require("metering").read() }}
      log_by_lua_block {{ require("metering").count() }}
    }}
  }}"""


class NginxMetering:
    """Does what the line-rate shell does, without a journal."""

    name = "nginx-lua"
    does = "meter, no journal"
    fetched = None

    def missing(self, _: Path) -> str | None:
        """Debian's packages; lua-cjson reads JSON in C."""
        return None if _complete() else "apt-get install nginx libnginx-mod-http-lua lua-cjson"

    def plays(self, _: Scenario) -> bool:
        """Everywhere."""
        return True

    def version(self, _: Path) -> str:
        """As the program says."""
        return nginx.version(nginx.executable("nginx") or "nginx") + " with Lua"

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """One worker, and its Redis on the other core."""
        with redis_server(site.folder, site.cores.origin) as redis:
            _write_lua(site)
            inside = _INSIDE.format(
                folder=site.folder,
                redis=redis,
                origin=nginx.origin(site.upstream),
                forwards=nginx.FORWARDS,
                port=site.port,
            )
            text = nginx.configuration(site.folder, inside, lua=True)
            argv = nginx.command(site.folder, text)
            with started(Command(argv, site.folder, site.cores.proxy, name="nginx")) as process:
                listening(process, site.port, site.folder / "nginx.log", START_S)
                yield Running(site.port, [process.pid])


def _complete() -> bool:
    roots = (Path("/usr/lib"), Path("/usr/local/lib"))
    return nginx.has_lua() and any(next(r.rglob("lua/5.1/cjson.so"), None) for r in roots)


def _write_lua(site: Site) -> None:
    ours = resources.files("loadtests.compare.peers").joinpath("metering.lua").read_text()
    (site.folder / "metering.lua").write_text(ours)
    lines = [f'["{key}"] = "{customer}",' for customer, key in site.customers]
    (site.folder / "keys.lua").write_text("\n".join(["return {", *lines, "}"]))
