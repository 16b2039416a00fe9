"""What is told of the time of calls, in either shell."""

from typing import Any

from gateway.telemetry import Telemetry, looked_at
from tests.gateway.running import gateway
from tests.servers import upstream

CALLS = 40


def count(telemetry: Telemetry, name: str) -> float:
    """How many values a histogram of the route holds."""
    shown = telemetry.registry().get_sample_value(f"gateway_{name}_count", {"route": "chat"})
    return shown or 0


def test_every_reply_has_its_times(shell: str) -> None:
    """Each of them once, whole ones and streams; the gateway's own part of one in sixteen."""
    asked = 0

    def answer(request: Any) -> None:
        nonlocal asked
        asked += 1
        if asked % 2:
            request.reply(b"{}")
        else:
            request.open_stream()
            request.chunk(b"data: 1\n\n")
            request.chunk(b"")

    with upstream(answer) as up, gateway(up.url) as gw:
        for _ in range(CALLS):
            assert gw.ask()[0].status == 200
        gw.idle()
        for name in ("request_seconds", "first_byte_seconds", "upstream_seconds"):
            assert count(gw.telemetry, name) == CALLS, name
        looked = [record for record in gw.kept.records if looked_at(record.request_id)]
        if shell == "linerate":  # the other one cannot tell its own part from its server's
            assert count(gw.telemetry, "overhead_seconds") == len(looked)
        assert gw.telemetry.streams == 0


def test_one_call_in_sixteen_is_looked_at() -> None:
    """By the end of its id, which is random."""
    ids = [f"3f1c6a0b-0000-4000-8000-0000000000{n:02x}" for n in range(256)]
    assert sum(map(looked_at, ids)) == 16
    assert not looked_at("")
