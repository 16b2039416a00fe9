"""The installation that is measured: a package for each run, and as many workers as one wants."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import httpx
import yaml

from loadtests.serving import first_line, process

METER: Final = "tokens_out"
ITEM: Final = "TOKENS"
PACKAGE: Final = "PACKAGE"
_AGREES_S: Final = 30.0


def configuration(upstream: str, workers: int, quota: int, customers: int) -> dict[str, Any]:
    """The tallygate.yaml, as data."""
    anywhere = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0"}
    package = {"items": [{"of": ITEM, "quota": quota}], "stop_before_excess": True}
    return {
        "data_dir": "./var",
        "gateway": {**anywhere, "workers": workers},
        "control": dict(anywhere),
        "routes": [
            {"name": "chat", "path": "/v1", "upstream": [upstream], "identity": ["api_key"]}
        ],
        "products": [
            {"product_id": ITEM, "routes": ["chat"], "meter": METER},
            {"product_id": PACKAGE, "package": package},
        ],
        "customers": [_customer(n) for n in range(customers)],
    }


def customer_id(number: int) -> str:
    """Of the customer of a run."""
    return f"run-{number}"


def key_of(number: int) -> str:
    """His key."""
    return f"sk-run-{number}"


def _customer(number: int) -> dict[str, Any]:
    return {
        "id": customer_id(number),
        "keys": [key_of(number)],
        "instances": [
            {"id": f"use-{number}", "product": ITEM},
            {"id": f"package-{number}", "product": PACKAGE},
        ],
    }


class Shop:
    """The running installation in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._token = (folder / "var" / "admin_token").read_text().strip()
        self._control = self._announced("control")[0]

    @property
    def address(self) -> tuple[str, int]:
        """Where customers call."""
        url = urlsplit(self._announced("gateway")[0]["public"])
        return url.hostname or "", url.port or 0

    def workers(self) -> list[dict[str, Any]]:
        """The gateway workers: `pid`, and their `admin` listener."""
        return self._announced("gateway")

    def _announced(self, role: str) -> list[dict[str, Any]]:
        found = sorted((self._folder / "var" / "run").glob(f"{role}*.json"))
        return [json.loads(path.read_text()) for path in found]

    async def used(self, http: httpx.AsyncClient, customer: str) -> int:
        """Tokens out, as the operator's API counts them."""
        reply = await http.get(
            f"{self._control['admin']}/api/v1/usage",
            params={"customer": customer, "meter": METER},
            headers={"Authorization": f"Bearer {self._token}"},
        )
        reply.raise_for_status()
        return int(reply.json()["total"].get(METER, 0))

    async def agrees(self, http: httpx.AsyncClient, customer: str, tokens: int) -> int:
        """What is counted, once it is at least `tokens` or no more comes."""
        end = time.monotonic() + _AGREES_S
        while (used := await self.used(http, customer)) < tokens and time.monotonic() < end:  # noqa: ASYNC110  (a process)
            await asyncio.sleep(0.1)
        return used

    async def metric(self, http: httpx.AsyncClient, name: str, of: str) -> float:
        """The sum of a metric over all workers, of the lines that name `of`."""
        total = 0.0
        for worker in self.workers():
            text = (await http.get(f"{worker['admin']}/-/metrics?of=worker")).text
            lines = [line for line in text.splitlines() if line.startswith(name) and of in line]
            total += sum(float(line.rsplit(" ", 1)[1]) for line in lines)
        return total


@contextmanager
def open_shop(
    folder: Path, *, workers: int, quota: int, customers: int, slow_s: float
) -> Iterator[Shop]:
    """An upstream and an installation in front of it. Raises ClickException when it does not start."""
    words = ["--slow", str(slow_s)]
    with process("loadtests.brakes.origin", *words, log=folder / "origin.log") as origin:
        config = folder / "tallygate.yaml"
        config.write_text(
            yaml.safe_dump(configuration(first_line(origin), workers, quota, customers))
        )
        with process("tallygate", "serve", "-c", str(config), log=folder / "serve.log") as served:
            if not first_line(served):
                raise click.ClickException((folder / "serve.log").read_text())
            yield Shop(folder)
