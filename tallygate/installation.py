"""One installation, as its configuration describes it: what both planes are made from."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
from redis.asyncio import Redis

from billing_sync.app import Parts
from billing_sync.store.customers import StaticCustomer
from billing_sync.store.engine import open_engine, sqlite_url
from gateway.admission import Directory
from gateway.routing import RouteTable
from gateway.worker import Worker
from metering import embedded, keys
from metering.catalogue import catalogue
from metering.clock import SystemClock
from metering.connection import connect
from metering.journal import MemoryLane
from tallygate import secret_files
from tallygate.config import Config, parse_address

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True)
class Installation:
    """A configuration together with what it left to be made at first start."""

    config: Config

    @property
    def data_dir(self) -> Path:
        return Path(self.config.data_dir)

    def secret(self) -> bytes:
        """The installation's secret key."""
        given = self.config.secret_key
        text = given.get_secret_value() if given else secret_files.ensure(self.data_dir, "secret_key")
        return text.encode()

    def admin_token(self) -> str:
        """The operator's Bearer token."""
        given = self.config.control.admin_token
        return given.get_secret_value() if given else secret_files.ensure(self.data_dir, "admin_token")

    @property
    def embedded_redis(self) -> bool:
        return self.config.redis == "embedded"

    def redis(self) -> Redis:
        """A new client of the configured Redis."""
        url = embedded.url(self.data_dir) if self.embedded_redis else self.config.redis
        return connect(url)

    def worker(self, lane_id: str) -> Worker:
        """A gateway worker with a lane of its own."""
        config = self.config
        return Worker(
            table=RouteTable(config.routes, config.products, config.meters),
            directory=Directory(keys.pepper(self.secret()), config.customers),
            settings=config.gateway,
            redis=self.redis(),
            lane=MemoryLane(lane_id, config.partitions),
            clock=SystemClock(),
        )

    def parts(self, http: httpx.AsyncClient) -> Parts:
        """What the control plane is made from; the caller closes Redis and `http`."""
        config = self.config
        self.data_dir.mkdir(parents=True, exist_ok=True)
        return Parts(
            engine=open_engine(sqlite_url(self.data_dir / "ledger.db")),
            redis=self.redis(),
            http=http,
            catalogue=catalogue(config.products),
            partitions=config.partitions,
            billing=config.billing,
            koogallery=config.koogallery,
            static=[
                StaticCustomer(c.id, c.name, [(i.id, i.product) for i in c.instances])
                for c in config.customers
            ],
            secret=self.secret(),
            admin_token=self.admin_token(),
            front_end_url=self.front_end_url(),
            clock=SystemClock(),
        )

    def front_end_url(self) -> str:
        """Where buyers are told to call."""
        gateway = self.config.gateway
        return gateway.public_url or f"http://{parse_address(gateway.listen)}"


def set_up_logging() -> None:
    """Warnings and our own notices on standard error; request heads and bodies are never logged."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=_LOG_FORMAT)
    logging.getLogger("tallygate").setLevel(logging.INFO)
