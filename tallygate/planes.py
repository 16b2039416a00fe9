"""Runs one plane in this process: `tallygate gateway` and `tallygate control`."""

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import anyio
import httpx

from billing_sync.app import Control
from gateway.gate import RequestIds
from gateway.head_limit import bounded_heads
from metering.connection import check_policy
from metering.errors import MeteringUnavailable, WriteUnknown
from tallygate.addresses import parse_address
from tallygate.installation import Installation
from tallygate.listeners import Listener, address_of, bind, serve


class Sockets(NamedTuple):
    """The two listeners of a plane, bound."""

    public: socket.socket
    admin: socket.socket


def bind_plane(public: str, admin: str) -> Sockets:
    """Bind both listeners of a plane. Raises OSError naming the address."""
    return Sockets(bind(parse_address(public)), bind(parse_address(admin)))


async def run_gateway(installation: Installation, sockets: Sockets, owner: int | None) -> None:
    """One gateway worker, until it is told to stop."""
    settings = installation.config.gateway
    worker = installation.worker(uuid.uuid4().hex)
    await _check_redis(installation)
    heads = bounded_heads(settings.max_head_bytes, RequestIds(os.urandom))
    public = Listener(worker.public(), sockets.public, {"http": heads, **_tls(settings.tls)})
    admin = Listener(worker.admin(), sockets.admin)
    async with worker.running():
        _announce(installation, "gateway", sockets, tls=settings.tls is not None)
        await serve([public, admin], owner=owner, drain_s=settings.drain_timeout)


async def run_control(installation: Installation, sockets: Sockets, owner: int | None) -> None:
    """The control plane, until it is told to stop."""
    settings = installation.config.control
    await _check_redis(installation)
    async with httpx.AsyncClient() as http:
        parts = installation.parts(http)
        control = Control(parts)
        public = Listener(control.public(), sockets.public, _tls(settings.tls))
        admin = Listener(control.admin(), sockets.admin)
        try:
            async with control.running():
                _announce(installation, "control", sockets, tls=settings.tls is not None)
                await serve([public, admin], owner=owner, drain_s=5)
        finally:
            with anyio.CancelScope(shield=True):
                await parts.redis.aclose()
            parts.engine.dispose()


async def _check_redis(installation: Installation) -> None:
    """Refuse a Redis that would lose counters. One that is away is waited for by the loops."""
    redis = installation.redis()
    with contextlib.suppress(MeteringUnavailable, WriteUnknown):
        await check_policy(redis)
    await redis.aclose()


def _tls(tls: Any) -> dict[str, Any]:
    return {} if tls is None else {"ssl_certfile": tls.cert, "ssl_keyfile": tls.key}


def _announce(installation: Installation, plane: str, sockets: Sockets, *, tls: bool) -> None:
    """Write where the plane listens to `data_dir/run/<plane>.json`, for scripts and port 0."""
    folder = installation.data_dir / "run"
    folder.mkdir(parents=True, exist_ok=True)
    said = addresses(sockets, tls=tls) | {"pid": os.getpid()}
    draft = folder / f".{plane}.{os.getpid()}"
    draft.write_text(json.dumps(said) + "\n")
    draft.replace(folder / f"{plane}.json")


def addresses(sockets: Sockets, *, tls: bool) -> Mapping[str, Any]:
    """The URLs of a plane's listeners."""
    scheme = "https" if tls else "http"
    return {
        "public": f"{scheme}://{address_of(sockets.public)}",
        "admin": f"http://{address_of(sockets.admin)}",
    }
