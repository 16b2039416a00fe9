"""One installation, as its configuration describes it: what every process of it starts from."""

import logging
from dataclasses import dataclass
from pathlib import Path

from metering import embedded
from metering.connection import Store, check_policy, connect
from metering.errors import MeteringUnavailable, WriteUnknown
from tallygate import secret_files
from tallygate.addresses import parse_address
from tallygate.config import Config
from tallygate.config_schema import EMBEDDED

log = logging.getLogger("tallygate")


@dataclass(frozen=True)
class Installation:
    """A configuration together with what it left to be made at first start."""

    config: Config

    @property
    def data_dir(self) -> Path:
        return Path(self.config.data_dir)

    @property
    def journal_dir(self) -> Path:
        """The lanes of this host."""
        return self.data_dir / "journal"

    def secret(self) -> bytes:
        """The installation's secret key."""
        given = self.config.secret_key
        text = (
            given.get_secret_value() if given else secret_files.ensure(self.data_dir, "secret_key")
        )
        return text.encode()

    def admin_token(self) -> str:
        """The operator's Bearer token."""
        given = self.config.control.admin_token
        return (
            given.get_secret_value() if given else secret_files.ensure(self.data_dir, "admin_token")
        )

    @property
    def embedded_redis(self) -> bool:
        return self.config.redis == EMBEDDED

    def redis(self) -> Store:
        """A new client of the configured Redis, one server or a cluster."""
        url = embedded.url(self.data_dir) if self.embedded_redis else self.config.redis
        return connect(url)

    async def check_redis(self) -> None:
        """Raises StoreUnsuitable for a Redis that would lose counters, MeteringError without one."""
        redis = self.redis()
        try:
            await check_policy(redis)
        except MeteringUnavailable as away:
            hint = "; `tallygate serve` runs it" if self.embedded_redis else ""
            raise MeteringUnavailable(f"{away}{hint}") from away
        finally:
            await redis.aclose()

    async def refuse_bad_redis(self) -> None:
        """The same, but a Redis that is away is only said: the loops wait for it."""
        try:
            await self.check_redis()
        except (MeteringUnavailable, WriteUnknown) as reason:
            log.warning("%s; waiting for it", reason)

    def front_end_url(self) -> str:
        """Where buyers are told to call."""
        gateway = self.config.gateway
        scheme = "http" if gateway.tls is None else "https"
        return gateway.public_url or f"{scheme}://{parse_address(gateway.listen)}"

    def control_url(self) -> str:
        """Where customers reach their pages; on this machine only, where nothing is configured."""
        control = self.config.control
        scheme = "http" if control.tls is None else "https"
        return control.public_url or f"{scheme}://{parse_address(control.listen)}"
