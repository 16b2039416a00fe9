"""Alerts of a whole installation, in processes as a user starts them."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from tallygate.demo.upstream import StubUpstream
from tests.billing_sync.hooks import SECRET, receiver, told
from tests.installations import Served, configuration, eventually, serve, tallygate
from tests.tallygate.serving import serving

PACK = {"product_id": "PACK", "package": {"items": [{"of": "T", "quota": 100}]}}
BOUGHT = [{"id": "inst-1", "product": "T"}, {"id": "pack-1", "product": "PACK"}]


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """A stub that answers like an LLM API."""
    with serving(StubUpstream()) as url:
        yield url


def sent(served: Served) -> int:
    """How many alerts were delivered, and are known to be."""
    answer = served.api("alerts", state="sent")
    return len(answer["data"]) if answer else 0


def test_calls_use_a_package_and_somebody_is_told(tmp_path: Path, upstream: str) -> None:
    """Each threshold once, also where the control plane is killed and started again meanwhile; the
    signature is one that the project's own library verifies, and no secret is in any output."""
    with receiver() as server:
        config = configuration(upstream)
        hook = {"url": f"{server.url}/hook?k=t0ken", "secrets": [SECRET]}
        config["alerts"] = {"webhooks": [hook]}
        config["products"].append(PACK)
        config["customers"][0] |= {"keys": ["sk-test"], "instances": BOUGHT}
        with serve(tmp_path, config) as served:
            served.chat(tokens=79)  # and two in
            eventually(lambda: sent(served) == 1)
            control = served.plane("control")["pid"]
            os.kill(control, signal.SIGKILL)
            eventually(lambda: served.plane("control")["pid"] != control)
            served.chat(tokens=28)
            eventually(lambda: sent(served) == 3)
            served.chat(tokens=28)
            served.counted(141, "tokens_total")
            rows = served.api("alerts")["data"]
            assert {row["threshold"]: row["used"] for row in rows} == {
                80: "81.0000",
                95: "100.0000",
                100: "100.0000",
            }
            with tallygate("alerts", "list", "-c", "tallygate.yaml", folder=tmp_path) as command:
                assert command.wait() == 0
            assert command.stdout.count("  sent  attempts 1") == 3
        said = served.command.stderr + served.command.stdout + command.stdout + command.stderr
    assert sorted(told(server)) == [80, 95, 100]
    assert len({request.header(b"webhook-id") for request in server.requests}) == 3
    for request in server.requests:
        headers = {name.decode(): value.decode() for name, value in request.headers}
        assert Webhook(SECRET).verify(request.body, headers) == json.loads(request.body)
    assert "t0ken" not in said
    assert SECRET not in said
