"""The checks on replies to V1.0 calls, both ways."""

import json
from typing import Any

import pytest

from tallygate.simulator.checks import Reply
from tallygate.simulator.v1_checks import check_v1
from tallygate.simulator.v1_cipher import encrypted
from tallygate.simulator.v1_signing import reply_signature

KEY = "key"
IV = "0123456789abcdef"
APP_INFO = {"frontEndUrl": "https://example.com", "userName": encrypted(KEY, 256, "me", IV)}
GOOD = {"resultCode": "000000", "resultMsg": "m", "encryptType": "1", "appInfo": APP_INFO}


def reply(body: Any = GOOD, name: str = "Body-Sign", value: str = "") -> Reply:
    content = json.dumps(body).encode()
    right = f'sign_type="HMAC-SHA256", signature= "{reply_signature(KEY, content)}"'
    headers = ((name, value or right),) if name else ()
    return Reply(200, "application/json", content, 5, headers=headers)


def messages(answer: Reply, activity: str = "newInstance") -> str:
    return "\n".join(finding.message for finding in check_v1(activity, answer, KEY))


def test_a_good_reply() -> None:
    """Nothing is found in it, with one space after `signature=` or none."""
    assert messages(reply()) == ""
    signature = reply_signature(KEY, json.dumps(GOOD).encode())
    assert messages(reply(value=f'sign_type="HMAC-SHA256",signature="{signature}"')) == ""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("", "", "has no Body-Sign"),
        ("body-sign", "", "body-sign is spelt wrongly"),
        ("BODY-SIGN", "", "BODY-SIGN is spelt wrongly"),
        ("Body-Sign", "bm9uZQ==", "is not sign_type"),
        ("Body-Sign", 'sign_type="HMAC-SHA256", signature= "bm9uZQ=="', "does not fit"),
    ],
)
def test_body_sign(name: str, value: str, said: str) -> None:
    """Check 9: there, spelt as documented, and right."""
    assert said in messages(reply(name=name, value=value))


def test_a_signature_in_the_wrong_case() -> None:
    """Base64 has a case; who changes it is told so."""
    signature = reply_signature(KEY, json.dumps(GOOD).encode()).upper()
    answer = reply(value=f'sign_type="HMAC-SHA256", signature= "{signature}"')
    assert "letters of the wrong case" in messages(answer)


def test_two_signatures() -> None:
    """One of them would be wrong."""
    one = reply()
    twice = Reply(200, "application/json", one.content, 5, headers=one.headers * 2)
    assert "more than one" in messages(twice)


def test_access_data() -> None:
    """newInstance must say where the buyer goes; other activities need not."""
    bare = {"resultCode": "000000", "resultMsg": "m"}
    assert "appInfo.frontEndUrl is missing" in messages(reply(bare))
    assert messages(reply(bare), "releaseInstance") == ""
    assert messages(reply({**bare, "resultCode": "000001"})) == ""


def test_encryption() -> None:
    """userName and password are encrypted as encryptType says, in every entry."""
    plain = {**GOOD, "appInfo": {**APP_INFO, "password": "open"}}
    assert "appInfo.password cannot be decrypted" in messages(reply(plain))
    untold = {key: value for key, value in GOOD.items() if key != "encryptType"}
    assert "encryptType is missing" in messages(reply(untold))
    shorter = {**GOOD, "encryptType": "2"}
    assert "userName cannot be decrypted with 128 bits" in messages(reply(shorter))
    entry = {"instanceId": "i", "appInfo": {"userName": "open"}}
    query = {"resultCode": "000000", "resultMsg": "m", "encryptType": "1", "info": [entry, 7]}
    assert "cannot be decrypted" in messages(reply(query), "queryInstance")


def test_no_reply() -> None:
    """What never came cannot be signed wrongly."""
    assert check_v1("newInstance", Reply(None, "", b"", 1, "away"), KEY) == []
