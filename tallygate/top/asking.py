"""Asks the processes of an installation how they are. Nothing is changed by it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import anyio
import httpx

from metering.clock import Clock
from tallygate.installation import Installation
from tallygate.planes import announcements
from tallygate.top import names
from tallygate.top.samples import Control, Round, Worker, control_of, read, worker_of

MOST_BYTES: Final = 16 << 20
_PATIENCE_S: Final = 3.0
_HOUR_MS: Final = 3_600_000


class Silent(Exception):
    """A process does not answer, or with something else."""


def new_client() -> httpx.AsyncClient:
    """For one session; never through a proxy, for the processes are ours."""
    return httpx.AsyncClient(trust_env=False, timeout=_PATIENCE_S)


async def ask(http: httpx.AsyncClient, installation: Installation, clock: Clock) -> Round:
    """One round; who is silent is said to be so. No workers at all where nothing runs."""
    told = announcements(installation)
    control: list[Control] = []
    workers: list[Worker] = []

    async def of_worker(name: str, said: Mapping[str, Any]) -> None:
        workers.append(await _worker(http, name, said))

    async def of_control(said: Mapping[str, Any]) -> None:
        token = installation.admin_token()
        control.append(await _control(http, str(said["admin"]), token, clock.now_ms()))

    async with anyio.create_task_group() as group:
        for name, said in told.items():
            if name == "control":
                group.start_soon(of_control, said)
            elif name.startswith("gateway"):
                group.start_soon(of_worker, name, said)
    workers.sort(key=lambda each: (len(each.name), each.name))
    found = control[0] if control else None
    return Round(anyio.current_time(), clock.now_ms(), tuple(workers), found)


async def _worker(http: httpx.AsyncClient, name: str, said: Mapping[str, Any]) -> Worker:
    admin, pid = str(said["admin"]), int(said["pid"])
    try:
        exposition = read(await _text(http, f"{admin}{names.WORKER_METRICS}"))
        journal = json.loads(await _text(http, f"{admin}{names.WORKER_JOURNAL}"))
    except (Silent, ValueError):
        return Worker(name, pid, up=False)
    return worker_of(name, pid, exposition, journal)


async def _control(http: httpx.AsyncClient, admin: str, token: str, now_ms: int) -> Control:
    hour = now_ms // _HOUR_MS * _HOUR_MS
    asked = f"{names.USAGE}?by=customer,meter&from={_utc(hour)}"
    try:
        exposition = read(await _text(http, f"{admin}{names.CONTROL_METRICS}"))
        health = json.loads(await _text(http, f"{admin}{names.CONTROL_HEALTH}"))
        try:
            usage = json.loads(await _text(http, f"{admin}{asked}", token))
        except Silent:  # more customers than it tells at once
            usage = {}
    except (Silent, ValueError):
        return Control(up=False)
    return control_of(exposition, usage, health)


async def _text(http: httpx.AsyncClient, url: str, token: str = "") -> str:
    """What stands there. Raises Silent."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with anyio.fail_after(_PATIENCE_S):
            async with http.stream("GET", url, headers=headers) as reply:
                if reply.status_code != 200:
                    raise Silent(f"{url}: {reply.status_code}")
                body = bytearray()
                async for piece in reply.aiter_bytes():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise Silent(f"{url}: too long")
    except (httpx.HTTPError, TimeoutError) as problem:
        raise Silent(f"{url}: {type(problem).__name__}") from problem
    return body.decode("utf-8", "replace")


def _utc(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
