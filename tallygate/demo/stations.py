"""Asks every station of the demo what it counted: from the customer's own count to what was collected."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx

from tallygate.demo.shop import ITEMS, Buyer, Shop
from tallygate.demo.tally import in_meter_units
from tallygate.demo.traffic import Counted

_SETTLE_S: Final = 20.0
_UNFINISHED: Final = ("pending", "held", "sending")

Count = dict[str, int]


@dataclass
class Stations:
    """The running installation and marketplace of one demo; `urls` are where they listen."""

    http: httpx.AsyncClient
    shop: Shop
    urls: Mapping[str, str]
    admin_token: str

    async def until_counted(self, requests: int) -> None:
        """Until the calls are visible in the usage API, which they are within a second."""
        with anyio.move_on_after(_SETTLE_S):
            while (await self.usage()).get("requests", 0) < requests:  # noqa: ASYNC110  (a process)
                await anyio.sleep(0.1)

    async def until_pushed(self) -> None:
        """Until no usage record is on its way: the control plane pushes beside us."""
        with anyio.move_on_after(_SETTLE_S):
            while any(r["state"] in _UNFINISHED for r in await self._records()):  # noqa: ASYNC110
                await anyio.sleep(0.1)

    async def all_pushed(self, buyers: Sequence[Buyer]) -> bool:
        """Whether the marketplace was sent everything that was counted of what is sold."""
        pushed = _by_meter(buyers, await self.shop.totals(), "pushed")
        counted = await self.usage()
        return all(counted.get(meter, 0) == units for meter, units in pushed.items())

    async def counts(self, counted: Counted, buyers: Sequence[Buyer]) -> dict[str, Count]:
        """What each station counted, by its name in `tally.STATIONS`, per meter."""
        totals = await self.shop.totals()
        return {
            "client": _with_total(asdict(counted)),
            "upstream": _with_total(await self._get(f"{self.urls['upstream']}/_stub/totals")),
            "journal": (await self._get(f"{self.urls['gateway_admin']}/-/journal"))["quantities"],
            "redis_ledger": await self.usage(),
            "usage_info": await self._usage_info(buyers),
            "pushed": _by_meter(buyers, totals, "pushed"),
            "collected": _by_meter(buyers, totals, "collected"),
        }

    async def packages(self, buyers: Sequence[Buyer]) -> list[dict[str, Any]]:
        """The usageInfo of every package that was bought."""
        return [
            {"customer_id": buyer.customer_id, "product_id": product_id, "instanceId": instance_id}
            | {"usageInfo": await self.shop.usage_info(instance_id)}
            for buyer in buyers
            for product_id, instance_id in buyer.instances.items()
            if product_id not in ITEMS
        ]

    async def customer_page(self, buyer: Buyer) -> str:
        """A link to a buyer's own page. The plane listens at a port that it did not know before."""
        url = f"{self.urls['control_admin']}/api/v1/links"
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        reply = await self.http.post(url, json={"customer_id": buyer.customer_id}, headers=headers)
        reply.raise_for_status()
        return f"{self.urls['control']}{urlsplit(reply.json()['url']).path}"

    async def usage(self) -> Count:
        """The totals of the usage API: ledger and Redis together."""
        said = await self._admin("/api/v1/usage")
        return {meter: int(total) for meter, total in said["total"].items()}

    async def _records(self) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = (await self._admin("/api/v1/records"))["data"]
        return records

    async def _usage_info(self, buyers: Sequence[Buyer]) -> Count:
        found: Count = {}
        for buyer in buyers:
            for product_id, product in ITEMS.items():
                entries = await self.shop.usage_info(buyer.instances[product_id])
                units = sum(in_meter_units(entry["usageValue"], product.unit) for entry in entries)
                meter = str(product.meter)
                found[meter] = found.get(meter, 0) + units
        return found

    async def _admin(self, path: str) -> dict[str, Any]:
        return await self._get(self.urls["control_admin"] + path, self.admin_token)

    async def _get(self, url: str, token: str = "") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        reply = await self.http.get(url, headers=headers)
        reply.raise_for_status()
        said: dict[str, Any] = reply.json()
        return said


def _with_total(counted: Mapping[str, int]) -> Count:
    return {**counted, "tokens_total": counted["tokens_in"] + counted["tokens_out"]}


def _by_meter(
    buyers: Sequence[Buyer], totals: Mapping[str, Mapping[str, str]], state: str
) -> Count:
    found: Count = {}
    for buyer in buyers:
        for product_id, product in ITEMS.items():
            units = totals.get(buyer.instances[product_id], {}).get(state, "0")
            meter = str(product.meter)
            found[meter] = found.get(meter, 0) + in_meter_units(units, product.unit)
    return found
