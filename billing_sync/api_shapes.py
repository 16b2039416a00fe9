"""What the operator's API answers, as types: made of the tables and tuples that it shows.

Times are UTC milliseconds unless they are text; quantities whole meter units, or decimal text.
"""

from types import GenericAlias
from typing import Any, get_type_hints

from pydantic import BaseModel, create_model

from billing_sync.act_models import RecordAct
from billing_sync.alert_models import AlertDelivery
from billing_sync.alerts import Passed
from billing_sync.correction_models import Adjustment, Assignment
from billing_sync.finding_models import FindingRow
from billing_sync.licence_models import Licence, LicenceCode
from billing_sync.linking import MadeLink
from billing_sync.market_models import ProductMapping
from billing_sync.models import Instance, UsageRecord
from billing_sync.store.mappings import Unmapped
from billing_sync.store.suspense import Listed


def _made(name: str, **fields: Any) -> type[BaseModel]:
    kept: dict[str, Any] = {key: (kind, ...) for key, kind in fields.items()}
    return create_model(name, **kept)


def _many(of: type) -> Any:
    return GenericAlias(list, (of,))


def _shown(name: str, of: type, without: tuple[str, ...] = (), **more: Any) -> type[BaseModel]:
    """All of a table's columns or a tuple's fields, and what is shown beside them."""
    if issubclass(of, BaseModel):
        fields: dict[str, Any] = {key: each.annotation for key, each in of.model_fields.items()}
    else:
        fields = get_type_hints(of)
    return _made(name, **{key: fields[key] for key in fields if key not in without}, **more)


class Error(BaseModel):
    """What went wrong: `code` for scripts, `message` for people."""

    code: str
    message: str


class Refusal(BaseModel):
    """The answer to whatever cannot be done."""

    error: Error


class UsageRow(BaseModel):
    """A dimension that was not asked for is null; `instance_id` also for use charged to none."""

    customer_id: str | None
    instance_id: str | None
    meter: str | None
    window_start: str | None
    quantity: int


class UsageReport(BaseModel):
    """`live`: what Redis holds is in it."""

    data: list[UsageRow]
    total: dict[str, str]
    at: str
    live: bool


class Remainder(BaseModel):
    """What is carried to the next record: meter units as decimal text, `waiting` whole ones."""

    package_id: str
    quantity: str
    waiting: int


class PackageItem(BaseModel):
    """A billing item of a package, in billing units; null where the product is sold no more."""

    product_id: str
    quota: str | None
    used: str
    left: str | None
    lapsed: str | None
    overshoot: str
    waiting: str
    used_by: dict[str, str]


class Package(BaseModel):
    """A package and what became of its quotas."""

    id: str
    customer_id: str
    product_id: str
    order_id: str
    status: str
    started: int
    expires: int
    released: int
    stop_before_excess: bool
    policy: str | None
    items: list[PackageItem]


class ConfiguredKey(BaseModel):
    """An API key that the configuration declares."""

    id: str
    customer_id: str
    name: str
    routes: list[str]
    expires: int
    last_used: int
    status: str


class Key(ConfiguredKey):
    """An API key; the key itself stands in one answer only. `shown` is how it begins."""

    shown: str
    created: int
    revoked: int
    replaced_by: str | None
    delivered: bool


class NewKey(Key):
    """An API key, for the only time."""

    key: str


class TenantApp(BaseModel):
    """An application of a tenant, as whose client its people sign in."""

    app_id: str
    client_id: str


class Tenant(BaseModel):
    """An enterprise; of its people and organisations only how many."""

    instance_id: str
    tenant_id: str
    code: str
    name: str
    domain_name: str
    since: int
    apps: list[TenantApp]
    users: int
    organisations: int


class LinksRevoked(BaseModel):
    """No link of the customer that was made before opens anything."""

    customer_id: str
    revision: int


class LicenceRetried(BaseModel):
    """A licence that is worked on again, and where it stands."""

    id: str
    state: str


class Retried(BaseModel):
    """An alert that is sent again: to how many webhooks."""

    id: str
    deliveries: int


LicenceRow = _shown(
    "Licence",
    Licence,
    ("asked", "sealed", "device"),
    for_device=bool,
    is_kept=bool,
    customer_id=str,
)
LicenceCodeRow = _shown("LicenceCode", LicenceCode, ("sealed",))
NewLink = _shown("NewLink", MadeLink)
InstanceRow = _shown("Instance", Instance, remainders=list[Remainder])
Record = _shown("Record", UsageRecord)
Finding = _shown("Finding", FindingRow)
AdjustmentRow = _shown("Adjustment", Adjustment)
AssignmentRow = _shown("Assignment", Assignment)
Mapping = _shown("Mapping", ProductMapping)
Mapped = _shown("Mapped", ProductMapping, instances=int)
Delivery = _shown("Delivery", AlertDelivery, ("alert_id",))
Alert = _shown("Alert", Passed, deliveries=_many(Delivery))
SuspenseRow = _shown("Suspense", Listed, open=int)
RecordShown = _made("RecordShown", record=Record, acts=_many(_shown("Act", RecordAct)))
RecordMoved = _made("RecordMoved", record=Record)
Mappings = _made("Mappings", data=_many(Mapping), unmapped=_many(_shown("Unmapped", Unmapped)))


def page_of(row: type[BaseModel], after: type = str, **more: Any) -> type[BaseModel]:
    """A page of such rows; `next` is what to ask for as `after`, null at the end."""
    return _made(f"{row.__name__}Page", data=_many(row), next=after | None, **more)
