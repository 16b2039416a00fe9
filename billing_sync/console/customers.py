"""Customers and their instances, with everything the marketplace said of each in the order of time."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlmodel import Session as Ledger
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.asking import KeyPage
from billing_sync.console import charting, tones
from billing_sync.console.burning import burn_down
from billing_sync.console.shell import NotFound, Shell, Visit
from billing_sync.models import CustomerRow, Instance, LifecycleInbox, UsageRecord
from billing_sync.questions import UsageFilter
from billing_sync.store import newest
from metering.windows import HOUR_MS

_CHART_HOURS: Final = 48
_MOST_KEYS: Final = 50


class Step(NamedTuple):
    """A callback as it is shown: what it asked for, when it was sent and came, how it was answered."""

    activity: str
    detail: str
    sent_at: int
    received_at: int
    code: str


class Customers:
    """The list, a customer, an instance."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            self._shell.get("/customers", self._list),
            self._shell.get("/customers/{customer_id:path}", self._customer),
            self._shell.get("/instances/{instance_id:path}", self._instance),
        ]

    async def _list(self, visit: Visit) -> Response:
        after, wanted = visit.asked("after"), visit.asked("q")

        def look(
            ledger: Ledger,
        ) -> tuple[Sequence[CustomerRow], str | None, Mapping[str, Mapping[str, int]]]:
            rows, more = newest.customers(ledger, after, wanted)
            return rows, more, newest.standings(ledger, [row.id for row in rows])

        rows, more, standings = await self._shell.read(look)
        return self._shell.page(
            visit,
            "customers.html",
            rows=rows,
            next=more,
            first=after is None,
            wanted=wanted or "",
            standings=standings,
            tones=tones.INSTANCES,
        )

    async def _customer(self, visit: Visit) -> Response:
        customer_id, after = visit.request.path_params["customer_id"], visit.asked("after")

        def look(ledger: Ledger) -> tuple[CustomerRow | None, Any, Any]:
            row = ledger.get(CustomerRow, customer_id) if customer_id.isprintable() else None
            if row is None:
                return None, None, None
            return (
                row,
                newest.instances(ledger, after, customer_id, packages=False),
                newest.instances(ledger, None, customer_id, packages=True),
            )

        customer, instances, packages = await self._shell.read(look)
        if customer is None:
            raise NotFound
        keys = await self._shell.ports.keys.page(KeyPage(customer_id, None, _MOST_KEYS))
        totals, chart = await self._usage(visit, UsageFilter(customer_id=customer_id))
        return self._shell.page(
            visit,
            "customer.html",
            customer=customer,
            instances=instances,
            packages=packages,
            keys=keys,
            totals=totals,
            chart=chart,
            first=after is None,
            tones=tones.INSTANCES,
            catalogue=self._shell.ports.catalogue,
        )

    async def _instance(self, visit: Visit) -> Response:
        instance_id = visit.request.path_params["instance_id"]

        def look(
            ledger: Ledger,
        ) -> tuple[Instance | None, Sequence[LifecycleInbox], Sequence[UsageRecord]]:
            row = ledger.get(Instance, instance_id) if instance_id.isprintable() else None
            if row is None:
                return None, [], []
            made = newest.records(ledger, None, state=None, instance_id=instance_id)
            return row, newest.callbacks(ledger, instance_id), made.rows[:10]

        instance, callbacks, records = await self._shell.read(look)
        if instance is None:
            raise NotFound
        totals: dict[str, int] = {}
        if instance.is_package:
            chart = await self._burning(instance)
        else:
            wanted = UsageFilter(customer_id=instance.customer_id, instance_id=instance_id)
            totals, chart = await self._usage(visit, wanted)
        return self._shell.page(
            visit,
            "instance.html",
            instance=instance,
            steps=[step_of(row) for row in callbacks],
            records=records,
            record_tones=tones.RECORDS,
            totals=totals,
            chart=chart,
            tone=tones.INSTANCES.get(instance.status, "quiet"),
            product=self._shell.ports.catalogue.get(instance.product_id),
        )

    async def _burning(self, package: Instance) -> dict[str, Any]:
        ports = self._shell.ports
        now_ms, times = ports.clock.now_ms(), self._shell.pages.times
        return await self._shell.read(
            lambda ledger: burn_down(ledger, package, ports.catalogue, times, now_ms)
        )

    async def _usage(
        self, visit: Visit, wanted: UsageFilter
    ) -> tuple[dict[str, int], dict[str, Any]]:
        """The last two days: totals by meter, and the chart of the one used most."""
        end = self._shell.ports.clock.now_ms() // HOUR_MS + 1
        by = frozenset({"window", "meter"})
        found = await self._shell.ports.view.usage(
            wanted._replace(from_window=end - _CHART_HOURS, to_window=end, by=by)
        )
        totals = Counter[str]()
        for cell, quantity in found.cells.items():
            totals[cell.meter] += quantity
        product_meters = [m for m in totals if m.startswith("tokens_total")] or list(totals)
        meter = max(product_meters, key=lambda name: totals[name], default="requests")
        by_window = {c.window: n for c, n in found.cells.items() if c.meter == meter}
        label = visit.texts.word("console.meter", meter)
        chart = charting.hours(
            self._shell.pages.times, end - _CHART_HOURS, end, [(label, by_window)]
        )
        return dict(sorted(totals.items())), chart


def step_of(row: LifecycleInbox) -> Step:
    """Of the body only what is no secret and no buyer's data is taken."""
    try:
        said = json.loads(row.answer)
        code = str(said.get("resultCode", "")) if isinstance(said, dict) else ""
    except ValueError:
        code = ""
    return Step(row.activity, _detail(row.body), row.sent_at, row.received_at, code)


def _detail(body: str) -> str:
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(said, dict):
        return ""
    names = ("instanceStatus", "status", "scene", "expireTime", "productId", "trialFlag")
    found = [f"{name}={said[name]}" for name in names if isinstance(said.get(name), str | int)]
    return " ".join(found)[:200]
