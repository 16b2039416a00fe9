"""Alerts: which thresholds packages passed, whether the webhooks were told, and telling them again."""

from typing import Any, Final

from anyio import to_thread
from sqlmodel import Session as Ledger
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.alert_retrying import retry
from billing_sync.alerts import DeliveryState
from billing_sync.console.shell import HOME, Shell, Visit
from billing_sync.errors import UnknownAlert, WrongState
from billing_sync.store import newest

_PATH: Final = f"{HOME}/alerts"
TONES: Final = {
    DeliveryState.PENDING: "info",
    DeliveryState.SENT: "good",
    DeliveryState.GIVEN_UP: "bad",
}


class Alerts:
    """The routes of alerts."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            self._shell.get("/alerts", self._list),
            self._shell.post("/alerts/{id}/retry", self._again),
        ]

    async def _list(self, visit: Visit) -> Response:
        after = visit.asked("after")

        def look(ledger: Ledger) -> tuple[Any, Any]:
            found = newest.alerts(ledger, after)
            return found, newest.deliveries(ledger, [row.id for row in found.rows])

        found, deliveries = await self._shell.read(look)
        return self._shell.page(
            visit,
            "alerts.html",
            found=found,
            deliveries=deliveries,
            first=after is None,
            webhooks=sorted(self._shell.ports.webhooks),
            tones=TONES,
        )

    async def _again(self, visit: Visit) -> Response:
        ports, alert_id = self._shell.ports, visit.request.path_params["id"]
        try:
            count = await to_thread.run_sync(
                retry, ports.engine, alert_id, ports.webhooks, ports.clock.now_ms()
            )
        except (UnknownAlert, WrongState) as problem:
            return self._shell.refused(visit, problem, _PATH)
        return self._shell.done(visit, visit.texts("console.alerts.again", count=count), _PATH)
