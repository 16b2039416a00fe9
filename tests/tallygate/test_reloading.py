"""A new configuration taken over by running processes, with customers calling all the while."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from metering.clock import SystemClock
from tallygate.demo.upstream import StubUpstream
from tests.gateway.agent_tokens import APP, called, said_at, token
from tests.installations import (
    CHAT,
    KEY,
    Served,
    configuration,
    eventually,
    serve,
    set_up_ledger,
    tallygate,
    valkey_on_tcp,
    write,
)
from tests.tallygate.serving import serving

GONE = "sk-gone"
BODY = {"model": "m", "messages": [{"role": "user", "content": "two words"}], "max_tokens": 3}


class Caller:
    """A customer who calls without a pause, on one connection; how his calls ended."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key
        self._over = Event()
        self._thread = Thread(target=self._call)
        self.ended: Counter[str] = Counter()
        self.after_refusal: Counter[str] = Counter()

    def _call(self) -> None:
        with httpx.Client(timeout=30, trust_env=False) as http:
            while not self._over.is_set():
                try:
                    headers = {"Authorization": f"Bearer {self._key}"}
                    status = str(http.post(self._url, json=BODY, headers=headers).status_code)
                except httpx.TransportError as problem:
                    status = repr(problem)
                (self.after_refusal if "401" in self.ended else self.ended)[status] += 1

    def __enter__(self) -> "Caller":
        self._thread.start()
        self.goes_on()
        return self

    def goes_on(self) -> None:
        """Return when he had more answers."""
        before = self.answers
        eventually(lambda: self.answers >= before + 20)

    @property
    def answers(self) -> int:
        return self.ended.total() + self.after_refusal.total()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def calls_of(upstream: str) -> int:
    return int(httpx.get(f"{upstream}/_stub/totals", trust_env=False).json()["requests"])


def customer(number: int, key: str) -> dict[str, Any]:
    return {"id": f"cust-{number}", "keys": [key]}


def config_with(upstream: str, routes: dict[str, str], keys: list[str], **more: Any) -> Any:
    """These paths and their upstreams, and a customer for each of these keys."""
    return configuration(
        upstream,
        routes=[
            {"name": n, "path": f"/{n}", "upstream": [f"{url}/v1"], "strip_prefix": True}
            for n, url in routes.items()
        ],
        products=[],
        customers=[customer(n, key) for n, key in enumerate(keys)],
        **more,
    )


@pytest.fixture(scope="module")
def upstreams() -> Iterator[tuple[str, str]]:
    """Two of them."""
    with serving(StubUpstream()) as one, serving(StubUpstream()) as other:
        yield one, other


@contextmanager
def gateway(folder: Path, config: Any) -> Iterator[Served]:
    """One worker without a supervisor."""
    path = write(folder, config)
    set_up_ledger(path)
    with (
        tallygate("gateway", "-c", str(path), folder=folder) as worker,
        httpx.Client(trust_env=False, timeout=30) as http,
    ):
        served = Served(folder, worker, http)
        served.plane("gateway")
        yield served
        assert worker.end() == 0
    assert "Traceback" not in worker.stderr


def reloads(served: Served, result: str) -> float:
    return served.metric("gateway_config_reloads_total", result=result)


@pytest.mark.parametrize("shell", ["linerate", "portable"])
def test_a_reload_cuts_nobody(tmp_path: Path, upstreams: tuple[str, str], shell: str) -> None:
    """A route more, an upstream exchanged, a customer's key gone: only he notices."""
    one, other = upstreams
    folder = tmp_path / "x"
    with valkey_on_tcp(tmp_path) as redis:
        more: dict[str, Any] = {"redis": redis}
        more["gateway"] = configuration(one)["gateway"] | {"shell": shell}
        config = config_with(one, {"v1": one}, [KEY, GONE], **more)
        with gateway(folder, config) as served:
            url = served.gateway + CHAT
            with Caller(url, KEY) as stays, Caller(url, KEY) as too, Caller(url, GONE) as goes:
                read_s = served.metric("gateway_config_last_success_timestamp_seconds")
                write(folder, config_with(one, {"v1": other, "v2": other}, [KEY], **more))
                served.command.tell(signal.SIGHUP)
                eventually(lambda: reloads(served, "ok") == 1)
                before = calls_of(one)
                for caller in (stays, too, goes):
                    caller.goes_on()
            assert (set(stays.ended), set(too.ended)) == ({"200"}, {"200"})
            assert (set(goes.ended), set(goes.after_refusal)) == ({"200", "401"}, {"401"})
            assert calls_of(one) <= before + 2  # whom it had begun to answer
            assert calls_of(other) > 0
            headers = {"Authorization": f"Bearer {KEY}"}
            new = served.gateway + CHAT.replace("v1", "v2")
            assert served.http.post(new, json=BODY, headers=headers).status_code == 200
            assert served.metric("gateway_config_last_success_timestamp_seconds") > read_s
    assert "changed: customers, routes" in served.command.stderr


def test_a_configuration_with_a_fault_changes_nothing(
    tmp_path: Path, upstreams: tuple[str, str]
) -> None:
    """It is said in one line, and counted; what needs a restart is said too."""
    one, _ = upstreams
    folder = tmp_path / "x"
    with valkey_on_tcp(tmp_path) as redis:
        config = config_with(one, {"v1": one}, [KEY], redis=redis)
        with gateway(folder, config) as served:
            lines = len(served.command.stderr.splitlines())
            write(folder, {**config, "routes": [{"name": "x"}], "customers": []})
            served.command.tell(signal.SIGHUP)
            eventually(lambda: reloads(served, "refused") == 1)
            said = served.command.stderr.splitlines()[lines:]
            assert len(said) == 1
            assert "nothing changes" in said[0]
            assert "routes[0].path" in said[0]
            https = {"upstream": ["https://127.0.0.1:1"], "pool": {"ca_file": "no"}}
            write(folder, {**config, "routes": [{**config["routes"][0], **https}], "customers": []})
            served.command.tell(signal.SIGHUP)
            eventually(lambda: reloads(served, "refused") == 2)
            assert served.chat().status_code == 200
            write(folder, {**config, "partitions": 8, "gateway": {"drain_timeout": 5}})
            served.command.tell(signal.SIGHUP)
            eventually(lambda: reloads(served, "ok") == 1)
            assert served.chat().status_code == 200
            assert "until a restart: gateway.admin_listen, gateway.drain_timeout, gateway.listen, partitions" in served.command.stderr  # fmt: skip


def test_a_supervisor_passes_it_on(tmp_path: Path, upstreams: tuple[str, str]) -> None:
    """Both workers serve a new customer, and the control plane knows what he has."""
    one, _ = upstreams
    config = configuration(one)
    config["gateway"]["workers"] = 2
    with serve(tmp_path, config) as served:
        pids = {name: served.plane(name)["pid"] for name in ("gateway", "gateway-1", "control")}
        bought = [{"id": "inst-2", "product": "T"}]
        config["customers"] += [{"id": "cust-2", "keys": ["sk-newer"], "instances": bought}]
        write(tmp_path, config)
        with Caller(served.gateway + CHAT, KEY) as stays:
            served.command.tell(signal.SIGHUP)
            eventually(lambda: reloads(served, "ok") == 2)
            served.started_again("control", pids["control"])
            stays.goes_on()
        assert set(stays.ended) == {"200"}
        for name in ("gateway", "gateway-1"):
            assert served.plane(name)["pid"] == pids[name]
        with httpx.Client(trust_env=False) as http:
            served.http = http
            for _ in range(4):
                assert served.chat(key="sk-newer").status_code == 200
            served.counted(20, "tokens_total", customer="cust-2", instance="inst-2")
            assert "ended; starting it again" not in served.command.stderr
            write(tmp_path, {"routes": "none"})
            served.command.tell(signal.SIGHUP)
            eventually(lambda: reloads(served, "refused") == 2)
            for name in ("gateway", "control"):
                served.started_again(name, served.kill(name))
            for _ in range(4):
                assert served.chat(key="sk-newer").status_code == 200
            served.counted(40, "tokens_total", customer="cust-2", instance="inst-2")
            assert served.command.end() == 0
    assert "Traceback" not in served.command.stderr
    assert served.command.stderr.count("Error:") == 0


def test_a_secret_of_the_agents_gateway_is_exchanged_while_it_runs(
    tmp_path: Path, upstreams: tuple[str, str]
) -> None:
    """What the old one signed proves nothing any more, though its head was known."""
    one, _ = upstreams
    folder = tmp_path / "x"

    def config(secret: str) -> Any:
        apps = [{"app_key": APP, "app_secret": secret}]
        return config_with(one, {"v1": one}, [], **more, koogallery={"agent_apps": apps})

    def asks(secret: str) -> int:
        sent = called(token(said_at(SystemClock().now_ms()), secret), customer="domain-1")
        return served.http.post(served.gateway + CHAT, json=BODY, headers=sent).status_code

    with valkey_on_tcp(tmp_path) as redis:
        more: dict[str, Any] = {"redis": redis}
        with gateway(folder, config("the first")) as served:
            eventually(lambda: asks("the second") == 401)  # 503 as long as nothing was heard
            assert [asks("the first"), asks("the first")] == [200, 200]
            write(folder, config("the second"))
            served.command.tell(signal.SIGHUP)
            eventually(lambda: reloads(served, "ok") == 1)
            assert [asks("the first"), asks("the second")] == [401, 200]
            assert served.metric("gateway_agent_proofs_total", verdict="proved") == 3
    assert "changed: koogallery.agent_apps" in served.command.stderr
