"""Run history and health: what each closed hour became, what was decided, and how the loops are."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlmodel import Session as Ledger
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.console import tones
from billing_sync.console.ports import Facts
from billing_sync.console.shell import Shell, Visit
from billing_sync.questions import UsageFilter
from billing_sync.runner import Runner
from billing_sync.store import acts, ahead, alert_listing, ledger, newest, runs, usage
from billing_sync.watching import risks_at
from metering.windows import HOUR_MS

_HOURS: Final = 48
_MOST: Final = 20
_LATE_MS: Final = 2 * HOUR_MS


class Running:
    """The routes of history and health."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[Route]:
        """Both pages; the part of health that is fetched again and again is the page's own."""
        return [
            self._shell.get("/history", self._history),
            self._shell.get("/health", self._health),
        ]

    async def _history(self, visit: Visit) -> Response:
        end = self._shell.ports.clock.now_ms() // HOUR_MS

        def look(session: Ledger) -> tuple[Sequence[runs.Closed], Any, Any]:
            return (
                runs.closed(session, end - _HOURS, end),
                newest.acts(session, _MOST),
                newest.resets(session, ledger.FIRST_START, _MOST),
            )

        closed, decided, resets = await self._shell.read(look)
        return self._shell.page(
            visit,
            "history.html",
            closed=closed,
            decided=decided,
            resets=resets,
            tones=tones.RECORDS,
        )

    async def _health(self, visit: Visit) -> Response:
        ports = self._shell.ports
        now_ms = ports.clock.now_ms()
        first = now_ms // HOUR_MS
        found = await ports.view.usage(
            UsageFilter(meter="requests", from_window=first, by=frozenset({"meter"}))
        )

        def look(session: Ledger) -> tuple[Any, Mapping[str, int], int, Any]:
            return (
                risks_at(session, ports.terms, now_ms),
                buckets(session),
                ahead.outstanding(session),
                alert_listing.standing(session),
            )

        risks, named, outstanding, alerts = await self._shell.read(look)
        facts = ports.facts()
        return self._shell.page(
            visit,
            "health.html",
            facts=facts,
            live=found.live,
            risks=risks,
            buckets=named,
            ahead=outstanding,
            alerts=alerts,
            late=bool(facts.closed_through) and now_ms - facts.closed_through > _LATE_MS,
        )


def buckets(session: Ledger) -> dict[str, int]:
    """What no record carries, and what stands in records that reach no bill."""
    found = usage.buckets(session)
    for each in acts.unbilled(session):
        found[each.bucket] = found.get(each.bucket, 0) + each.quantity
    return found


def facts_of(runner: Runner) -> Facts:
    """How the loops of this process are."""
    return Facts(
        runs=runner.runs,
        drains=runner.drainer.drains,
        records_made=runner.records_made,
        closed_through=runner.closed_through,
        silent=sorted(runner.silent),
        stuck=len(runner.drainer.stuck),
        unrecorded=sum(runner.left.values()),
        failures=[(loop, reason, n) for (loop, reason), n in sorted(runner.failures.items())],
        pushes=[(str(outcome), n) for outcome, n in sorted(runner.outbox.outcomes.items())],
    )
