"""Puts the doctor's visit together: looks around an installation, examines a production address."""

import json
from collections.abc import Sequence

import anyio

from metering.clock import SystemClock
from tallygate.control_plane import http_client
from tallygate.doctor.diagnosis import Diagnosis
from tallygate.doctor.marketplace import look_at_keys, look_at_open_api
from tallygate.doctor.stores import look_at_folder, look_at_ledger, look_at_redis
from tallygate.doctor.tls import look_at_tls
from tallygate.doctor.upstreams import look_at_routes
from tallygate.installation import Installation
from tallygate.simulator.callbacks import Callbacks
from tallygate.simulator.checks import TIMEOUT_MS
from tallygate.simulator.clock import WallClock
from tallygate.simulator.examination import Examination, Examined, Order
from tallygate.simulator.suites import Suite


async def look_around(installation: Installation) -> Sequence[Diagnosis]:
    """Everything but the callbacks, all at once."""
    config, clock = installation.config, SystemClock()
    found: dict[int, Sequence[Diagnosis]] = {
        0: [look_at_folder(installation)],
        3: [*look_at_tls(config), *look_at_keys(config.koogallery)],
    }

    async def redis() -> None:
        found[1] = [await look_at_redis(installation, clock)]

    async def ledger() -> None:
        found[2] = [await look_at_ledger(installation)]

    async def open_api() -> None:
        async with http_client() as http:
            found[4] = await look_at_open_api(http, config.koogallery, clock)

    async def routes() -> None:
        found[5] = await look_at_routes(config.routes)

    async with anyio.create_task_group() as group:
        for look in (redis, ledger, open_api, routes):
            group.start_soon(look)
    return [each for number in sorted(found) for each in found[number]]


async def examine(url: str, suites: Sequence[Suite], order: Order) -> list[Examined]:
    """Every case of the suites against the address."""
    clock = WallClock()
    # The suites sign with keys of their own.
    callbacks = Callbacks("", clock, TIMEOUT_MS / 1000)
    try:
        return await Examination(callbacks, url, suites, clock, order).run()
    finally:
        await callbacks.close()


def announced(installation: Installation) -> str | None:
    """Where a running control plane of this host says that it listens."""
    path = installation.data_dir / "run" / "control.json"
    try:
        said = json.loads(path.read_text())
        return str(said["public"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
