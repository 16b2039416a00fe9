"""The operator's API for corrections, behind the admin token: adjustments and suspense.

A correction is answered 201, or 200 where it stood there already under its id; one that cannot be
taken 409, with the reason. Quantities are whole meter units; a value is decimal text, because a
number of JSON may be a float.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_sync.admin_api import Told, guarded_routes
from billing_sync.api_answers import error, listed
from billing_sync.api_bodies import body_of
from billing_sync.asking import Page, SuspensePage, page_question, span_of, suspense_question
from billing_sync.correcting import Corrector, Taken
from billing_sync.correction_models import Adjustment, Assignment
from billing_sync.corrections import AdjustmentAsked, AssignmentAsked
from billing_sync.errors import BadQuestion, CorrectionRefused
from billing_sync.store import adjustments, suspense
from billing_sync.store.engine import reading
from billing_sync.store.suspense import Listed, Wanted

MAX_BODY: Final = 16_384
_LONGEST_VALUE: Final = 40
_TOLD: Final[Told] = {CorrectionRefused: (409, "refused")}


class AdjustmentBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /api/v1/adjustments` takes."""

    id: str
    instance_id: str
    author: str
    reason: str
    quantity: int | None = None
    value: str | None = None


class AssignmentBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `POST /api/v1/suspense/assign` takes; `from` and `to` are ISO 8601 times."""

    id: str
    customer_id: str
    instance_id: str
    author: str
    reason: str
    product_id: str | None = None
    first: str | None = msgspec.field(name="from", default=None)
    end: str | None = msgspec.field(name="to", default=None)
    quantity: int | None = None


Correction = TypeVar("Correction", Adjustment, Assignment)


def routes(corrector: Corrector, admin_token: str) -> list[Route]:
    """Every route of it."""

    async def listed_adjustments(request: Request) -> Response:
        page = page_question(request.query_params, by_state=False)
        return await to_thread.run_sync(_answer_page, corrector, Adjustment, page)

    async def adjust(request: Request) -> Response:
        asked = adjustment_of(await body_of(request, AdjustmentBody, MAX_BODY))
        return await _done(partial(corrector.adjust, asked))

    async def listed_suspense(request: Request) -> Response:
        page = suspense_question(request.query_params)
        return await to_thread.run_sync(_answer_suspense, corrector, page)

    async def listed_assignments(request: Request) -> Response:
        page = page_question(request.query_params, by_state=False)
        return await to_thread.run_sync(_answer_page, corrector, Assignment, page)

    async def assign(request: Request) -> Response:
        asked = assignment_of(await body_of(request, AssignmentBody, MAX_BODY))
        return await _done(partial(corrector.assign, asked))

    endpoints = [
        ("GET", "/api/v1/adjustments", listed_adjustments),
        ("POST", "/api/v1/adjustments", adjust),
        ("GET", "/api/v1/suspense", listed_suspense),
        ("GET", "/api/v1/suspense/assignments", listed_assignments),
        ("POST", "/api/v1/suspense/assign", assign),
    ]
    return guarded_routes(endpoints, admin_token, _TOLD)


def adjustment_of(body: AdjustmentBody) -> AdjustmentAsked:
    """Raises BadQuestion for a value that is no decimal number."""
    value = None if body.value is None else decimal_of(body.value)
    return AdjustmentAsked(
        body.id, body.instance_id, body.author, body.reason, body.quantity, value
    )


def assignment_of(body: AssignmentBody) -> AssignmentAsked:
    """Raises BadQuestion for times that are none."""
    first, end = span_of(body.first, body.end)
    return AssignmentAsked(
        id=body.id,
        customer_id=body.customer_id,
        instance_id=body.instance_id,
        author=body.author,
        reason=body.reason,
        product_id=body.product_id,
        first=first,
        end=end,
        quantity=body.quantity,
    )


def decimal_of(text: str) -> Decimal:
    """Raises BadQuestion for what is no number."""
    try:
        if len(text) <= _LONGEST_VALUE:
            return Decimal(text)
    except InvalidOperation:
        pass
    raise BadQuestion(f"value={text[:_LONGEST_VALUE]!r} is no decimal number; write one as 12.5")


def suspense_row(row: Listed) -> dict[str, Any]:
    """As it is shown: `first` and `last` are hours since the epoch, as in `origin` of usage."""
    return {**row._asdict(), "open": row.open}


def _answer_page(corrector: Corrector, table: type[Correction], page: Page) -> Response:
    return listed(corrector.engine, lambda s, p: adjustments.listed(s, table, p), page, "id")


def _answer_suspense(corrector: Corrector, page: SuspensePage) -> Response:
    wanted = Wanted(page.customer_id, page.product_id, page.from_window, page.to_window)
    with reading(corrector.engine) as session:
        found = suspense.listed(
            session, wanted, by_hour=page.by_hour, skip=page.skip, limit=page.limit
        )
    more = page.skip + page.limit if len(found) == page.limit else None
    return JSONResponse({"data": [suspense_row(row) for row in found], "next": more})


async def _done(correct: Callable[[], Taken[Correction]]) -> Response:
    try:
        taken = await to_thread.run_sync(correct)
    except OSError:
        return error(503, "push_log_unavailable", "the push log cannot be written; try again")
    return JSONResponse(taken.row.model_dump(), status_code=200 if taken.repeated else 201)
