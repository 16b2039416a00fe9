"""`tallygate gateway`: one gateway worker in this process."""

import gc
import os
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gateway.admission import Directory
from gateway.app import build_admin
from gateway.caretaker import Helper
from gateway.entitlement_file import EntitlementFile
from gateway.errors import NotCounted
from gateway.gate import RequestIds
from gateway.head_limit import bounded_heads
from gateway.onlookers import Onlookers
from gateway.refusing import build_refusing
from gateway.routing import RouteTable
from gateway.shared_metrics import OwnMetrics
from gateway.telemetry import Telemetry
from gateway.websocket_server import websocket_options
from gateway.worker import Worker
from metering import keys
from metering.clock import SystemClock
from metering.journal import Durability, Journal
from tallygate.agents import agents_of
from tallygate.certificates import certificate_of
from tallygate.handing_on import new_handle
from tallygate.helping import helper_starter
from tallygate.installation import Installation
from tallygate.listeners import Listener, serve
from tallygate.no_room import once_there_is_room
from tallygate.onlooking import Looking
from tallygate.planes import Sockets, announced
from tallygate.reloading import kept_up
from tallygate.rereading import Rereading
from tallygate.sharing import Share
from tallygate.stopping import Stop, told_to_stop


class Means(NamedTuple):
    """What a supervisor gives a worker, who is announced under this `name`.

    `owner` is the reading end of its pipe, `given` the handle of the configuration, `share` that of
    the connections.
    """

    owner: int | None = None
    name: str = "gateway"
    given: int | None = None
    share: Share | None = None


async def run_gateway(
    installation: Installation, sockets: Sockets, config_path: Path, means: Means
) -> None:
    """Serve until told to stop.

    While there is no room for its journal every call is refused. Raises StoreUnsuitable, or OSError
    for unusable TLS files or an unusable journal.
    """
    settings, owner = installation.config.gateway, means.owner
    given = new_handle(installation.config) if means.given is None else means.given
    with sockets.public, sockets.admin:
        async with told_to_stop(owner, reloads=True) as stop:
            certificate = certificate_of(settings.tls)
            tls = certificate.options() if certificate is not None else {}
            await installation.refuse_bad_redis()
            refuse = partial(_refuse, installation, sockets, tls)
            lane = await once_there_is_room(partial(_journal, installation), refuse, stop)
            if lane is None:
                return
            looking = Looking(installation.config, means.name)
            starter = helper_starter(config_path, owner, given)
            worker = _worker(installation, lane, starter, looking.onlookers)
            customers = worker.public()
            options = {"http": customers.protocol, **websocket_options(settings.websocket), **tls}
            public = Listener(customers.app, sockets.public, options, means.share)
            admin = Listener(worker.admin(), sockets.admin)
            rereading = Rereading(
                installation.config,
                config_path,
                os.environ,
                keys.pepper(installation.secret()),
                worker,
                given,
                supervised=owner is not None,
            )
            # What is here by now stays: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            running = looking.running(), worker.running()
            async with running[0], running[1], kept_up(stop, certificate, rereading.again):
                with announced(installation, means.name, sockets, tls=bool(tls)):
                    await serve([public, admin], stop, drain_s=settings.drain_timeout)


async def _refuse(
    installation: Installation, sockets: Sockets, tls: dict[str, Any], enough: Stop
) -> None:
    """Serve on copies of the sockets, which end with it."""
    settings, telemetry = installation.config.gateway, Telemetry()
    new_id = RequestIds(os.urandom)
    heads = bounded_heads(settings.max_head_bytes, new_id, telemetry)
    public = build_refusing(NotCounted, new_id, SystemClock())
    admin = build_admin(OwnMetrics(telemetry.registry()), lambda: "the journal has no room", dict)
    with sockets.public.dup() as one, sockets.admin.dup() as other:
        listeners = [Listener(public, one, {"http": heads, **tls}), Listener(admin, other)]
        await serve(listeners, enough, drain_s=1)


def _journal(installation: Installation) -> Journal:
    """A lane of this process. Raises JournalFull or OSError."""
    config = installation.config
    kept = config.gateway.journal
    durability = Durability(
        kept.fsync, kept.retention_days, kept.retention_bytes, kept.segment_bytes
    )
    folder, lane_id = installation.journal_dir, uuid.uuid4().hex
    return Journal(folder, lane_id, config.partitions, durability, SystemClock())


def _worker(
    installation: Installation,
    lane: Journal,
    start_helper: Callable[[list[str]], Helper],
    onlookers: Onlookers,
) -> Worker:
    """A worker, which closes its lane and its Redis client itself."""
    config, pepper = installation.config, keys.pepper(installation.secret())
    return Worker(
        table=RouteTable(config.routes, config.products, config.meters),
        directory=Directory(pepper, config.customers),
        settings=config.gateway,
        redis=installation.redis(),
        lane=lane,
        journal_dir=installation.journal_dir,
        partitions=config.partitions,
        clock=SystemClock(),
        start_helper=start_helper,
        file=EntitlementFile(installation.data_dir, keys.digest(pepper, "entitlement file")[:16]),
        limits=config.limits,
        agents=agents_of(config.koogallery),
        onlookers=onlookers,
    )
