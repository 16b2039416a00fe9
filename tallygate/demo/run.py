"""The main job, end to end, on one machine: sold, called, counted, pushed, collected, compared."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import yaml
from pydantic import BaseModel

from tallygate.config import load
from tallygate.demo.processes import DidNotStart, running
from tallygate.demo.report import Report
from tallygate.demo.shop import PRODUCTS, ROUTE, Buyer, Shop
from tallygate.demo.stations import Stations
from tallygate.demo.tally import rows
from tallygate.demo.traffic import Traffic
from tallygate.installation import Installation
from tallygate.serve import Supervisor
from tallygate.sync import run_once

METERS: Final = ("requests", "tokens_in", "tokens_out", "tokens_total")
_KEYS: Final = {"KOO_ACCESS_KEY": "demo-access-key", "KOO_AK": "demo-ak", "KOO_SK": "demo-sk"}
_READY_S: Final = 60.0
_CLOSE_S: Final = 30.0
_ANY_PORT: Final = "127.0.0.1:0"


@dataclass(frozen=True)
class Wishes:
    """How the demo was asked for."""

    requests: int
    seconds: float | None
    keep: bool


@dataclass(frozen=True)
class Screen:
    """Whom the demo tells: what it does now, how many calls are done, and what it found."""

    say: Callable[[str], None]
    progress: Callable[[int], None]
    show: Callable[[Report], None]


async def run_demo(wishes: Wishes, screen: Screen, hurried: anyio.Event) -> None:
    """Run it all and show the report; with `keep`, stay until cancelled.

    However it ends, nothing is left running and the temporary folder is gone. Raises what the
    parts raise; `hurried` cuts the end short.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallygate-demo-")))
        screen.say("starting the stub upstream and the KooGallery simulator")
        serve_market = ("tallygate", "simulate", "serve", "--listen", _ANY_PORT)
        upstream = await stack.enter_async_context(
            running("tallygate.demo.upstream", "--listen", _ANY_PORT)
        )
        market = await stack.enter_async_context(running(*serve_market, env=_KEYS))
        screen.say("starting Valkey, control plane and gateway")
        path = folder / "tallygate.yaml"
        path.write_text(yaml.safe_dump(configuration(upstream, market)))
        installation = Installation(load(path, {}))
        supervisor = Supervisor(installation, path)
        stack.push_async_callback(_stop, supervisor, hurried)
        supervisor.start()
        await _until_ready(supervisor)
        urls = {**supervisor.urls(), "upstream": upstream, "simulator": market}
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        stations = Stations(http, Shop(http, market), urls, installation.admin_token())
        screen.show(await _play(installation, stations, wishes, screen))
        if wishes.keep:
            await supervisor.keep()


async def _until_ready(supervisor: Supervisor) -> None:
    await supervisor.wait_until_up()
    with anyio.move_on_after(_READY_S) as patience:
        await supervisor.wait_until_ready()
    if patience.cancelled_caught:
        raise DidNotStart(f"the gateway was not ready within {_READY_S:.0f} s")


async def _stop(supervisor: Supervisor, hurried: anyio.Event) -> None:
    with anyio.CancelScope(shield=True):
        await supervisor.stop(hurried)


async def _play(
    installation: Installation, stations: Stations, wishes: Wishes, screen: Screen
) -> Report:
    screen.say("customers buy pay-per-use instances and packages through signed callbacks")
    shop = stations.shop
    await shop.open(f"{stations.urls['control']}/koogallery")
    buyers = await shop.sell()
    screen.say("customers call the API, JSON and SSE")
    traffic = Traffic(stations.urls["gateway"], buyers)
    await traffic.send(_enough(wishes), screen.progress)
    screen.say("waiting for the counts, closing the window, pushing")
    await stations.until_counted(traffic.counted.requests)
    await _close_and_push(installation, stations, buyers)
    await shop.collect()
    page = {"customer_page": await stations.customer_page(buyers[0])} if wishes.keep else {}
    return Report(
        requests=traffic.counted.requests,
        rows=rows(await stations.counts(traffic.counted, buyers), METERS),
        packages=await stations.packages(buyers),
        records=await shop.records(),
        findings=await shop.findings(),
        urls={**_to_look_at(stations.urls), **page} if wishes.keep else {},
    )


def _to_look_at(urls: Mapping[str, str]) -> dict[str, str]:
    """What a person or a script may open while the demo stays."""
    pages = {
        "gateway_metrics": f"{urls['gateway_admin']}/-/metrics",
        "console": f"{urls['control_admin']}/console",
        "control_metrics": f"{urls['control_admin']}/metrics",
        "usage_api": f"{urls['control_admin']}/api/v1/usage",
    }
    return {**urls, **pages}


async def _close_and_push(
    installation: Installation, stations: Stations, buyers: Sequence[Buyer]
) -> None:
    """Records hold whole seconds: what was used in a second that is not over waits for the next."""
    with anyio.move_on_after(_CLOSE_S):
        pushed = False
        while not pushed:
            await run_once(installation, close_now=True)
            await stations.until_pushed()
            pushed = await stations.all_pushed(buyers)
            await anyio.sleep(0 if pushed else 0.5)


def configuration(upstream: str, market: str) -> dict[str, Any]:
    """The demo's tallygate.yaml, as data."""
    return {
        "data_dir": "./var",
        "log": {"level": "warning"},  # so that the table is what is seen
        "gateway": {"listen": _ANY_PORT, "admin_listen": _ANY_PORT},
        "control": {"listen": _ANY_PORT, "admin_listen": _ANY_PORT},
        "routes": [{"name": ROUTE, "path": "/v1", "upstream": [upstream]}],
        "products": [_plain(product) for product in PRODUCTS],
        "koogallery": {
            "base_url": market,
            "access_key": _KEYS["KOO_ACCESS_KEY"],
            "ak": _KEYS["KOO_AK"],
            "sk": _KEYS["KOO_SK"],
        },
    }


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_defaults=True)


def _enough(wishes: Wishes) -> Callable[[int], bool]:
    """Told how many calls were begun, says whether that is enough."""
    if wishes.seconds is None:
        return lambda begun: begun >= wishes.requests
    deadline = anyio.current_time() + wishes.seconds
    return lambda _: anyio.current_time() >= deadline
