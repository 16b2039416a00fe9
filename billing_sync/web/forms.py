"""Reads forms that browsers send, within bounds, and refuses those that another site made them send."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from billing_sync.bounded_bodies import bounded_body
from billing_sync.errors import BadQuestion, Forged
from billing_sync.web.sessions import same

FIELD: Final = "csrf"  # of every form
_MOST_BYTES: Final = 16_384
_MOST_FIELDS: Final = 64
_BUDGET_S: Final = 5.0
_OURS: Final = (None, "same-origin", "none")  # of Sec-Fetch-Site; older browsers say nothing


async def form_of(request: Request, csrf: str) -> Mapping[str, str]:
    """The fields of a form that carries this token, blanks around them removed.

    Raises Forged, and BadQuestion for what is no form.
    """
    if request.headers.get("sec-fetch-site") not in _OURS:
        raise Forged("another site sent this form")
    fields = fields_of(await _body(request))
    if not csrf or not same(fields.pop(FIELD, ""), csrf):
        raise Forged("the form is too old; load the page again")
    return fields


def fields_of(body: str) -> dict[str, str]:
    """Each field once. Raises BadQuestion."""
    try:
        pairs = parse_qsl(
            body, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise BadQuestion("the form cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadQuestion("a field of the form is there twice")
    return {name: value.strip() for name, value in fields.items()}


async def _body(request: Request) -> str:
    body = await bounded_body(request, _MOST_BYTES, _BUDGET_S)
    if len(body) > _MOST_BYTES:
        raise BadQuestion(f"the form is larger than {_MOST_BYTES} bytes")
    return body.decode("latin-1")
