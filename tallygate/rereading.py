"""How a gateway worker takes over a new configuration: routes, customers, and whom it trusts."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from gateway.admission import Directory
from gateway.app import served_by
from gateway.gate import Served
from gateway.routing import RouteTable
from gateway.worker import Worker
from metering.entitlement import EntitlementSnapshot
from tallygate.agents import agents_of
from tallygate.changes import AT_ONCE, difference, merged
from tallygate.config import Config, ConfigInvalid, load
from tallygate.handing_on import put
from tallygate.reloading import said_of, say_what_waits

log = logging.getLogger("tallygate")


@dataclass
class Rereading:
    """How one worker reads its configuration again. `config` is what it serves.

    A supervised one leaves it to its supervisor to say what a restart is for, and to hand on what
    others shall run (`given`).
    """

    config: Config
    path: Path
    environ: Mapping[str, str]
    pepper: bytes
    worker: Worker
    given: int
    supervised: bool

    async def again(self) -> None:
        """Take over what can be; never raises.

        Reading and checking is done beside the event loop: thousands of customers take a while.
        """
        since = self.worker.projected()
        try:
            read, served = await to_thread.run_sync(self._read, since)
            self.worker.serve(served, since)
        except (ConfigInvalid, OSError, ValueError) as problem:
            self._refused(said_of(problem))
            return
        except Exception as problem:
            log.exception("the configuration could not be read again")
            self._refused(repr(problem))
            return
        self._taken_over(read)

    def _read(self, projected: Mapping[str, EntitlementSnapshot]) -> tuple[Config, Served]:
        read = load(self.path, self.environ)
        directory = Directory(self.pepper, read.customers)
        for snapshot in projected.values():
            directory.put(snapshot)
        table = RouteTable(read.routes, read.products, read.meters)
        agents = agents_of(read.koogallery)
        return read, served_by(table, directory, read.gateway, read.limits, agents)

    def _refused(self, why: str) -> None:
        self.worker.reloads.refused()
        log.error("the configuration is not taken over, and nothing changes: %s", why)

    def _taken_over(self, read: Config) -> None:
        change = difference(self.config, read)
        self.config = merged(self.config, read, AT_ONCE)
        self.worker.reloads.taken_over(self.worker.clock.now_ms())
        log.info("configuration read again; changed: %s", ", ".join(sorted(change.at_once)) or "-")
        if not self.supervised:
            put(self.given, self.config)
            say_what_waits(change, supervised=False)
