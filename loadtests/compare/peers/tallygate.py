"""Tallygate as a user runs it: a tallygate.yaml, `tallygate gateway` on the proxy's core, Redis and
`tallygate control` on the other. Everything is on: journal, keys, hygiene, ids, metrics.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

from gateway.settings import GatewaySettings
from loadtests.compare.fetching import Compiled
from loadtests.compare.peers.peer import Running, Site
from loadtests.compare.processes import Command, DidNotStart, last_words, listening, started
from loadtests.compare.redis_server import redis_server
from loadtests.compare.scenarios import Scenario

_START_S: Final = 120.0  # ten thousand customers are read from YAML
_HAS_SHELLS: Final = "shell" in GatewaySettings.model_fields


@dataclass(frozen=True)
class Tallygate:
    """One of its two shells: `linerate` or `portable`. `limited`: rates of calls and tokens and a
    package that stops brake every call, none of which it reaches. `fetched`: not the code that runs
    here, but the same compiled.
    """

    shell: str
    limited: bool = False
    fetched: Compiled | None = None

    @property
    def does(self) -> str:
        """In the tables."""
        return "meter, journal, rates, packages" if self.limited else "meter, journal"

    @property
    def name(self) -> str:
        """`tallygate` is what a user gets by default."""
        shell = "" if self.shell == "linerate" else f"-{self.shell}"
        compiled = "-compiled" if self.fetched else ""
        return f"tallygate{compiled}{shell}{'-limits' if self.limited else ''}"

    def missing(self, cache: Path) -> str | None:
        """A version without the choice has the portable shell only."""
        if self.fetched:
            return self.fetched.missing(cache)
        if _HAS_SHELLS or self.shell == "portable":
            return None
        return "a version of Tallygate with gateway.shell"

    def plays(self, _: Scenario) -> bool:
        """Everywhere."""
        return True

    def version(self, _: Path) -> str:
        """The installed one."""
        how = f"{self.shell}, compiled" if self.fetched else self.shell
        return f"Tallygate {metadata.version('tallygate')} ({how})"

    def _plane(self, name: str, site: Site) -> Command:
        python = sys.executable
        if self.fetched:
            python = str(self.fetched.home(site.cache) / "bin" / "python")
        cores = site.cores.proxy if name == "gateway" else site.cores.origin
        argv = [python, "-P", "-m", "tallygate", name, "-c", str(site.folder / "tallygate.yaml")]
        return Command(argv, site.folder, cores, name=name)

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """The control plane first: it sets the partitions up."""
        with ExitStack() as stack:
            redis = stack.enter_context(redis_server(site.folder, site.cores.origin))
            path = site.folder / "tallygate.yaml"  # JSON is YAML, and quicker to write
            config = configuration(site, self.shell, redis)
            if self.limited:
                config = with_limits(config)
            path.write_text(json.dumps(config, separators=(",", ":")))
            control = stack.enter_context(started(self._plane("control", site)))
            _said(site, "control", control)
            process = stack.enter_context(started(self._plane("gateway", site)))
            admin = _said(site, "gateway", process)["admin"]
            listening(process, site.port, site.folder / "gateway.log", _START_S)
            yield Running(site.port, [process.pid], admin, [control.pid])


def configuration(site: Site, shell: str, redis: int) -> dict[str, Any]:
    """Static customers, each with an instance of one product. A key may hold no dollar."""
    gateway: dict[str, Any] = {
        "listen": f"127.0.0.1:{site.port}",
        "admin_listen": "127.0.0.1:0",
        "drain_timeout": 2,
    }
    any_port = "127.0.0.1:0"
    return {
        "data_dir": "./var",
        "redis": f"redis://127.0.0.1:{redis}/0",
        "gateway": gateway | ({"shell": shell} if _HAS_SHELLS else {}),
        "control": {"listen": any_port, "admin_listen": any_port},
        "routes": [
            {"name": "chat", "path": "/v1", "upstream": [f"http://127.0.0.1:{site.upstream}"]}
        ],
        "products": [{"product_id": "CHAT", "routes": ["chat"], "meter": "tokens_total"}],
        "customers": [
            {"id": name, "keys": [key], "instances": [{"id": f"{name}i", "product": "CHAT"}]}
            for name, key in site.customers
        ],
    }


def with_limits(config: dict[str, Any]) -> dict[str, Any]:
    """The same, with rates and a package that brake every call, far from where they would."""
    quota = {"of": "CHAT", "quota": 10**12}
    package = {"product_id": "PKG", "package": {"items": [quota], "stop_before_excess": True}}
    customers = [
        each | {"instances": [*each["instances"], {"id": f"{each['id']}p", "product": "PKG"}]}
        for each in config["customers"]
    ]
    far = {"requests_per_second": 10**6, "tokens_per_minute": 10**9}
    return config | {
        "products": [*config["products"], package],
        "customers": customers,
        "limits": {"default": far},
    }


def _said(site: Site, plane: str, process: Popen[bytes]) -> dict[str, Any]:
    """What it announces when it serves. Raises DidNotStart."""
    path = site.folder / "var" / "run" / f"{plane}.json"
    limit = time.monotonic() + _START_S
    while time.monotonic() < limit and process.poll() is None:
        with suppress(OSError, ValueError):
            said: dict[str, Any] = json.loads(path.read_text())
            return said
        time.sleep(0.05)
    raise DidNotStart(f"{plane}: {last_words(site.folder / f'{plane}.log')}")
