"""Signatures with the base key, against the specification's vectors."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.signing import callback_signature, push_signature, same

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())


def named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


@pytest.mark.parametrize("vector", VECTORS["callbacks"], ids=named)
def test_callback_signature(vector):
    """Every vector of §2.2 is reproduced."""
    payload = vector["payload"].encode()
    made = callback_signature(vector["key"], vector["nonce"], vector["timestamp"], payload)
    assert made == vector["signature"]


@pytest.mark.parametrize("vector", VECTORS["push"], ids=named)
def test_push_signature(vector):
    """The vector of §7.1 is reproduced."""
    made = push_signature(vector["key"], vector["ts"], vector["nonce"], vector["body"].encode())
    assert made == vector["signature"]


@given(st.text(), st.text())
def test_same_is_equality(left, right):
    """Any two texts may be compared, also those that are no ASCII."""
    assert same(left, right) == (left == right)
