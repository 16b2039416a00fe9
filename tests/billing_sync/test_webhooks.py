"""Standard Webhooks: what we sign, its own library verifies; and when a message goes again."""

import base64
import json
import time
from datetime import UTC, datetime
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from billing_sync.webhooks import MOST_ATTEMPTS, WAITS_MS, headers, key_of, wait_ms

SECRETS = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in range(3)]


def test_the_example_of_the_library() -> None:
    """A vector that others publish too: id, time, body, signature."""
    signed = headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330_999,
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.dictionaries(st.text(), st.text(), max_size=3), st.binary(min_size=24, max_size=64))
def test_the_library_verifies_what_we_sign(data: dict[str, str], key: bytes) -> None:
    """Whatever stands in the message."""
    secret = "whsec_" + base64.b64encode(key).decode()
    body = json.dumps(data, ensure_ascii=True).encode()
    now_ms = int(time.time() * 1000)  # noqa: TID251  (the library reads the clock)
    signed = headers("alert_1", now_ms, body, [secret])
    assert Webhook(secret).verify(body, signed) == data
    seconds = datetime.fromtimestamp(now_ms // 1000, UTC)
    ours = signed["webhook-signature"]
    assert Webhook(secret).sign("alert_1", seconds, body.decode()) == ours


def test_while_a_secret_is_rotated_both_are_good() -> None:
    """Old and new sign alike; a third one does not verify, nor do other bytes."""
    now_ms = int(time.time() * 1000)  # noqa: TID251  (the library reads the clock)
    signed = headers("alert_1", now_ms, b"{}", SECRETS[:2])
    for secret in SECRETS[:2]:
        Webhook(secret).verify(b"{}", signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[2]).verify(b"{}", signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[0]).verify(b"{ }", signed)


def test_an_id_with_a_full_stop_is_not_signed() -> None:
    """It could be read as another id and another time."""
    with pytest.raises(ValueError, match="no full stop"):
        headers("alert.1", 0, b"", SECRETS)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "begins with whsec_"),
        ("c2VjcmV0" * 5, "begins with whsec_"),
        ("whsec_", "holds 0"),
        ("whsec_" + "A" * 30, "holds 22"),
        ("whsec_" + "A" * 88, "holds 66"),
        ("whsec_" + "A" * 41, "not base64"),
        ("whsec_ü" + "A" * 40, "not base64"),
        ("whsec_" + "A" * 20 + "-_" + "A" * 20, "not base64"),
    ],
)
def test_what_is_no_secret(secret: str, said: str) -> None:
    """The words say what to mend, and do not hold the secret."""
    with pytest.raises(ValueError, match=said) as refused:
        key_of(secret)
    assert "AAAA" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@given(st.binary(min_size=24, max_size=64), st.booleans())
def test_secrets_with_and_without_padding(key: bytes, padded: bool) -> None:
    """Generators differ in it."""
    text = base64.b64encode(key).decode()
    assert key_of("whsec_" + (text if padded else text.rstrip("="))) == key


def test_a_message_is_tried_for_three_days() -> None:
    """The specification's own schedule: 5 s, 5 min, 30 min, 2 h … 24 h, then it is given up."""
    waits = [wait_ms(attempts, "m") for attempts in range(1, MOST_ATTEMPTS)]
    assert all(
        low <= wait < low * 1.1
        for wait, low in zip(waits, WAITS_MS, strict=True)
        if wait is not None
    )
    assert None not in waits
    assert list(accumulate(WAITS_MS))[-1] == ((75 * 60 + 35) * 60 + 5) * 1000
    assert wait_ms(MOST_ATTEMPTS, "m") is None
    assert wait_ms(MOST_ATTEMPTS + 1, "m", 5000) is None


def test_messages_that_failed_together_do_not_come_back_together() -> None:
    """What is added follows from the message; a receiver that asks for more time gets it."""
    assert len({wait_ms(3, f"m{n}") for n in range(50)}) > 40
    assert wait_ms(3, "m") == wait_ms(3, "m")
    asked = wait_ms(1, "m", asked_ms=60_000)
    assert asked is not None
    assert 60_000 <= asked < 60_500
