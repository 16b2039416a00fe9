"""Faults to order."""

import pytest

from tallygate.simulator.errors import BadRequest
from tallygate.simulator.faults import Faults


def test_in_order_and_so_many_times():
    """Each fault as often as was said, then none."""
    faults = Faults()
    faults.set({"push": [{"kind": "http_500", "times": 2}, {"kind": "throttle"}]})
    met = [faults.next("push") for _ in range(4)]
    assert [fault and fault.kind for fault in met] == ["http_500", "http_500", "throttle", None]


def test_sides_are_apart():
    """Setting one side leaves the other; an empty list clears."""
    faults = Faults()
    faults.set({"push": [{"kind": "http_500"}], "order_query": [{"kind": "slow", "seconds": 3}]})
    faults.set({"push": []})
    assert faults.next("push") is None
    slow = faults.next("order_query")
    assert slow is not None
    assert slow.seconds == 3


@pytest.mark.parametrize(
    "request_",
    [
        {"pull": []},
        {"push": {}},
        {"push": [7]},
        {"push": [{}]},
        {"push": [{"kind": "slow"}]},
        {"push": [{"kind": "throttle", "times": 0}]},
        {"push": [{"kind": "throttle", "times": True}]},
        {"push": [{"kind": "throttle", "seconds": -1}]},
        {"push": [{"kind": "throttle", "seconds": "1"}]},
        {"push": [{"kind": "throttle", "second": 1}]},
        {"order_query": [{"kind": "timeout_after_accept"}]},
    ],
    ids=str,
)
def test_refused(request_):
    """A wrong request changes nothing."""
    faults = Faults()
    faults.set({"push": [{"kind": "throttle"}]})
    with pytest.raises(BadRequest):
        faults.set(request_)
    assert faults.as_json()["push"] == [{"kind": "throttle", "times": 1}]
