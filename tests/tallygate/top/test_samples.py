import pytest

from tallygate.top.samples import control_of, read, worker_of

WORKER = """\
# TYPE gateway_requests counter
gateway_requests_total{route="chat",code="2xx"} 7.0
gateway_requests_total{route="-",code="5xx"} 2.0
# TYPE gateway_open_exchanges gauge
gateway_open_exchanges 3.0
"""
CONTROL = """\
# TYPE billing_sync_outbox gauge
billing_sync_outbox{state="sent"} 4.0
# TYPE billing_sync_ledger_up gauge
billing_sync_ledger_up 1.0
"""


def test_a_worker() -> None:
    """Counters that nobody has counted yet are 0; what is not told is unknown."""
    found = worker_of("gateway", 7, read(WORKER), {"backlog": 5, "writable": True})
    assert (found.counted["calls"], found.counted["errors"], found.counted["tokens"]) == (9, 2, 0)
    assert dict(found.now) == {"open": 3}
    assert (found.pid, found.backlog, found.writable) == (7, 5, True)


def test_the_control_plane() -> None:
    """Figures by label, and what customers used."""
    row = {"customer_id": "c", "meter": "requests", "quantity": "12"}
    found = control_of(read(CONTROL), {"data": [row], "live": False}, {"billing": "stopped: x"})
    assert found.by_label["records"] == {"sent": 4}
    assert found.by_label["missed"] == {}
    assert dict(found.usage) == {("c", "requests"): 12}
    assert (found.ledger["ledger_up"], found.live, found.billing) == (1, False, "stopped: x")


def test_what_is_no_exposition() -> None:
    """Somebody else may listen there by now."""
    with pytest.raises(ValueError, match="html"):
        read("<html>\n")
