"""The Kit's signatures, against values that were worked out with openssl and by hand."""

import json

from tallygate.simulator.kit_signing import (
    beijing_stamp,
    signed_text,
    sync_signature,
    sync_token,
)

X_SIGN = "2EC01892467C32F9FD066F3FAB566A8DF1D7BC3AE87F208370913A0DC10763B2"


def test_signed_text() -> None:
    """Top-level keys ascend, nulls go, what is inside stays as it stands."""
    fields = {"b": [{"z": 1, "a": None}], "a": "李/", "c": None}
    assert signed_text(fields).decode() == '{"a":"李/","b":[{"z":1,"a":null}]}'


def test_x_sign() -> None:
    """HMAC over key, nonce, timestamp and the text itself: printf … | openssl dgst -hmac."""
    text = signed_text({"tenantId": "t", "flag": 1})
    assert text == b'{"flag":1,"tenantId":"t"}'
    signature = sync_signature("key", "NONCE", "1790000000000", text)
    assert signature == X_SIGN


def test_auth_token() -> None:
    """The published vector of V1.0: the Kit's differs in nothing but where it stands."""
    params = {
        "activity": "newInstance",
        "businessId": "61e834ba-7b97-4418-b8f7-e5345137278c",
        "customerId": "68cbc86abc2018ab880d92f36422fa0e",
        "expireTime": "20200727153156",
        "orderId": "CS1906666666ABCDE",
        "productId": "00301-666666-0--0",
        "testFlag": 1,
        "timeStamp": "20200727073711903",
    }
    assert sync_token("xxxxxxx", params) == "Gzbfjf9LHRBcI3bFVi++sLinCNOBF6qa7is1fvjEgYQ="


def test_times_are_of_utc_plus_8() -> None:
    """2026-09-21T14:13:20.007Z."""
    assert beijing_stamp(1_790_000_000_007) == "20260921221320007"


def test_lists_stay_lists() -> None:
    """Of V2; V1 has them as text already."""
    assert json.loads(signed_text({"userList": [{"userName": "a"}]}))["userList"][0]
