"""Metrics of several workers, as processes: any of them answers for all, also for the dead."""

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tallygate.demo.upstream import StubUpstream
from tests.installations import (
    ANY_PORT,
    CHAT,
    KEY,
    Served,
    configuration,
    eventually,
    ports_in_a_row,
    serve,
)
from tests.tallygate.serving import serving

BOTH = ("gateway", "gateway-1")


@pytest.fixture
def upstream() -> Iterator[str]:
    """A stub that answers like an LLM API."""
    with serving(StubUpstream()) as url:
        yield url


def seen(served: Served, worker: str, name: str) -> float:
    """A number as a scrape of this worker shows it, over all labels."""
    text = served.http.get(f"{served.plane(worker)['admin']}/-/metrics").text
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def replies(served: Served, worker: str) -> float:
    """How many calls were answered."""
    return seen(served, worker, 'gateway_requests_total{code="2xx"')


def call(served: Served) -> None:
    """On a connection of its own, to whichever worker."""
    body = {"model": "m", "messages": [{"role": "user", "content": "two words"}]}
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(timeout=30, trust_env=False) as http:
        assert http.post(served.gateway + CHAT, json=body, headers=headers).status_code == 200


def agree(served: Served, calls: int) -> bool:
    """Whether each worker says so."""
    return all(replies(served, name) == calls for name in BOTH)


def test_counters_outlive_workers_and_restarts(upstream: str, tmp_path: Path) -> None:
    """Whoever is asked, killed or started again: nothing goes back, and at the end it is all there."""
    admin = f"127.0.0.1:{ports_in_a_row(2)}"
    gateway = {"listen": ANY_PORT, "admin_listen": admin, "workers": 2}
    config = configuration(upstream, gateway=gateway)
    with serve(tmp_path, config) as served:
        for _ in range(6):
            call(served)
        eventually(partial(agree, served, 6))
        assert seen(served, "gateway", "gateway_workers") == 2
        time.sleep(1.2)  # what a killed worker did not publish is lost: a second at most
        pid = served.kill("gateway-1", signal.SIGKILL)
        assert replies(served, "gateway") == 6
        served.started_again("gateway-1", pid)
        eventually(lambda: seen(served, "gateway-1", "gateway_workers") == 2)
        assert agree(served, 6)
        assert seen(served, "gateway-1", "gateway_journal_open_requests") == 0
        served.command.end()
    with serve(tmp_path, config) as served:
        assert agree(served, 6)
        call(served)
        eventually(partial(agree, served, 7))
        pages = sorted(path.suffix for path in (tmp_path / "var" / "metrics").iterdir())
        assert pages.count(".page") == 2
