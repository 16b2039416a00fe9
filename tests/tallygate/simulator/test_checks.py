"""The checks on every reply, both ways."""

import json
from typing import Any

import pytest

from tallygate.simulator.checks import RESULT_CODES, Reply, accepted_codes, check_reply


def reply(body: Any = None, **changes: Any) -> Reply:
    good = {"resultCode": "000000", "resultMsg": "success"}
    content = body if isinstance(body, bytes) else json.dumps({**good, **(body or {})}).encode()
    fields: dict[str, Any] = {
        "status": 200,
        "content_type": "application/json;charset=utf8",
        "content": content,
        "elapsed_ms": 12,
    }
    return Reply(**{**fields, **changes})


def checks(answer: Reply, activity: str = "releaseInstance") -> list[str]:
    return [found.check for found in check_reply(activity, answer, accepted_codes(activity))]


def test_good_reply():
    """Nothing is found in a good reply."""
    assert checks(reply()) == []
    assert checks(reply(content_type="Application/JSON")) == []


@pytest.mark.parametrize("code", ["000000", "000004"])
def test_creation_may_be_in_process(code):
    """newInstance may answer 000004, with its instanceId."""
    assert checks(reply({"resultCode": code, "instanceId": "i-1"}), "newInstance") == []


def test_only_creation_may_be_in_process():
    """Elsewhere 000004 is an error."""
    assert checks(reply({"resultCode": "000004"})) == ["result-code"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(status=None, failure="refused"), ["reachable"]),
        (reply(elapsed_ms=20_001), ["in-time"]),
        (reply(elapsed_ms=5_001), ["in-time"]),
        (reply(status=500), ["status"]),
        (reply(status=302), ["status"]),
        (reply(content_type="text/html"), ["content-type"]),
        (reply(content_type=""), ["content-type"]),
        (reply(b"not json"), ["parse"]),
        (reply(b"[]"), ["parse"]),
        (reply(b"[" * 100_000), ["parse"]),
        (reply({"resultCode": None}), ["parse"]),
        (reply({"resultCode": 0}), ["parse"]),
        (reply({"resultCode": "000005"}), ["result-code"]),
        (reply({"resultCode": "0000000"}), ["result-code"]),
        (reply({"resultCode": "000999"}), ["result-code"]),
        (reply({"resultMsg": None}), ["field"]),
        (reply({"resultMsg": ""}), ["field"]),
        (reply({"resultMsg": "x" * 256}), ["field"]),
    ],
)
def test_each_check(answer, expected):
    """One mistake, one finding."""
    assert checks(answer) == expected


@pytest.mark.parametrize("instance_id", [None, "", 7, "i" * 65])
def test_creation_needs_an_instance_id(instance_id):
    """Text of 1 to 64 characters."""
    assert checks(reply({"instanceId": instance_id}), "newInstance") == ["field"]


def test_failed_creation_needs_no_instance_id():
    """An error is one finding, not two."""
    assert checks(reply({"resultCode": "000106"}), "newInstance") == ["result-code"]


def test_expected_refusal_is_no_finding():
    """Who expects 000003 finds nothing in it."""
    refused = reply({"resultCode": "000003"})
    assert check_reply("releaseInstance", refused, frozenset({"000003"})) == []
    assert check_reply("releaseInstance", reply(), frozenset({"000003"})) != []


def test_codes_of_the_list():
    """Eighteen codes are documented, six digits each."""
    assert len(RESULT_CODES) == 18
    assert {len(code) for code in RESULT_CODES} == {6}
