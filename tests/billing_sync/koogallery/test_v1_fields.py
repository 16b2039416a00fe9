"""Reading V1.0 calls: what passes, and which parameter a refusal names."""

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import BadEvent
from billing_sync.koogallery.v1_fields import TABLES, activity_name, extend_params, parse
from billing_sync.lifecycle import Activity
from tests.billing_sync.v1_marketplace import as_text

NEW = {
    "activity": "newInstance",
    "customerId": "c",
    "businessId": "b",
    "orderId": "o",
    "productId": "p",
}
REFRESH = {
    "activity": "refreshInstance",
    "orderId": "o",
    "instanceId": "i",
    "expireTime": "20270101000000",
}
EXPIRE = {"activity": "expireInstance", "orderId": "o", "instanceId": "i"}
RELEASE = {"activity": "releaseInstance", "orderId": "o", "instanceId": "i"}
UPGRADE = {
    "activity": "upgrade",
    "orderId": "o",
    "instanceId": "i",
    "skuCode": "s",
    "productId": "p",
}
STATUS = {"activity": "instanceStatus", "instanceId": "i", "instanceStatus": "FREEZE"}
QUERY = {"activity": "queryInstance", "instanceId": "i"}
# The same under the names of licences (spec §4.3).
LICENCES = [
    each | {"activity": name}
    for each, name in (
        (NEW, "getLicense"),
        (REFRESH, "refreshLicense"),
        (EXPIRE, "expireLicense"),
        (RELEASE, "releaseLicense"),
    )
]
LEAST = [NEW, REFRESH, EXPIRE, RELEASE, UPGRADE, STATUS, QUERY, *LICENCES]


def test_every_activity_is_tried_here() -> None:
    """The cases below are all there are."""
    assert {call["activity"] for call in LEAST} == set(TABLES)


@pytest.mark.parametrize("call", LEAST, ids=lambda call: call["activity"])
def test_the_least_that_passes(call: dict[str, str]) -> None:
    """Mandatory parameters are enough, and each counts as its own activity."""
    callback = parse(call)
    assert callback.activity is TABLES[call["activity"]].activity
    assert not callback.test
    assert json.loads(callback.body) == call


@pytest.mark.parametrize(
    ("call", "name"),
    [(call, name) for call in LEAST for name in call if name != "activity"],
    ids=lambda each: each["activity"] if isinstance(each, dict) else each,
)
@pytest.mark.parametrize("value", [None, "", "x" * 7000, "a\nb"], ids=range(4))
def test_a_broken_parameter_is_named(call: dict[str, str], name: str, value: str | None) -> None:
    """A mandatory parameter that is absent, empty, endless or unprintable is named."""
    broken = {key: item for key, item in call.items() if key != name}
    if value is not None:
        broken[name] = value
    with pytest.raises(BadEvent, match=name):
        parse(broken)


@pytest.mark.parametrize(
    ("call", "name", "value"),
    [
        (NEW, "testFlag", "2"),
        (NEW, "trialFlag", "yes"),
        (NEW, "chargingMode", "one"),
        (NEW, "chargingMode", "1000"),
        (NEW, "amount", "1.5"),
        (NEW, "amount", "12345678"),
        (NEW, "amount", "١"),
        (NEW, "orderAmount", "1.2345"),
        (NEW, "orderAmount", "1e3"),
        (NEW, "periodNumber", "123"),
        (NEW, "customerName", "x" * 65),
        (REFRESH, "trialToFormal", "2"),
        (REFRESH, "orderAmount", "--1"),
        (STATUS, "instanceStatus", "UNFREEZE"),
    ],
)
def test_types_lengths_and_values(call: dict[str, str], name: str, value: str) -> None:
    """Wrong type, over-long, or none of the allowed: the parameter is named."""
    with pytest.raises(BadEvent, match=name):
        parse({**call, name: value})


def test_everything_optional() -> None:
    """All that the documentation lists passes, in its own examples' form."""
    values = {
        "customerName": "华为\u3000云",
        "mobilePhone": "x" * 60,
        "email": "y" * 90,
        "testFlag": "1",
        "trialFlag": "1",
        "expireTime": "20270101000000",
        "chargingMode": "1",
        "periodType": "day",
        "periodNumber": "12",
        "amount": "1234567",
        "orderAmount": "1234.567",
        "provisionType": "1",
        "acceptanceTime": "20270101000000123",
        "unheardOf": "whatever",
    }
    callback = parse(NEW | values)
    assert callback.test
    assert callback.values["customerName"] == "华为 云"
    assert parse(REFRESH | {"orderAmount": "-99.5"}).values["orderAmount"] == "-99.5"


def test_contact_is_kept_nowhere() -> None:
    """What goes into the inbox has neither phone nor mail, not even encrypted."""
    body = parse(NEW | {"mobilePhone": "secret-1", "email": "secret-2", "x": "y"}).body
    assert "secret" not in body
    assert json.loads(body)["x"] == "y"


@pytest.mark.parametrize("name", ["", "fly", "updateInstanceStatus", "upgradeInstance"])
def test_activities_of_neither(name: str) -> None:
    """What V1.0 does not know is refused, V2.0's own names included."""
    with pytest.raises(BadEvent, match="activity"):
        parse({"activity": name})


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (b"a=1&activity=upgrade&b=2", "upgrade"),
        (b"activity=fly", "other"),
        (b"activity=\xff", "other"),
        (b"", "other"),
    ],
)
def test_labels(query: bytes, name: str) -> None:
    """Counters name documented activities only."""
    assert activity_name(query) == name


PARAMS = [{"name": "email", "value": "a@b"}, {"name": "规格", "value": "1"}]


@pytest.mark.parametrize("encode", [str, quote], ids=["once", "twice"])
def test_extend_params(encode: type[str]) -> None:
    """The buyer's answers, however often they were encoded for a URL."""
    assert extend_params(encode(as_text(PARAMS))) == PARAMS


@given(
    st.text(max_size=60)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(as_text)
)
def test_extend_params_that_cannot_be_read(text: str) -> None:
    """Nothing comes of them, and nothing breaks."""
    assert isinstance(extend_params(text), list)


def test_extend_params_by_hand() -> None:
    """Other bytes than JSON, and other JSON than a list of objects."""
    assert extend_params(base64.b64encode(b"\xff").decode()) == []
    assert extend_params(as_text({"name": "x"})) == []
    assert extend_params(as_text([1, {"name": 5}])) == [{"name": "5", "value": ""}]


def test_the_tables_agree_with_the_documentation() -> None:
    """Presence and length of every documented parameter, from a list made apart from the code."""
    documented = json.loads(Path(__file__).with_name("v1_parameters.json").read_text())
    for activity, rows in documented.items():
        fields = {field.name: field for field in TABLES[activity].fields}
        for row in rows:
            field = fields.pop(row["name"])
            assert field.required is (row["mandatory"] is True), (activity, field.name)
            if row["maxlen"] and field.name != "testFlag":
                assert field.length == row["maxlen"], (activity, field.name)
        assert fields == {}, activity


def test_activities() -> None:
    """An expiry is an activity of its own; the others are those of V2.0."""
    assert TABLES["expireInstance"].activity is Activity.EXPIRE
    assert TABLES["instanceStatus"].activity is Activity.STATUS
    assert TABLES["upgrade"].activity is Activity.UPGRADE
