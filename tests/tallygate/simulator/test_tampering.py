"""Spoilt callbacks and what is expected of the merchant."""

import pytest

from tallygate.simulator.signing import callback_signature
from tallygate.simulator.tampering import TAMPERS, expected_codes, signed_callback
from tests.tallygate.simulator.stage import KEY, NOW_MS

CONTENT, NONCE = b'{"activity":"releaseInstance"}', "A1" * 32


def fits(tamper: str) -> bool:
    """Whether the signature fits all that is sent."""
    made = signed_callback(KEY, CONTENT, NONCE, NOW_MS, tamper)
    params = made.params
    right = callback_signature(KEY, params["nonce"], params["timestamp"], made.content)
    return params["signature"] == right


@pytest.mark.parametrize("tamper", ["none", "timestamp", "future_timestamp", "replay"])
def test_signed_correctly(tamper):
    """Only the time or the repetition is wrong, the signature is not."""
    assert fits(tamper)


@pytest.mark.parametrize("tamper", ["signature", "nonce", "body"])
def test_signed_wrongly(tamper):
    """The signature is for something else."""
    assert not fits(tamper)


@pytest.mark.parametrize("name", ["signature", "timestamp", "nonce"])
def test_missing(name):
    """One parameter is left out."""
    made = signed_callback(KEY, CONTENT, NONCE, NOW_MS, f"missing_{name}")
    assert {"signature", "timestamp", "nonce"} - set(made.params) == {name}


@pytest.mark.parametrize(("tamper", "shift"), [("timestamp", -1), ("future_timestamp", 1)])
def test_time_is_ten_minutes_off(tamper, shift):
    """Well beyond the 60 seconds."""
    made = signed_callback(KEY, CONTENT, NONCE, NOW_MS, tamper)
    assert made.params["timestamp"] == str(made.sent_ms) == str(NOW_MS + shift * 600_000)


@pytest.mark.parametrize("tamper", TAMPERS)
def test_only_the_untouched_may_succeed(tamper):
    """Success is expected of the good one, and of the first of a replay."""
    assert ("000000" in expected_codes("releaseInstance", tamper, 1)) == (tamper == "none")
    assert ("000000" in expected_codes("releaseInstance", tamper, 0)) == (
        tamper in ("none", "replay")
    )
