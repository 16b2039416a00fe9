"""The parameters of the V1.0 activities (spec §3.4, §3.5) as tables, and how a call is read. Pure.

Parameters that are not in a table are accepted; the token covers them.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from billing_sync.errors import BadEvent
from billing_sync.koogallery.fields import MAX_ID, MAX_IDS, TEST, Callback, Field, checked
from billing_sync.lifecycle import Activity

CONTACT: Final = ("mobilePhone", "email")  # encrypted, and kept nowhere
_MAX_EXTEND: Final = 32 * 1024
_MAX_CONTACT: Final = 1024
_MAX_LOOK: Final = 64 * 1024
_NAMES: Final = frozenset({"customerName", "userName"})

_INTEGER: Final = re.compile(r"-?[0-9]+")
_AMOUNT: Final = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,3})?")


def _optional(name: str, length: int = MAX_ID) -> Field:
    return Field(name, required=False, length=length)


def _integer(name: str, length: int) -> Field:
    return Field(name, required=False, length=length, pattern=_INTEGER)


_ORDER_AMOUNT = Field("orderAmount", required=False, length=20, pattern=_AMOUNT)
_PERIOD = (_optional("periodType", 10), _integer("periodNumber", 2))
_LINEAR = (_integer("amount", 7), _integer("diskSize", 7), _integer("bandWidth", 7))
_EXTEND = _optional("saasExtendParams", _MAX_EXTEND)

_NEW: Final = (
    Field("customerId", length=100),
    _optional("customerName"),  # mandatory in China, optional abroad
    _optional("userId"),
    _optional("userName"),
    _optional("mobilePhone", _MAX_CONTACT),
    _optional("email", _MAX_CONTACT),
    Field("businessId"),
    Field("orderId"),
    _optional("skuCode"),
    Field("productId"),
    TEST,
    Field("trialFlag", required=False, length=1, allowed=frozenset({"0", "1"})),
    _optional("expireTime", 20),
    _integer("chargingMode", 3),
    *_PERIOD,
    *_LINEAR,
    _EXTEND,
    _ORDER_AMOUNT,
    _integer("provisionType", 3),
    _optional("acceptanceTime", 20),
    _optional("startTime", 20),
)
_REFRESH: Final = (
    Field("orderId"),
    Field("instanceId"),
    _optional("productId"),
    Field("expireTime", length=20),
    Field("trialToFormal", required=False, length=2, allowed=frozenset({"0", "1"})),
    *_PERIOD,
    _ORDER_AMOUNT,
    TEST,
)
_EXPIRE: Final = (Field("instanceId"), Field("orderId"), TEST)
_RELEASE: Final = (Field("instanceId"), Field("orderId"), TEST, _ORDER_AMOUNT)


class Table(NamedTuple):
    """What an activity of V1.0 amounts to, and its parameters."""

    activity: Activity
    fields: tuple[Field, ...]


TABLES: Final[Mapping[str, Table]] = {
    "newInstance": Table(Activity.NEW, _NEW),
    # The licences of V1.0 (spec §4.3; withdrawn by the marketplace): their names differ, no more.
    "getLicense": Table(Activity.LICENCE, _NEW),
    "refreshLicense": Table(Activity.REFRESH, _REFRESH),
    "expireLicense": Table(Activity.EXPIRE, _EXPIRE),
    "releaseLicense": Table(Activity.RELEASE, _RELEASE),
    "refreshInstance": Table(Activity.REFRESH, _REFRESH),
    "expireInstance": Table(Activity.EXPIRE, _EXPIRE),
    "releaseInstance": Table(Activity.RELEASE, _RELEASE),
    "upgrade": Table(
        Activity.UPGRADE,
        (
            Field("instanceId"),
            Field("orderId"),
            Field("skuCode"),
            Field("productId"),
            *_LINEAR,
            _EXTEND,
            TEST,
        ),
    ),
    "instanceStatus": Table(
        Activity.STATUS,
        (
            Field("instanceId"),
            Field("instanceStatus", length=32, allowed=frozenset({"FREEZE", "NORMAL"})),
            TEST,
        ),
    ),
    # As in V2.0 the ids decide, not the length printed beside them.
    "queryInstance": Table(
        Activity.QUERY, (Field("instanceId", length=MAX_IDS * (MAX_ID + 1)), TEST)
    ),
}


def parse(parameters: Mapping[str, str]) -> Callback:
    """Read a call whose token was right. Raises BadEvent naming the parameter that is wrong."""
    table = TABLES.get(parameters.get("activity", ""))
    if table is None:
        raise BadEvent("activity is missing or unknown")
    values = {field.name: checked(field, _given(field, parameters)) for field in table.fields}
    return Callback(table.activity, values, test=values["testFlag"] == "1", body=_body(parameters))


def activity_name(query_string: bytes) -> str:
    """The activity for a counter's label: a documented name, or `other`. Never raises."""
    for pair in query_string[:_MAX_LOOK].split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"activity":
            text = value.decode("ascii", "replace")
            return text if text in TABLES else "other"
    return "other"


def extend_params(text: str) -> list[dict[str, str]]:
    """The buyer's answers in `saasExtendParams`: base64 of [{"name": …, "value": …}, …].

    Encoded for a URL once or twice, as callers differ. Empty for what cannot be read: nothing here
    depends on it, and no order may fail because of it.
    """
    try:
        raw = base64.b64decode(unquote(text).replace(" ", "+"), validate=True)
        items = json.loads(raw.decode())
    except (ValueError, RecursionError, binascii.Error):
        return []
    pairs = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [{key: str(pair.get(key, "")) for key in ("name", "value")} for pair in pairs]


def _given(field: Field, parameters: Mapping[str, str]) -> str | None:
    value = parameters.get(field.name)
    if value is not None and field.name in _NAMES:  # a wide space in a name is no reason to refuse
        return "".join(each if each.isprintable() else " " for each in value)
    return value


def _body(parameters: Mapping[str, str]) -> str:
    kept = {name: value for name, value in parameters.items() if name not in CONTACT}
    return json.dumps(kept, sort_keys=True)
