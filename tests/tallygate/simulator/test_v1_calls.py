"""V1.0 calls, well made and spoilt."""

from urllib.parse import parse_qs

import pytest

from tallygate.simulator.v1_calls import V1_EXPECTED, signed_call
from tallygate.simulator.v1_signing import auth_token

NOW_MS = 1_790_000_000_123
CALL = {"activity": "newInstance", "customerName": "买家 A+B&C=D"}


def decoded(tamper: str = "none") -> dict[str, str]:
    query = signed_call("key", CALL, NOW_MS, tamper).query
    return {name: value for name, [value] in parse_qs(query, strict_parsing=True).items()}


def test_a_good_call() -> None:
    """Its token covers the decoded parameters; blanks and pluses survive the way."""
    call = decoded()
    assert call["customerName"] == CALL["customerName"]
    assert call["timeStamp"] == "20260921141320123"
    assert call.pop("authToken") == auth_token("key", call)


@pytest.mark.parametrize("tamper", V1_EXPECTED)
def test_spoilt(tamper: str) -> None:
    """Each way differs from the good call; a wrong time is signed well."""
    call, good = decoded(tamper), decoded()
    assert call != good
    if "timestamp" not in tamper:
        assert call.get("authToken") != auth_token("key", call)
    elif tamper != "missing_timestamp":
        assert call["authToken"] == auth_token("key", call)
