"""The marketplace for tests: the simulator as a process of its own, and what a test asks of it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.installations import eventually, tallygate

KEYS = {"access_key": "access-key", "ak": "ak", "sk": "sk"}
_ENVIRONMENT = {f"KOO_{name.upper()}": value for name, value in KEYS.items()}


@dataclass
class Line:
    """One order line as the buyer sees it after its creation."""

    instance_id: str
    info: dict[str, Any]
    born: float

    def ripen(self) -> None:
        """Return when it is old enough for a usage record: those hold whole seconds of its life."""
        time.sleep(max(0.0, self.born + 2.1 - time.monotonic()))

    @property
    def app(self) -> dict[str, Any]:
        """What the buyer is shown: where to call, his key, and how."""
        shown: dict[str, Any] = self.info["appInfo"]
        return shown


@dataclass
class Market:
    """A running simulator."""

    url: str
    http: httpx.Client

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One handle of the simulator, which must succeed."""
        reply = self.http.request(method, f"{self.url}/_sim{path}", json=body)
        assert reply.is_success, reply.text
        return reply.json()

    def order(self, customer: str, *product_ids: str, **more: Any) -> str:
        """A paid order; its id."""
        lines = [{"product_id": product_id} for product_id in product_ids]
        body = {"customer_id": customer, "customer_name": f"Name of {customer}", "lines": lines}
        return str(self.call("POST", "/orders", body | more)["order_id"])

    def open(self, order_id: str) -> list[Line]:
        """Create what was ordered, as the marketplace does."""
        opened = self.call("POST", f"/orders/{order_id}/open")
        assert opened["findings"] == []
        now = time.monotonic()
        return [Line(line["instance_id"], line["info"], now) for line in opened["instances"]]

    def buy(self, customer: str, *product_ids: str) -> list[Line]:
        """Order and create."""
        return self.open(self.order(customer, *product_ids))

    def act(self, instance_id: str, action: str) -> dict[str, Any]:
        """query, freeze, unfreeze, refresh or release; the merchant's reply."""
        answered = self.call("POST", f"/instances/{instance_id}/{action}")
        assert answered["findings"] == []
        reply: dict[str, Any] = answered["reply"]
        return reply

    def usage_info(self, instance_id: str) -> list[dict[str, Any]]:
        """The usageInfo of queryInstance."""
        info: list[dict[str, Any]] = self.act(instance_id, "query")["info"][0]["usageInfo"]
        return info

    def used(self, instance_id: str) -> Decimal:
        """Its single figure, in billing units."""
        (entry,) = self.usage_info(instance_id)
        return Decimal(str(entry["usageValue"]))

    def callback(self, body: Any, **more: Any) -> str:
        """Send any callback; the result code it got."""
        return str(self.call("POST", "/callback", {"body": body, **more})["reply"]["resultCode"])

    def records(self, instance_id: str) -> list[dict[str, Any]]:
        """The usage records of an instance that were collected."""
        found = self.call("GET", f"/sdrs?instance_id={instance_id}")["sdrs"]
        return [record for record in found if record["state"] == "collected"]

    def collected(self, instance_id: str, units: str) -> list[dict[str, Any]]:
        """Return the collected records of an instance when they hold exactly so many units."""

        def whole() -> list[dict[str, Any]]:
            found = self.records(instance_id)
            total = sum((Decimal(str(record["usage_value"])) for record in found), Decimal())
            assert total <= Decimal(units), found
            return found if total == Decimal(units) else []

        held: list[dict[str, Any]] = eventually(whole)
        return held

    def findings(self) -> list[dict[str, Any]]:
        """Everything the marketplace had to complain of."""
        found: list[dict[str, Any]] = self.call("GET", "/findings")["findings"]
        return found


@contextmanager
def market(folder: Path) -> Iterator[Market]:
    """A simulator that collects every half second, until the block ends."""
    words = ("simulate", "serve", "--listen", "127.0.0.1:0", "--collect-every", "0.5")
    with ExitStack() as stack:
        command = stack.enter_context(tallygate(*words, folder=folder, env=_ENVIRONMENT))
        http = stack.enter_context(httpx.Client(timeout=60, trust_env=False))
        eventually(lambda: "http://" in command.stdout)
        yield Market(command.stdout.split()[-1], http)
        assert command.end() == 0
        assert command.stderr == ""
