"""What the operator's API can be asked, call by call: its parameters, its body, its answers."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec
from pydantic import BaseModel

from billing_sync import api_shapes as shapes
from billing_sync.alerts import DeliveryState
from billing_sync.correction_api import AdjustmentBody, AssignmentBody
from billing_sync.key_api import KeyBody, RotationBody
from billing_sync.licences import LicenceState
from billing_sync.link_api import LinkBody, RevocationBody
from billing_sync.mapping_api import MappingBody
from billing_sync.questions import DIMENSIONS
from billing_sync.record_api import DecisionBody
from billing_sync.states import Act, State

Parameters = Mapping[str, dict[str, Any]]

_NONE: Final[Parameters] = MappingProxyType({})
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 256}
_TIME: Final = {"type": "string", "format": "date-time"}
_NUMBER: Final = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
_LIMIT: Final = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
_BY: Final = {
    "type": "array",
    "items": {"type": "string", "enum": list(DIMENSIONS)},
    "minItems": 1,
    "uniqueItems": True,
}
_PAGE: Final[Parameters] = {"customer": _TEXT, "instance": _TEXT, "after": _TEXT, "limit": _LIMIT}
_NUMBERED: Final[Parameters] = {"after": _NUMBER, "limit": _LIMIT}
_SPAN: Final[Parameters] = {"from": _TIME, "to": _TIME}


class Operation(NamedTuple):
    """One call. `answers` are by status; without a body `body` is None, and not every one `must` be
    sent. `refusals` are what it may be answered besides what every call may be."""

    method: str
    path: str
    summary: str
    answers: Mapping[int, type[BaseModel]]
    parameters: Parameters = _NONE
    body: type[msgspec.Struct] | None = None
    must: bool = True
    refusals: tuple[int, ...] = ()


def operations() -> Iterator[Operation]:
    """All of them."""
    yield from _reading()
    yield from _records()
    yield from _corrections()
    yield from _keys()
    yield from _mappings()
    yield from _alerts()
    yield from _licences()
    yield from _people()


def _reading() -> Iterator[Operation]:
    yield Operation(
        "GET",
        "/api/v1/usage",
        "Usage as it stands now: the ledger plus what Redis holds",
        {200: shapes.UsageReport},
        {"customer": _TEXT, "instance": _TEXT, "meter": _TEXT, **_SPAN, "by": _BY},
    )
    yield Operation(
        "GET",
        "/api/v1/instances",
        "Instances, with what is carried to their next records",
        {200: shapes.page_of(shapes.InstanceRow)},
        _PAGE,
    )
    yield Operation(
        "GET",
        "/api/v1/packages",
        "Packages and what is left of them",
        {200: shapes.page_of(shapes.Package)},
        _PAGE,
    )
    yield Operation(
        "GET",
        "/api/v1/findings",
        "What no count can explain",
        {200: shapes.page_of(shapes.Finding, int)},
        {"kind": _TEXT, "lane": _TEXT, "customer": _TEXT, "request": _TEXT, **_NUMBERED},
    )


def _records() -> Iterator[Operation]:
    yield Operation(
        "GET",
        "/api/v1/records",
        "Usage records and where they stand on their way to the marketplace",
        {200: shapes.page_of(shapes.Record)},
        {**_PAGE, "state": {"type": "string", "enum": [state.value for state in State]}},
    )
    one = "/api/v1/records/{sn}"
    yield Operation(
        "GET",
        one,
        "A usage record, and what was decided about it",
        {200: shapes.RecordShown},
        refusals=(404,),
    )
    for act in Act:
        yield Operation(
            "POST",
            f"{one}/{act}",
            f"Decide about a usage record: {act}",
            {200: shapes.RecordMoved},
            body=DecisionBody,
            refusals=(404, 409),
        )


def _corrections() -> Iterator[Operation]:
    path = "/api/v1/adjustments"
    page = shapes.page_of(shapes.AdjustmentRow)
    yield Operation("GET", path, "Adjustments, in the order they were made", {200: page}, _PAGE)
    yield Operation(
        "POST",
        path,
        "Adjust an instance's usage; 200 where it stood there already under its id",
        dict.fromkeys((200, 201), shapes.AdjustmentRow),
        body=AdjustmentBody,
        refusals=(409,),
    )
    hour = {"type": "string", "enum": ["hour"]}
    yield Operation(
        "GET",
        "/api/v1/suspense",
        "Usage that was charged to no instance; `first` and `last` are hours since the epoch",
        {200: shapes.page_of(shapes.SuspenseRow, int)},
        {"customer": _TEXT, "product": _TEXT, **_SPAN, "by": hour, **_NUMBERED},
    )
    yield Operation(
        "GET",
        "/api/v1/suspense/assignments",
        "What of it was charged to an instance later",
        {200: shapes.page_of(shapes.AssignmentRow)},
        _PAGE,
    )
    yield Operation(
        "POST",
        "/api/v1/suspense/assign",
        "Charge it to an instance; 200 where it stood there already under its id",
        dict.fromkeys((200, 201), shapes.AssignmentRow),
        body=AssignmentBody,
        refusals=(409,),
    )


def _keys() -> Iterator[Operation]:
    path = "/api/v1/keys"
    one = f"{path}/{{key_id}}"
    yield Operation(
        "GET",
        path,
        "API keys; those of the configuration beside the first page",
        {200: shapes.page_of(shapes.Key, configured=list[shapes.ConfiguredKey])},
        {"customer": _TEXT, **_NUMBERED},
    )
    yield Operation(
        "POST",
        path,
        "Make an API key; the answer shows it for the only time",
        {201: shapes.NewKey},
        body=KeyBody,
        refusals=(404, 409),
    )
    yield Operation(
        "POST",
        f"{one}/rotate",
        "Make an API key in place of another one",
        {201: shapes.NewKey},
        body=RotationBody,
        must=False,
        refusals=(404, 409),
    )
    for method, where in (("POST", f"{one}/revoke"), ("DELETE", one)):
        summary = "Revoke an API key; again is the same"
        yield Operation(method, where, summary, {200: shapes.Key}, refusals=(404, 409))


def _mappings() -> Iterator[Operation]:
    path = "/api/v1/mappings"
    one = f"{path}/{{product_id}}"
    summary = (
        "Product ids that are not configured: mapped ones, and those that were sold and are not"
    )
    yield Operation("GET", path, summary, {200: shapes.Mappings})
    yield Operation(
        "PUT",
        one,
        "Meter a product id as a configured product",
        {200: shapes.Mapped},
        body=MappingBody,
        refusals=(404, 409),
    )
    yield Operation("DELETE", one, "Forget a mapping", {200: shapes.Mapping}, refusals=(404,))


def _alerts() -> Iterator[Operation]:
    path = "/api/v1/alerts"
    yield Operation(
        "GET",
        path,
        "Alerts and what became of telling them; `instance` is the package",
        {200: shapes.page_of(shapes.Alert)},
        {**_PAGE, "state": {"type": "string", "enum": [state.value for state in DeliveryState]}},
    )
    yield Operation(
        "POST",
        f"{path}/{{id}}/retry",
        "Send an alert again",
        {200: shapes.Retried},
        refusals=(404, 409),
    )


def _licences() -> Iterator[Operation]:
    path = "/api/v1/licences"
    yield Operation(
        "GET",
        path,
        "Licences that were asked for, and what became of them",
        {200: shapes.page_of(shapes.LicenceRow)},
        {**_PAGE, "state": {"type": "string", "enum": [state.value for state in LicenceState]}},
    )
    yield Operation(
        "POST",
        f"{path}/{{id}}/retry",
        "Make or upload a licence again",
        {200: shapes.LicenceRetried},
        refusals=(404, 409),
    )
    yield Operation(
        "GET",
        "/api/v1/licence-codes",
        "Authorization codes that became known, without the codes",
        {200: shapes.page_of(shapes.LicenceCodeRow)},
        {**_PAGE, "state": _TEXT},
    )


def _people() -> Iterator[Operation]:
    path = "/api/v1/links"
    yield Operation(
        "POST",
        path,
        "Make a link to a customer's page",
        {201: shapes.NewLink},
        body=LinkBody,
        refusals=(404,),
    )
    yield Operation(
        "POST",
        f"{path}/revoke",
        "Revoke every link of a customer",
        {200: shapes.LinksRevoked},
        body=RevocationBody,
        refusals=(404,),
    )
    yield Operation(
        "GET",
        "/api/v1/tenants",
        "Enterprises of the joint-operation Kit",
        {200: shapes.page_of(shapes.Tenant, int)},
        {"instance": _TEXT, **_NUMBERED},
    )
