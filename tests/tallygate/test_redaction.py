import base64
import json
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.keys import make_key
from tallygate.redaction import HIDDEN, MAX_TEXT, Redactor

KEY: Final = make_key(bytes(range(32)))
TOKEN: Final = "a8Jk2-long_Opaque.value"
JWT: Final = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Authorization: Bearer {KEY}", KEY),
        (f"authorization: Basic {base64.b64encode(b'user:password').decode()}", "dXNlcjpw"),
        (f"X-Api-Key: {TOKEN}", TOKEN),
        (f"[(b'authorization', b'{TOKEN}')]", TOKEN),
        (json.dumps({"access_key": TOKEN}), TOKEN),
        (str({"Body-Sign": TOKEN}), TOKEN),
        (f"GET /koogallery?signature={quote(TOKEN)}&timestamp=1", TOKEN),
        (f"GET /?authToken={TOKEN}&saasExtendParams=e30%3D", TOKEN),
        (f"SDK-HMAC-SHA256 Access=AK123456, SignedHeaders=host, Signature={'0f' * 32}", "0f0f"),
        (f"control.admin_token={TOKEN} is wrong", TOKEN),
        (f"key {KEY} was presented", KEY),
        ("key sk-proj-0123456789abcdef was presented", "0123456789"),
        ("the webhook's whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8G"),
        (f"{JWT} has expired", "eyJzdWIi"),
        ("cannot connect to rediss://:hunter22@redis.example.com:6379/0", "hunter22"),
        ("postgresql+psycopg://app:hunter22@db/tally is away", "hunter22"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, secret: str) -> None:
    """In whatever form a library or an exception says it."""
    assert secret in text
    assert secret not in Redactor().text(text)
    assert HIDDEN in Redactor().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "left as it was until a restart: control.admin_token, gateway.listen, secret_key",
        "nothing changes: tallygate.yaml: koogallery.access_key: must not be empty",
        "callback refused: koogallery.access_key is not set",
        "exchange 0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f failed",
        "lane 0123456789abcdef0123456789abcdef is silent; see `tallygate lanes forget`",
        "https://api.example.com:8443/v1 failed 3 times in a row and gets no calls",
        "key 12 of customer cust-1 was revoked",
        "usage records wait to be pushed: MKT.0999 internal error",
        "configuration read again; changed: customers, routes",
    ],
)
def test_what_operators_read_stays(text: str) -> None:
    """Names of settings and ids are no secrets."""
    assert Redactor().text(text) == text


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=6, max_size=80))
def test_a_known_secret_is_hidden_wherever_it_stands(secret: str) -> None:
    """Those of the configuration, whatever they look like."""
    assert f"<{secret}>" not in Redactor([secret]).text(f"it said <{secret}> and left")


@given(st.text(max_size=400))
def test_redacting_twice_changes_nothing(text: str) -> None:
    """A line that went through two formatters reads the same."""
    once = Redactor().text(text)
    assert Redactor().text(once) == once


def test_values_by_their_names() -> None:
    """A field with the name of a secret is one, inside of others too; numbers are not text."""
    value = Redactor(["hunter22"]).value
    assert value("admin_token", "x") == value("ak", "x") == HIDDEN
    assert value("x", {"password": "x", "n": 1, "why": "hunter22!"}) == {
        "password": HIDDEN,
        "n": 1,
        "why": f"{HIDDEN}!",
    }
    assert (value("status", 200), value("x", None), value("tokens_in", 5)) == (200, None, 5)
    assert value("error", ValueError(f"signature={TOKEN}")) == f"signature={HIDDEN}"


def test_text_is_bounded() -> None:
    """A huge answer of somebody's does not fill the disk."""
    assert len(Redactor().text("x" * (2 * MAX_TEXT))) <= MAX_TEXT + 2
