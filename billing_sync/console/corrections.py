"""Suspense, what is uncertain, and adjustments: what no instance was charged for, and what persons
changed."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from anyio import to_thread
from sqlmodel import Session as Ledger
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.console.shell import HOME, Shell, Visit
from billing_sync.correction_api import decimal_of
from billing_sync.correction_models import Adjustment, Assignment
from billing_sync.corrections import AdjustmentAsked, AssignmentAsked
from billing_sync.errors import BadQuestion, CorrectionRefused
from billing_sync.finding_models import FindingRow
from billing_sync.store import findings, newest, suspense
from billing_sync.store.suspense import Listed, Wanted

_SUSPENSE: Final = f"{HOME}/suspense"
_ADJUSTMENTS: Final = f"{HOME}/adjustments"
_PAGE: Final = 50
_LONGEST_NUMBER: Final = 18


class Corrections:
    """The routes of suspense and adjustments."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            self._shell.get("/suspense", self._suspense),
            self._shell.post("/suspense/assign", self._assign),
            self._shell.get("/adjustments", self._adjustments),
            self._shell.post("/adjustments", self._adjust),
        ]

    async def _suspense(self, visit: Visit) -> Response:
        after, customer_id = visit.asked("after"), visit.asked("customer")
        skip = _skip(visit.asked("skip"))

        def look(
            ledger: Ledger,
        ) -> tuple[
            Sequence[Listed], newest.Listed[FindingRow], dict[str, int], Sequence[Assignment]
        ]:
            rows = suspense.listed(ledger, Wanted(customer_id), skip=skip, limit=_PAGE + 1)
            return (
                rows,
                newest.findings(ledger, after),
                findings.count_by_kind(ledger),
                newest.assignments(ledger, None).rows[:10],
            )

        rows, found, kinds, assigned = await self._shell.read(look)
        return self._shell.page(
            visit,
            "suspense.html",
            rows=rows[:_PAGE],
            more=str(skip + _PAGE) if len(rows) > _PAGE else None,
            found=found,
            kinds=kinds,
            assigned=assigned,
            first=after is None,
            customer_id=customer_id or "",
            product_id=visit.asked("product") or "",
            new_id=self._new_id("assign"),
        )

    async def _assign(self, visit: Visit) -> Response:
        try:
            asked = AssignmentAsked(
                id=visit.given("id"),
                customer_id=visit.given("customer_id"),
                instance_id=visit.given("instance_id"),
                author=visit.session.subject,
                reason=visit.given("reason"),
                product_id=visit.given("product_id") or None,
                quantity=_whole(visit.given("quantity")) if visit.given("quantity") else None,
            )
        except BadQuestion as problem:
            return self._shell.refused(visit, problem, _SUSPENSE)
        return await self._correct(
            visit, partial(self._shell.ports.corrector.assign, asked), _SUSPENSE
        )

    async def _adjustments(self, visit: Visit) -> Response:
        after = visit.asked("after")
        found: newest.Listed[Adjustment] = await self._shell.read(
            lambda ledger: newest.adjustments(ledger, after)
        )
        return self._shell.page(
            visit,
            "adjustments.html",
            found=found,
            first=after is None,
            instance_id=visit.asked("instance") or "",
            new_id=self._new_id("adjust"),
        )

    async def _adjust(self, visit: Visit) -> Response:
        quantity, value = visit.given("quantity"), visit.given("value")
        try:
            asked = AdjustmentAsked(
                visit.given("id"),
                visit.given("instance_id"),
                visit.session.subject,
                visit.given("reason"),
                _whole(quantity) if quantity else None,
                decimal_of(value) if value else None,
            )
        except BadQuestion as problem:
            return self._shell.refused(visit, problem, _ADJUSTMENTS)
        return await self._correct(
            visit, partial(self._shell.ports.corrector.adjust, asked), _ADJUSTMENTS
        )

    async def _correct(self, visit: Visit, job: Any, back: str) -> Response:
        try:
            taken = await to_thread.run_sync(job)
        except CorrectionRefused as refusal:
            return self._shell.refused(visit, refusal, back)
        except OSError:
            return self._shell.refused(visit, visit.texts("console.failed.push_log"), back)
        name = "console.corrections.repeated" if taken.repeated else "console.corrections.done"
        return self._shell.done(visit, visit.texts(name, id=taken.row.id), back)

    def _new_id(self, kind: str) -> str:
        """Stands in the form, so that sending it twice is one correction."""
        return f"console-{kind}-{self._shell.ports.randomness(8).hex()}"


def _whole(text: str) -> int:
    """Raises BadQuestion for what is no whole number."""
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER:
        return int(text)
    raise BadQuestion("the quantity must be a whole number of meter units, such as -1200")


def _skip(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 8 else 0
