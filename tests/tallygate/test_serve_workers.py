"""Several gateway workers under one supervisor, as processes, with customers calling."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

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
    nothing_runs_in,
    ports_in_a_row,
    running_in,
    serve,
)
from tests.tallygate.serving import serving

BOTH = {"gateway", "gateway-1"}
MESSAGES = [{"role": "user", "content": "two words"}]


@pytest.fixture
def upstream() -> Iterator[str]:
    """A stub that answers like an LLM API."""
    with serving(StubUpstream()) as url:
        yield url


@pytest.fixture(scope="module")
def shops_upstream() -> Iterator[str]:
    """One that only `shop` calls."""
    with serving(StubUpstream()) as url:
        yield url


@pytest.fixture(scope="module")
def shop(shops_upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two workers. Each test leaves both of them running."""
    with serve(tmp_path_factory.mktemp("shop"), two_workers(shops_upstream)) as served:
        yield served
        served.command.end()
    assert "Traceback" not in served.command.stderr


def two_workers(upstream: str, **more: Any) -> dict[str, Any]:
    admin = f"127.0.0.1:{ports_in_a_row(2)}"
    gateway = {"listen": ANY_PORT, "admin_listen": admin, "workers": 2, **more}
    return configuration(upstream, gateway=gateway)


def called(served: Served, http: httpx.Client) -> int:
    """The status of one call; raises what breaks it off."""
    body = {"model": "m", "messages": MESSAGES, "max_tokens": 3}
    headers = {"Authorization": f"Bearer {KEY}"}
    return http.post(served.gateway + CHAT, json=body, headers=headers).status_code


def client() -> httpx.Client:
    """Every call on a connection of its own."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(timeout=30, trust_env=False, limits=limits)


class Customers:
    """Call without a pause, each in a thread; how their calls ended."""

    def __init__(self, served: Served, number: int) -> None:
        self._served = served
        self._over = Event()
        self.threads = [Thread(target=self._call) for _ in range(number)]
        self.answered = 0
        self.broken: list[str] = []

    def _call(self) -> None:
        with client() as http:
            while not self._over.is_set():
                try:
                    assert called(self._served, http) == 200
                    self.answered += 1
                except httpx.TransportError as problem:
                    self.broken.append(repr(problem))

    def __enter__(self) -> "Customers":
        for thread in self.threads:
            thread.start()
        self.are_served()
        return self

    def are_served(self) -> None:
        """Return when they had more answers."""
        before = self.answered
        eventually(lambda: self.answered >= before + 20)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self.threads:
            thread.join()


@contextmanager
def stream(served: Served, tokens: int, delay_ms: int = 100) -> Iterator[tuple[str, Iterator[str]]]:
    """An open reply: which worker it comes from, and what is still to come of it."""
    before = {name: opened(served, name) for name in served.workers()}
    body = {"model": "m", "messages": MESSAGES, "max_tokens": tokens, "stream": True}
    headers = {"Authorization": f"Bearer {KEY}", "X-Stub-Delay-Ms": str(delay_ms)}
    with (
        client() as http,
        http.stream("POST", served.gateway + CHAT, json=body, headers=headers) as reply,
    ):
        lines = reply.iter_lines()
        next(lines)
        (owner,) = [name for name in before if opened(served, name) > before[name]]
        yield owner, lines


def opened(served: Served, worker: str) -> float:
    return served.metric_of(worker, "gateway_requests_total", code="2xx")


def whole(lines: Iterator[str]) -> bool:
    return [line for line in lines if line][-1] == "data: [DONE]"


def test_each_worker_has_an_admin_port_of_its_own(shop: Served) -> None:
    """In a row, so that every scrape is of one worker; the public port is one."""
    workers = shop.workers()
    assert set(workers) == BOTH
    ports = [httpx.URL(workers[name]["admin"]).port for name in sorted(BOTH)]
    assert ports[1] == (ports[0] or 0) + 1
    assert len({plane["public"] for plane in workers.values()}) == 1
    assert len({plane["pid"] for plane in workers.values()}) == 2
    shown = [shop.http.get(f"{plane['admin']}/-/journal").json() for plane in workers.values()]
    assert len({journal["lane"] for journal in shown}) == 2
    assert (
        f"(admin {' '.join(workers[name]['admin'] for name in sorted(BOTH))})"
        in shop.command.stdout
    )


@pytest.mark.parametrize("frozen", sorted(BOTH))
def test_either_takes_what_the_other_cannot(shop: Served, frozen: str) -> None:
    """A worker that hangs keeps nobody out."""
    (other,) = BOTH - {frozen}
    before = opened(shop, other)
    shop.kill(frozen, signal.SIGSTOP)
    with client() as http:
        assert [called(shop, http) for _ in range(20)] == [200] * 20
    assert opened(shop, other) == before + 20
    shop.kill(frozen, signal.SIGCONT)


def test_a_killed_worker_cuts_its_own_connections_alone(shop: Served, shops_upstream: str) -> None:
    """The others go on, it is started again, and whoever got a whole answer is counted once."""
    with stream(shop, tokens=20) as (owner, lines), Customers(shop, 4) as customers:
        (victim,) = BOTH - {owner}
        pid = shop.kill(victim)
        customers.are_served()
        shop.started_again(victim, pid)
        customers.are_served()
        assert whole(lines)
    assert len(customers.broken) <= len(customers.threads)
    assert f"{victim} ended; starting it again in 0.1 s" in shop.command.stderr
    answered = shop.http.get(f"{shops_upstream}/_stub/totals").json()["requests"]
    eventually(lambda: shop.total() >= answered - len(customers.broken))
    assert shop.total() <= answered


@pytest.mark.parametrize(("number", "share"), [(10, 0.7), (64, 0.6)])
def test_connections_are_shared_out(shop: Served, number: int, share: float) -> None:
    """Those that stay open, however they came; of a few, one worker may have one more too many."""
    url = httpx.URL(shop.gateway)
    request = f"GET {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
    before = {name: answered(shop, name) for name in BOTH}
    with ExitStack() as stack:
        kept = [
            stack.enter_context(socket.create_connection((url.host, url.port or 0), timeout=30))
            for _ in range(number)
        ]
        for connection in kept:
            connection.sendall(request)
        for connection in kept:
            assert connection.recv(9) == b"HTTP/1.1 "
        shares = [answered(shop, name) - before[name] for name in BOTH]
    assert sum(shares) == number
    assert max(shares) <= share * number


def answered(served: Served, worker: str) -> float:
    return sum(
        served.metric_of(worker, "gateway_requests_total", code=code) for code in ("2xx", "4xx")
    )


def test_who_waits_to_be_accepted_is_served_by_the_survivor(shop: Served) -> None:
    """Connections in the backlog belong to nobody yet."""
    url = httpx.URL(shop.gateway)
    body = json.dumps({"model": "m", "messages": MESSAGES, "max_tokens": 3})
    head = f"Host: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = f"POST {CHAT} HTTP/1.1\r\n{head}{body}"
    for name in BOTH:
        shop.kill(name, signal.SIGSTOP)
    with ExitStack() as stack:
        waiting = [
            stack.enter_context(socket.create_connection((url.host, url.port or 0), timeout=30))
            for _ in range(30)
        ]
        for connection in waiting:
            connection.sendall(request.encode())
        pid = shop.kill("gateway-1")
        shop.kill("gateway", signal.SIGCONT)
        assert {connection.recv(12) for connection in waiting} == {b"HTTP/1.1 200"}
    shop.started_again("gateway-1", pid)


def test_a_worker_stopped_by_hand_finishes_what_it_serves(shop: Served) -> None:
    """As in a deploy: no call is broken off, the other takes the new ones, a new one starts."""
    with stream(shop, tokens=20) as (owner, lines), Customers(shop, 4) as customers:
        pid = shop.kill(owner, signal.SIGTERM)
        customers.are_served()
        assert whole(lines)
        shop.started_again(owner, pid)
        customers.are_served()
    assert customers.broken == []


def test_sighup_ends_nobody(shop: Served) -> None:
    """Neither the supervisor nor a worker."""
    pids = {name: shop.kill(name, signal.SIGHUP) for name in (*BOTH, "control")}
    shop.command.tell(signal.SIGHUP)
    for name in BOTH:
        eventually(partial(shop.metric_of, name, "gateway_config_reloads_total", result="ok"))
    assert {name: shop.plane(name)["pid"] for name in pids} == pids
    assert shop.chat().status_code == 200


def test_what_is_stopped_is_ended_too(tmp_path: Path, upstream: str) -> None:
    """SIGSTOP for a worker, the control plane and Valkey: they go on for as long as it takes."""
    with serve(tmp_path, two_workers(upstream)) as served:
        assert served.chat().status_code == 200
        (valkey,) = [pid for pid, line in running_in(tmp_path).items() if "valkey-server" in line]
        for pid in (served.plane("gateway-1")["pid"], served.plane("control")["pid"], valkey):
            os.kill(pid, signal.SIGSTOP)
        assert served.command.end() == 0
    nothing_runs_in(tmp_path)
    assert "Traceback" not in served.command.stderr


def test_a_killed_supervisor_leaves_nothing_in_the_way(tmp_path: Path, upstream: str) -> None:
    """Its workers end, also one that is stopped; meanwhile the next supervisor serves at the same
    addresses, and what the old ones finish is counted."""
    config = two_workers(upstream)
    config["gateway"]["listen"] = f"127.0.0.1:{ports_in_a_row(1)}"
    with serve(tmp_path, config) as killed, stream(killed, tokens=20) as (owner, lines):
        (other,) = BOTH - {owner}
        before = {killed.plane(name)["pid"] for name in BOTH}
        killed.kill(other, signal.SIGSTOP)
        killed.command.tell(signal.SIGKILL)
        killed.command.wait()
        with serve(tmp_path, config) as served:
            assert served.chat().status_code == 200
            assert whole(lines)
            eventually(lambda: not before & set(running_in(tmp_path)))
            served.counted(2)
            assert served.command.end() == 0
    nothing_runs_in(tmp_path)
    assert "Traceback" not in served.command.stderr
