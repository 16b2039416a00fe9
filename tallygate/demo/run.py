"""The main job, end to end, on one machine: sold, called, counted, pushed, collected, compared."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import yaml
from pydantic import BaseModel

from tallygate.config import load
from tallygate.demo.processes import running
from tallygate.demo.shop import ITEMS, PRODUCTS, ROUTE, Buyer, Shop
from tallygate.demo.tally import Row, in_meter_units, rows
from tallygate.demo.traffic import Traffic
from tallygate.installation import Installation
from tallygate.serve import Supervisor
from tallygate.sync import run_once

METERS: Final = ("requests", "tokens_in", "tokens_out", "tokens_total")
_KEYS: Final = {"KOO_ACCESS_KEY": "demo-access-key", "KOO_AK": "demo-ak", "KOO_SK": "demo-sk"}
_SETTLE_S: Final = 20.0


@dataclass(frozen=True)
class Wishes:
    """How the demo was asked for."""

    requests: int
    seconds: float | None
    keep: bool


@dataclass
class Report:
    """What the demo found."""

    rows: list[Row]
    packages: list[dict[str, Any]]
    records: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    requests: int
    urls: dict[str, str] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Every station agrees on every meter, and the marketplace has nothing to complain of."""
        refused = [r for r in self.records if r.get("state") != "collected"]
        return not (any(row.difference for row in self.rows) or self.findings or refused)

    def as_json(self) -> dict[str, Any]:
        return {
            "exact": self.exact,
            "requests": self.requests,
            "meters": [row.as_json() for row in self.rows],
            "packages": self.packages,
            "usage_records": len(self.records),
            "findings": self.findings,
        }


Say = Callable[[str], None]
Progress = Callable[[int], None]


async def run_demo(
    wishes: Wishes, say: Say, progress: Progress, show: Callable[[Report], None]
) -> bool:
    """Run it all; `show` is given the report. True when everything agrees."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallygate-demo-")))
        say("starting the stub upstream and the KooGallery simulator")
        listen = ("--listen", "127.0.0.1:0")
        upstream = stack.enter_context(running("tallygate.demo.upstream", *listen))
        market = stack.enter_context(
            running("tallygate", "simulate", "serve", *listen, env=_KEYS)
        )
        path = folder / "tallygate.yaml"
        path.write_text(yaml.safe_dump(configuration(upstream, market), allow_unicode=True))
        installation = Installation(load(path, {}))
        say("starting Valkey, control plane and gateway")
        supervisor = Supervisor(installation, path)
        stack.callback(supervisor.stop)
        supervisor.start()
        await supervisor.wait_until_ready()
        urls = {**supervisor.urls(), "upstream": upstream, "simulator": market}
        async with httpx.AsyncClient() as http:
            report = await _Demo(installation, urls, http).play(wishes, say, progress)
        report.urls = urls
        show(report)
        if wishes.keep:
            await anyio.sleep_forever()
        return report.exact


def configuration(upstream: str, market: str) -> dict[str, Any]:
    """The demo's tallygate.yaml, as data."""
    return {
        "data_dir": "./var",
        "gateway": {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"},
        "control": {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"},
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


class _Demo:
    def __init__(
        self, installation: Installation, urls: Mapping[str, str], http: httpx.AsyncClient
    ) -> None:
        self._installation = installation
        self._urls = urls
        self._http = http
        self._shop = Shop(http, urls["simulator"])

    async def play(self, wishes: Wishes, say: Say, progress: Progress) -> Report:
        say("customers buy pay-per-use instances and packages through signed callbacks")
        await self._shop.open(f"{self._urls['control']}/koogallery")
        buyers = await self._shop.sell()
        say("customers call the API, JSON and SSE")
        traffic = Traffic(self._urls["gateway"], buyers)
        await traffic.send(_enough(wishes), progress)
        say("waiting for the counts, closing the window, pushing")
        await self._settled(traffic.counted.requests)
        await run_once(self._installation, close_now=True)
        await self._shop.collect()
        counts = await self._counts(traffic, buyers)
        return Report(
            rows=rows(counts, METERS),
            packages=await self._packages(buyers),
            records=await self._shop.records(),
            findings=await self._shop.findings(),
            requests=traffic.counted.requests,
        )

    async def _settled(self, requests: int) -> None:
        """Until the calls are visible in the usage API, which they are within a second."""
        with anyio.move_on_after(_SETTLE_S):
            while (await self._usage()).get("requests", 0) < requests:
                await anyio.sleep(0.1)  # noqa: ASYNC110  (another process)

    async def _counts(self, traffic: Traffic, buyers: list[Buyer]) -> dict[str, dict[str, int]]:
        totals = await self._shop.totals()
        return {
            "client": _with_total(vars(traffic.counted)),
            "upstream": _with_total(await self._get(f"{self._urls['upstream']}/_stub/totals")),
            "journal": await self._journal(),
            "redis_ledger": await self._usage(),
            "usage_info": await self._usage_info(buyers),
            "pushed": _by_meter(buyers, totals, "pushed"),
            "collected": _by_meter(buyers, totals, "collected"),
        }

    async def _journal(self) -> dict[str, int]:
        said = await self._get(f"{self._urls['gateway_admin']}/-/journal")
        quantities: dict[str, int] = said["quantities"]
        return quantities

    async def _usage(self) -> dict[str, int]:
        token = self._installation.admin_token()
        reply = await self._http.get(
            f"{self._urls['control_admin']}/api/v1/usage",
            headers={"Authorization": f"Bearer {token}"},
        )
        reply.raise_for_status()
        return {meter: int(total) for meter, total in reply.json()["total"].items()}

    async def _usage_info(self, buyers: list[Buyer]) -> dict[str, int]:
        found: dict[str, int] = {}
        for buyer in buyers:
            for product_id, product in ITEMS.items():
                (entry,) = await self._shop.usage_info(buyer.instances[product_id])
                quantity = in_meter_units(entry["usageValue"], product.unit)
                meter = str(product.meter)
                found[meter] = found.get(meter, 0) + quantity
        return found

    async def _packages(self, buyers: list[Buyer]) -> list[dict[str, Any]]:
        return [
            {"customer_id": buyer.customer_id, "product_id": product_id, "instanceId": instance_id}
            | {"usageInfo": await self._shop.usage_info(instance_id)}
            for buyer in buyers
            for product_id, instance_id in buyer.instances.items()
            if product_id not in ITEMS
        ]

    async def _get(self, url: str) -> dict[str, Any]:
        reply = await self._http.get(url)
        reply.raise_for_status()
        said: dict[str, Any] = reply.json()
        return said


def _enough(wishes: Wishes) -> Callable[[int], bool]:
    if wishes.seconds is None:
        return lambda sent: sent >= wishes.requests
    deadline = anyio.current_time() + wishes.seconds
    return lambda _: anyio.current_time() >= deadline


def _with_total(counted: Mapping[str, int]) -> dict[str, int]:
    return {**counted, "tokens_total": counted["tokens_in"] + counted["tokens_out"]}


def _by_meter(
    buyers: list[Buyer], totals: Mapping[str, Mapping[str, str]], state: str
) -> dict[str, int]:
    found: dict[str, int] = {}
    for buyer in buyers:
        for product_id, product in ITEMS.items():
            units = totals.get(buyer.instances[product_id], {}).get(state, "0")
            meter = str(product.meter)
            found[meter] = found.get(meter, 0) + in_meter_units(units, product.unit)
    return found
