"""Reading callback bodies: what passes, and which field a refusal names."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import BadEvent
from billing_sync.koogallery import fields
from billing_sync.koogallery.fields import activity_name, instance_ids, parse, utc_ms
from billing_sync.lifecycle import Activity
from tests.billing_sync.koogallery.bodies import NEW, QUERY, REFRESH, RELEASE, STATUS


def raw(body: object) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize("body", [NEW, REFRESH, STATUS, RELEASE, QUERY])
def test_the_least_that_passes(body: dict[str, str]) -> None:
    """Mandatory fields are enough; the body is kept as it came."""
    callback = parse(raw(body))
    assert callback.activity == body["activity"]
    assert not callback.test
    assert json.loads(callback.body) == body


@pytest.mark.parametrize(
    ("body", "name"),
    [(body, name) for body in (NEW, REFRESH, STATUS, RELEASE, QUERY) for name in body],
)
@pytest.mark.parametrize(
    "value", ["absent", None, "", 7, ["x"], "x" * 7000, "a\nb", "\u0000"], ids=range(8)
)
def test_a_broken_field_is_named(body: dict[str, str], name: str, value: object) -> None:
    """A mandatory field that is absent, null, empty, no text, endless or unprintable is named."""
    broken = {key: item for key, item in body.items() if key != name}
    if value != "absent":
        broken[name] = value  # type: ignore[assignment]
    with pytest.raises(BadEvent, match=name):
        parse(raw(broken))


@pytest.mark.parametrize("value", ["1", 1], ids=repr)
def test_test_flag(value: object) -> None:
    """A debugging request is marked by text or number 1."""
    assert parse(raw(NEW | {"testFlag": value})).test


@pytest.mark.parametrize("value", ["0", 0, "", None], ids=repr)
def test_no_test_flag(value: object) -> None:
    """0, empty and absent are real requests."""
    assert not parse(raw(NEW | {"testFlag": value})).test


@pytest.mark.parametrize("value", ["2", "true", True, "01"], ids=repr)
def test_a_strange_test_flag(value: object) -> None:
    """Anything else is refused: guessing might provision a test, or skip a real order."""
    with pytest.raises(BadEvent, match="testFlag"):
        parse(raw(NEW | {"testFlag": value}))


@pytest.mark.parametrize(
    ("body", "name"),
    [(REFRESH | {"scene": "UPGRADE"}, "scene"), (STATUS | {"status": "ON"}, "status")],
)
def test_values_outside_their_list(body: dict[str, str], name: str) -> None:
    """A value that is not in the list is refused, and the list is told."""
    with pytest.raises(BadEvent, match=f"{name} is none of"):
        parse(raw(body))


@pytest.mark.parametrize("scene", sorted(fields.SCENES))
def test_every_scene(scene: str) -> None:
    """All four scenes pass."""
    assert parse(raw(REFRESH | {"scene": scene})).values["scene"] == scene


def test_lengths() -> None:
    """64 characters fit, 65 do not; characters count, not bytes."""
    assert parse(raw(NEW | {"orderId": "云" * 64})).values["orderId"] == "云" * 64
    with pytest.raises(BadEvent, match="orderId is longer than 64"):
        parse(raw(NEW | {"orderId": "x" * 65}))


def test_extra_fields_are_ignored() -> None:
    """Fields nobody documented neither disturb nor appear."""
    callback = parse(raw(NEW | {"saasExtendParams": [{"a": None}], "new": 1}))
    assert set(callback.values) == {
        "orderId",
        "orderLineId",
        "businessId",
        "productId",
        "testFlag",
    }


@pytest.mark.parametrize("name", ["", "new", None, 1, ["newInstance"], {}])
def test_an_unknown_activity(name: object) -> None:
    """Anything else is no activity."""
    with pytest.raises(BadEvent, match="activity"):
        parse(raw({"activity": name}))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff{}", b"[" * 60_000])
def test_what_is_not_an_object(body: bytes) -> None:
    """Empty, broken, other JSON, other encodings and depth bombs are refused as a body."""
    with pytest.raises(BadEvent, match="body is not"):
        parse(body)


@given(st.binary(max_size=300))
def test_no_bytes_break_it(body: bytes) -> None:
    """Whatever comes, it is a callback or a named refusal, and has a label."""
    assert activity_name(body)
    with suppress(BadEvent):
        assert parse(body).activity in Activity


def test_labels_are_few() -> None:
    """Counters are labelled with documented names only."""
    assert activity_name(raw(NEW)) == "newInstance"
    assert activity_name(raw({"activity": "orderNotify"})) == "orderNotify"
    assert activity_name(raw({"activity": "x" * 50})) == "other"
    assert activity_name(raw({"activity": []})) == "other"
    assert activity_name(b"{") == "other"


def ids_of(text: str) -> tuple[str, ...]:
    return instance_ids(parse(raw({"activity": Activity.QUERY, "instanceId": text})))


def test_one_hundred_ids() -> None:
    """A hundred ids of full length pass, in order, each once."""
    many = [f"{number:064d}" for number in range(100)]
    assert ids_of(",".join(many)) == tuple(many)
    assert ids_of("b, a,b") == ("b", "a")


@pytest.mark.parametrize("text", [",", "a,", "a,,b", "x" * 65, ",".join(map(str, range(101)))])
def test_a_bad_list_of_ids(text: str) -> None:
    """Empty, endless or too many ids are refused by the field's name."""
    with pytest.raises(BadEvent, match="instanceId"):
        ids_of(text)


def test_times() -> None:
    """Fourteen digits are seconds, seventeen milliseconds, both UTC."""
    assert utc_ms("expireTime", "20221124023618") == 1_669_257_378_000
    assert utc_ms("expireTime", "20221124023618256") == 1_669_257_378_256


@pytest.mark.parametrize("text", ["", "2022", "20221324023618", "20220230000000", "2022112402361x"])
def test_impossible_times(text: str) -> None:
    """What is no date is refused by the field's name."""
    with pytest.raises(BadEvent, match="expireTime"):
        utc_ms("expireTime", text)
