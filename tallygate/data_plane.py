"""`tallygate gateway`: one gateway worker in this process."""

import os
import uuid

from gateway.admission import Directory
from gateway.gate import RequestIds
from gateway.head_limit import bounded_heads
from gateway.routing import RouteTable
from gateway.worker import Worker
from metering import keys
from metering.clock import SystemClock
from metering.journal import MemoryLane
from tallygate.installation import Installation
from tallygate.listeners import Listener, serve
from tallygate.planes import Sockets, announced, tls_options
from tallygate.stopping import told_to_stop


async def run_gateway(installation: Installation, sockets: Sockets, owner: int | None) -> None:
    """Serve until told to stop. Raises StoreUnsuitable, or OSError for unusable TLS files."""
    settings = installation.config.gateway
    with sockets.public, sockets.admin:
        async with told_to_stop(owner) as stop:
            tls = tls_options(settings.tls)
            await installation.refuse_bad_redis()
            worker = _worker(installation)
            heads = bounded_heads(settings.max_head_bytes, RequestIds(os.urandom), worker.telemetry)
            public = Listener(worker.public(), sockets.public, {"http": heads, **tls})
            admin = Listener(worker.admin(), sockets.admin)
            async with worker.running():
                with announced(installation, "gateway", sockets, tls=bool(tls)):
                    await serve([public, admin], stop, drain_s=settings.drain_timeout)


def _worker(installation: Installation) -> Worker:
    """A worker with a lane of its own, which closes its Redis client itself."""
    config = installation.config
    return Worker(
        table=RouteTable(config.routes, config.products, config.meters),
        directory=Directory(keys.pepper(installation.secret()), config.customers),
        settings=config.gateway,
        redis=installation.redis(),
        lane=MemoryLane(uuid.uuid4().hex, config.partitions),
        clock=SystemClock(),
    )
