"""Reconcile and explain: the signed daily reports, a reconciliation of now, and one id followed."""

from typing import Final

from anyio import to_thread
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.console.ports import Printed, Proof
from billing_sync.console.shell import Shell, Visit
from billing_sync.errors import ProofUnavailable

_REPORTS: Final = 31


class Proving:
    """The routes of proof."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._prover = shell.ports.prover

    def routes(self) -> list[Route]:
        """All of them. What takes long is asked for by a form, so that no link does it."""
        return [
            self._shell.get("/reconcile", self._reports),
            self._shell.post("/reconcile", self._reconcile),
            self._shell.get("/explain", self._explain),
            self._shell.post("/explain", self._explain),
        ]

    async def _reports(self, visit: Visit) -> Response:
        return await self._proof(visit, None)

    async def _reconcile(self, visit: Visit) -> Response:
        if self._prover is None:
            raise ProofUnavailable(visit.texts("console.prove.unavailable"))
        return await self._proof(visit, await self._prover.reconcile())

    async def _proof(self, visit: Visit, printed: Printed | None) -> Response:
        reports: list[Proof] = []
        last = None
        if self._prover is not None:
            reports = list(await to_thread.run_sync(self._prover.reports, _REPORTS))
            last = await to_thread.run_sync(self._prover.last)
        return self._shell.page(
            visit,
            "reconcile.html",
            reports=reports,
            last=last,
            printed=printed,
            able=self._prover is not None,
        )

    async def _explain(self, visit: Visit) -> Response:
        wanted = visit.given("id") or visit.asked("id") or ""
        printed = None
        if visit.given("id"):
            if self._prover is None:
                raise ProofUnavailable(visit.texts("console.prove.unavailable"))
            printed = await self._prover.explain(wanted)
        return self._shell.page(
            visit, "explain.html", wanted=wanted, printed=printed, able=self._prover is not None
        )
