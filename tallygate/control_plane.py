"""`tallygate control`: callbacks, ledger, push and API in this process."""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import anyio
import httpx
from anyio import to_thread

from billing_sync.app import Control
from billing_sync.callbacks import SERVING
from billing_sync.parts import Parts, new_id
from billing_sync.request_ids import NamedRequests
from billing_sync.sites import admin_site, public_site
from metering.catalogue import catalogue
from metering.clock import SystemClock
from metering.connection import Store
from tallygate.certificates import certificate_of
from tallygate.daily_reports import FOLDER, keep_reported, report_starter
from tallygate.declared_keys import static_customers
from tallygate.installation import Installation
from tallygate.ledgers import open_ledger
from tallygate.listeners import Listener, serve
from tallygate.planes import CONTROL_DRAIN_S, Sockets, announced
from tallygate.proving import CommandProver
from tallygate.reloading import kept_up
from tallygate.shown_limits import shown_limits
from tallygate.stopping import told_to_stop

log = logging.getLogger("tallygate")


async def run_control(
    installation: Installation,
    sockets: Sockets,
    owner: int | None,
    config_path: Path | None = None,
) -> None:
    """Serve until told to stop; with `config_path` daily reports are written too.

    Raises StoreUnsuitable, PartitionsDiffer or StaticConflict when it must not run, and OSError for
    unusable TLS files.
    """
    settings = installation.config.control
    with sockets.public, sockets.admin:
        async with told_to_stop(owner, reloads=True) as stop:
            certificate = certificate_of(settings.tls)
            tls = certificate.options() if certificate is not None else {}
            await installation.refuse_bad_redis()
            async with parts_of(installation) as parts:
                if config_path is not None:
                    folder = installation.data_dir / FOLDER
                    parts.prover = CommandProver(config_path, folder, parts.clock)
                control = Control(parts)
                served = NamedRequests(public_site(control), new_id)
                public = Listener(served, sockets.public, {**SERVING, **tls})
                admin = Listener(NamedRequests(admin_site(control), new_id), sockets.admin)
                reported = _reported(installation, parts, config_path)
                async with control.running(), reported, kept_up(stop, certificate, _stay_as_it_is):
                    with announced(installation, "control", sockets, tls=bool(tls)):
                        await serve([public, admin], stop, drain_s=CONTROL_DRAIN_S)


@asynccontextmanager
async def _reported(
    installation: Installation, parts: Parts, config_path: Path | None
) -> AsyncIterator[None]:
    """Daily reports are written for as long as the block lasts."""
    async with anyio.create_task_group() as group:
        if config_path is not None:
            folder = installation.data_dir / FOLDER
            start = report_starter(config_path)
            group.start_soon(keep_reported, folder, parts.engine, parts.clock, start)
        yield
        group.cancel_scope.cancel()


async def _stay_as_it_is() -> None:
    log.info("SIGHUP reads the certificate again; a new configuration needs a new start here")


@asynccontextmanager
async def parts_of(installation: Installation) -> AsyncIterator[Parts]:
    """What the control plane is made from, for as long as the block lasts."""
    config = installation.config
    secret, admin_token = installation.secret(), installation.admin_token()
    installation.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        engine = await to_thread.run_sync(open_ledger, installation)
        stack.callback(engine.dispose)
        redis = installation.redis()
        stack.push_async_callback(_close, redis)
        yield Parts(
            engine=engine,
            data_dir=installation.data_dir,
            redis=redis,
            http=await stack.enter_async_context(http_client()),
            catalogue=catalogue(config.products),
            partitions=config.partitions,
            billing=config.billing,
            koogallery=config.koogallery,
            static=static_customers(config.customers, secret),
            secret=secret,
            admin_token=admin_token,
            front_end_url=installation.front_end_url(),
            clock=SystemClock(),
            alerts=config.alerts,
            control=config.control,
            control_url=installation.control_url(),
            limits_of=partial(shown_limits, config.limits),
            quota_path=config.gateway.quota_path,
            metrics=config.control.metrics,
        )


def http_client() -> httpx.AsyncClient:
    """Calls the marketplace and webhooks. It keeps no cookies: whoever is called could fill memory."""
    nothing = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    return httpx.AsyncClient(cookies=nothing, verify=strict_tls())


def strict_tls() -> ssl.SSLContext:
    """Certificates and names are verified, and nothing older than TLS 1.2 is spoken: not every
    OpenSSL refuses that by itself."""
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _close(redis: Store) -> None:
    with anyio.CancelScope(shield=True):
        await redis.aclose()
