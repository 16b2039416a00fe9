import json
from pathlib import Path
from typing import Any

import pytest

from tallygate.changes import AT_ONCE, difference, merged
from tallygate.config import Config, parse
from tests.installations import configuration

RUNNING = configuration("http://u")


def config(**changes: Any) -> Config:
    """The running configuration with other sections."""
    return parse(json.dumps(RUNNING | changes), {}, base=Path("/"))


def test_the_same_is_no_change() -> None:
    """Nothing to say."""
    change = difference(config(), config())
    assert not change.names
    assert not change.renews_control


@pytest.mark.parametrize(
    ("changes", "at_once", "renews", "waits"),
    [
        ({"customers": [], "meters": {"m": {"path": "$.a"}}}, {"customers", "meters"}, True, []),
        ({"gateway": RUNNING["gateway"] | {"trusted_proxies": ["10.0.0.0/8"]}}, {"gateway.trusted_proxies"}, False, []),
        ({"gateway": RUNNING["gateway"] | {"workers": 2}}, set(), False, ["gateway.workers"]),
        ({"billing": {"grace": "60s"}}, set(), True, []),
        ({"koogallery": {"access_key": "a"}}, set(), True, []),
        ({"koogallery": {"agent_apps": [{"app_key": "a", "app_secret": "b"}], "jwt_header": "X-J"}}, {"koogallery.agent_apps", "koogallery.jwt_header"}, False, []),
        ({"koogallery": {"constant_header": {"name": "X-A", "value": "b"}, "jwt_tolerance": "5s"}}, {"koogallery.constant_header", "koogallery.jwt_tolerance"}, False, []),
        ({"alerts": {"thresholds": [50]}}, set(), True, []),
        ({"billing": {"grace": "60s"}, "redis": "redis://r"}, set(), False, ["billing", "redis"]),
        ({"control": RUNNING["control"] | {"listen": "127.0.0.1:1"}}, set(), False, ["control.listen"]),
    ],
)  # fmt: skip
def test_what_takes_effect_and_what_waits(
    changes: dict[str, Any], at_once: set[str], renews: bool, waits: list[str]
) -> None:
    """The control plane is started anew for what is its own, unless the planes would part."""
    change = difference(config(), config(**changes))
    assert change.at_once == at_once
    assert change.renews_control is renews
    assert change.waits(supervised=True) == waits


def test_without_a_supervisor_nobody_renews_the_control_plane() -> None:
    """So what is its own waits."""
    change = difference(config(), config(billing={"grace": "60s"}))
    assert change.waits(supervised=False) == ["billing"]


def test_what_waits_is_not_taken_over() -> None:
    """And is named again the next time."""
    read = config(
        customers=[], partitions=8,
        gateway=RUNNING["gateway"] | {"workers": 2, "trusted_peers": ["10.0.0.0/8"]},
    )  # fmt: skip
    now = merged(config(), read, AT_ONCE)
    assert (now.customers, now.gateway.trusted_peers) == ([], ["10.0.0.0/8"])
    assert (now.partitions, now.gateway.workers) == (64, 1)
    assert difference(now, read).names == {"partitions", "gateway.workers"}
