"""Faults to order."""

import pytest

from tallygate.simulator.errors import BadRequest
from tallygate.simulator.faults import Faults
from tests.tallygate.simulator.stage import NOW_MS


def kinds(faults: Faults, side: str, calls: int, now_ms: int = NOW_MS) -> list[str]:
    met = [faults.next(side, now_ms) for _ in range(calls)]
    return [fault.kind if fault else "" for fault in met]


def test_in_order_and_so_many_times():
    """Each fault as often as was said, then none."""
    faults = Faults()
    faults.set({"push": [{"kind": "http_500", "times": 2}, {"kind": "throttle"}]})
    assert kinds(faults, "push", 4) == ["http_500", "http_500", "throttle", ""]


def test_sides_are_apart():
    """Setting one side leaves the other; an empty list clears."""
    faults = Faults()
    faults.set({"push": [{"kind": "http_500"}], "order_query": [{"kind": "slow", "seconds": 3}]})
    faults.set({"push": []})
    assert faults.next("push", NOW_MS) is None
    slow = faults.next("order_query", NOW_MS)
    assert slow is not None
    assert slow.seconds == 3


def test_sources_are_apart():
    """What is not named stays; an empty one clears."""
    faults = Faults()
    faults.set({"outages": [{"from_ms": NOW_MS, "to_ms": NOW_MS + 1}]})
    faults.set({"random": {"push": {"throttle": 1}}})
    assert kinds(faults, "push", 1) == ["unreachable"]
    faults.set({"outages": []})
    assert kinds(faults, "push", 1) == ["throttle"]
    faults.set({"random": {}, "limit": {}})
    assert kinds(faults, "push", 1) == [""]


@pytest.mark.parametrize(("side", "other"), [("push", "order_query"), ("order_query", "push")])
def test_outage(side, other):
    """From the first millisecond up to, and without, the last; of one side or of all."""
    faults = Faults()
    faults.set({"outages": [{"side": side, "from_ms": NOW_MS, "to_ms": NOW_MS + 5}]})
    met = [kinds(faults, side, 1, NOW_MS + at)[0] for at in (-1, 0, 4, 5)]
    assert met == ["", "unreachable", "unreachable", ""]
    assert kinds(faults, other, 1) == [""]
    faults.set({"outages": [{"from_ms": NOW_MS, "to_ms": NOW_MS + 5}]})
    assert kinds(faults, other, 1) == ["unreachable"]


def test_precedence():
    """Outage, limit, queue, chance."""
    faults = Faults()
    faults.set(
        {
            "outages": [{"from_ms": NOW_MS, "to_ms": NOW_MS + 1000}],
            "limit": {"push": {"per_second": 3}},
            "push": [{"kind": "mkt_0999"}],
            "random": {"push": {"http_500": 1}},
        }
    )
    assert kinds(faults, "push", 1) == ["unreachable"]
    later = kinds(faults, "push", 4, NOW_MS + 1000)
    assert later == ["mkt_0999", "http_500", "http_500", "throttle"]


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
        {"push": [{"kind": "refuse", "status": 99}]},
        {"push": [{"kind": "reject_rows", "share": 1.1}]},
        {"push": [{"kind": "reject_rows", "instances": "i-1"}]},
        {"push": [{"kind": "http_500", "taken": "yes"}]},
        {"order_query": [{"kind": "timeout_after_accept"}]},
        {"random": []},
        {"random": {"push": 1}},
        {"random": {"pull": {}}},
        {"random": {"push": {"explode": 0.1}}},
        {"random": {"push": {"throttle": 0.6, "http_500": 0.6}}},
        {"random": {"push": {"seed": -1}}},
        {"limit": {"push": {"per_minute": 1}}},
        {"limit": {"push": {"per_second": -1}}},
        {"outages": {}},
        {"outages": [{"side": "left"}]},
        {"outages": [{"from_ms": "now"}]},
        {"push": [], "outages": [7]},
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


def test_shown():
    """What was ordered can be looked at."""
    faults = Faults()
    faults.set(
        {
            "outages": [{"side": "push", "from_ms": 1, "to_ms": 2}],
            "limit": {"push": {"per_second": 3, "retry_after": 4}},
            "random": {"push": {"seed": 5, "http_5xx": 0.1}},
        }
    )
    assert faults.as_json() == {
        "push": [],
        "order_query": [],
        "license": [],
        "outages": [{"side": "push", "from_ms": 1, "to_ms": 2}],
        "limit": {"push": {"per_second": 3, "retry_after": 4}},
        "random": {"push": {"seed": 5, "http_5xx": 0.1, "taken": 0.5}},
    }
