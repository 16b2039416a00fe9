"""Faults of the open API: what is answered, and whether the records were taken."""

from collections import Counter
from typing import Any

import pytest

from tallygate.simulator.aksk import SignedRequest
from tallygate.simulator.canonical import canonical
from tallygate.simulator.desk import PUSH_PATH
from tallygate.simulator.in_process import Simulator
from tallygate.simulator.models import Instance, Kind, Product
from tallygate.simulator.said import Said
from tests.tallygate.simulator.stage import NOW_MS, HandClock, push_headers, record, settings

HOUR_MS = 3_600_000


class Scene:
    """A desk with two instances; `serial` makes every push a new one."""

    def __init__(self, faults: dict[str, object]) -> None:
        self.clock = HandClock(NOW_MS + 5 * HOUR_MS)
        self.market = Simulator(settings(faults=faults), self.clock)
        self.serial = 0
        product = Product("chat", "Chat", Kind.ON_DEMAND)
        for name in ("i-1", "i-2"):
            line_id = f"CS1-{name}"
            instance = Instance(name, "CS1", line_id, product, "cust-1", NOW_MS)
            self.market.marketplace.provision(instance)

    def push(self, *instance_ids: str) -> Said:
        """One record of each instance, of the next second."""
        self.serial += 1
        return self.send([record(name, self.serial) for name in instance_ids or ("i-1",)])

    def send(self, records: list[dict[str, object]]) -> Said:
        body = canonical({"usage_records": records}).encode()
        headers = push_headers(body, self.clock.now_ms(), "mkt")
        return self.market.desk.push(SignedRequest("POST", PUSH_PATH, "", headers, body))

    @property
    def taken(self) -> list[str]:
        return [stored.instance_id for stored in self.market.marketplace.records]


def one(**fault: object) -> Scene:
    return Scene({"push": [fault]})


def body(said: Said) -> Any:
    return said.body


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "throttle"}, 429, "APIGW.0308"),
        ({"kind": "throttle", "code": "MKT.0250", "retry_after": 7}, 429, "MKT.0250"),
        ({"kind": "mkt_0999"}, 500, "MKT.0999"),
        ({"kind": "refuse"}, 500, "MKT.0100"),
        ({"kind": "refuse", "code": "MKT.0102"}, 400, "MKT.0102"),
        ({"kind": "refuse", "code": "MKT.0151"}, 401, "MKT.0151"),
        ({"kind": "refuse", "code": "94060001", "status": 200}, 200, "94060001"),
    ],
    ids=str,
)
def test_refusals(fault, status, code):
    """Each with its status and code, and nothing is stored; the next push passes."""
    scene = one(**fault)
    said = scene.push()
    assert (said.status, body(said)["error_code"], scene.taken) == (status, code, [])
    if fault["kind"] == "throttle":
        assert said.headers == {"Retry-After": str(fault.get("retry_after", 1))}
    assert scene.push().status == 200


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("kind", ["http_500", "http_5xx", "mkt_0999"])
def test_server_error_before_or_after_storing(kind, taken):
    """A 5xx says nothing about the records."""
    scene = one(kind=kind, taken=taken)
    assert (scene.push().status, len(scene.taken)) == (500, int(taken))


def test_status_of_a_server_error():
    """Any of them."""
    assert one(kind="http_5xx", status=503).push().status == 503


@pytest.mark.parametrize(("taken", "stored"), [(True, ["i-2"]), (False, [])])
def test_rejected_rows(taken, stored):
    """94060999 names them; the others are stored, or are not where that is said."""
    scene = one(kind="reject_rows", instances=["i-1"], taken=taken)
    said = scene.push("i-1", "i-2")
    assert (said.status, body(said)["error_code"]) == (200, "94060999")
    [abnormal] = body(said)["data"]["abnormal_usage_data"]
    assert abnormal["metering_sn"] == "sn-i-1-1"
    assert scene.taken == stored


def test_rows_that_meet_no_rejection():
    """Then the push succeeds."""
    scene = one(kind="reject_rows", instances=["i-1"])
    assert body(scene.push("i-2"))["error_code"] == "MKT.0000"


def test_the_same_rows_are_rejected_each_time():
    """A share of all rows, drawn from the seed and the row's own number."""
    scene = one(kind="reject_rows", share=0.3, seed=4, times=3)
    rows = [record("i-1", second) for second in range(100)]
    first, second = (body(scene.send(rows))["data"] for _ in range(2))
    assert first == second
    assert 10 < len(first["abnormal_usage_data"]) < 50
    names = {row["metering_sn"] for row in first["abnormal_usage_data"]}
    good = [row for row in rows if row["metering_sn"] not in names]
    assert body(scene.send(good))["error_code"] == "MKT.0000"


def test_bad_push_meets_no_fault_after_storing():
    """What would be refused anyway is refused."""
    scene = one(kind="timeout_after_accept")
    assert body(scene.push("i-9"))["error_code"] == "MKT.9001"


def test_limit_per_second():
    """So many in one second of the simulated clock, and as many in the next."""
    scene = Scene({"limit": {"push": {"per_second": 2, "retry_after": 3}}})
    statuses = [scene.push().status for _ in range(3)]
    said = scene.push()
    scene.clock.time_ms += 1000
    assert (statuses, scene.push().status) == ([200, 200, 429], 200)
    assert (body(said)["error_code"], said.headers) == ("MKT.0250", {"Retry-After": "3"})


def chance(seed: int) -> list[tuple[int, bool]]:
    """Status and loss of 200 pushes."""
    shares = {"http_5xx": 0.2, "timeout_after_accept": 0.1, "throttle": 0.1}
    scene = Scene({"random": {"push": {"seed": seed, **shares}}})
    said = [scene.push() for _ in range(200)]
    return [(each.status, each.lost) for each in said]


def test_chance_is_reproducible():
    """The same seed, the same faults; another seed, others; about as many as was asked for."""
    met = chance(1)
    assert met == chance(1) != chance(2)
    kinds = Counter("lost" if lost else "ok" if status == 200 else "no" for status, lost in met)
    assert 5 < kinds["lost"] < 40
    assert 30 < kinds["no"] < 100
    assert {status for status, _ in met} >= {200, 429, 500, 502, 503, 504}


def test_some_server_errors_come_after_storing():
    """Half of them: a merchant must not know better."""
    scene = Scene({"random": {"push": {"seed": 3, "http_5xx": 1}}})
    assert all(scene.push().status >= 500 for _ in range(100))
    assert 30 < len(scene.taken) < 70
