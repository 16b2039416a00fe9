"""One supervisor: the embedded Valkey, the control plane and a gateway worker, as processes.

It binds the sockets and passes them on, restarts what dies, forwards SIGTERM and SIGINT, and ends
what it started in the order of the pipeline: gateways, which flush; control plane; Valkey. Every
child holds the reading end of a pipe and stops by itself when the supervisor is gone.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import httpx

from metering.embedded import EmbeddedValkey
from tallygate.installation import Installation
from tallygate.planes import Sockets, addresses, bind_plane

log = logging.getLogger("tallygate.serve")

_LONGEST_WAIT_S: Final = 10.0
_STOP_S: Final = 60.0


@dataclass
class _Child:
    name: str
    argv: Sequence[str]
    sockets: Sockets
    admin_health: str
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0


class Supervisor:
    """Starts, watches and ends the processes of one installation."""

    def __init__(self, installation: Installation, config_path: Path) -> None:
        self._installation = installation
        self._config_path = config_path
        self._valkey: EmbeddedValkey | None = None
        self._children: list[_Child] = []
        self._owner_pipe = os.pipe()

    def start(self) -> None:
        """Start everything, from the main thread. Raises OSError and MeteringUnavailable.

        When it raises, nothing is left running.
        """
        config = self._installation.config
        try:
            self._installation.secret()
            self._installation.admin_token()
            control = bind_plane(config.control.listen, config.control.admin_listen)
            self._children.append(self._child("control", control, "/healthz"))
            gateway = bind_plane(config.gateway.listen, config.gateway.admin_listen)
            self._children.append(self._child("gateway", gateway, "/-/readyz"))
            if self._installation.embedded_redis:
                self._valkey = EmbeddedValkey(self._installation.data_dir)
                self._valkey.start()
            for child in self._children:
                self._launch(child)
        except BaseException:
            self.stop()
            raise

    async def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        """Return when every process answers. Raises TimeoutError."""
        async with httpx.AsyncClient() as http:
            with anyio.fail_after(timeout_s):
                for child in self._children:
                    while not await _answers(http, child.admin_health):
                        await anyio.sleep(0.05)  # noqa: ASYNC110  (another process)

    async def watch(self) -> None:
        """Restart what dies, for ever. A Valkey that dies takes its data with it to the restart."""
        while True:
            await anyio.sleep(0.2)
            if self._valkey is not None and not self._valkey.running():
                log.error("the embedded Valkey died; starting it again")
                self._valkey.close()
                self._valkey.start()
            for child in self._children:
                if child.process is not None and child.process.poll() is not None:
                    await self._restart(child)

    def stop(self) -> None:
        """End everything in the order of the pipeline. May be called twice."""
        for child in reversed(self._children):
            _end(child)
        if self._valkey is not None:
            self._valkey.close()
            self._valkey = None
        for child in self._children:
            for bound in child.sockets:
                bound.close()
        self._children.clear()
        for end in self._owner_pipe:
            with contextlib.suppress(OSError):
                os.close(end)
        self._owner_pipe = (-1, -1)

    def urls(self) -> dict[str, str]:
        """Where everything listens: `gateway`, `gateway_admin`, `control`, `control_admin`."""
        found: dict[str, str] = {}
        for child in self._children:
            said = addresses(child.sockets, tls=_tls(self._installation, child.name))
            found[child.name] = said["public"]
            found[f"{child.name}_admin"] = said["admin"]
        return found

    def _child(self, name: str, sockets: Sockets, health: str) -> _Child:
        argv = [
            sys.executable,
            "-m",
            "tallygate",
            name,
            "-c",
            str(self._config_path),
            "--sockets",
            ",".join(str(bound.fileno()) for bound in sockets),
            "--owner",
            str(self._owner_pipe[0]),
        ]
        url = addresses(sockets, tls=False)["admin"] + health
        return _Child(name, argv, sockets, url)

    def _launch(self, child: _Child) -> None:
        handles = [bound.fileno() for bound in child.sockets]
        child.process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            child.argv,
            stdin=subprocess.DEVNULL,
            pass_fds=[*handles, self._owner_pipe[0]],
            start_new_session=True,  # Ctrl-C is for the supervisor, who ends them in order
        )

    async def _restart(self, child: _Child) -> None:
        code = child.process.returncode if child.process else 0
        wait = min(0.1 * 2**child.deaths, _LONGEST_WAIT_S)
        child.deaths += 1
        log.error("%s ended with %d; starting it again in %.1f s", child.name, code, wait)
        await anyio.sleep(wait)
        self._launch(child)


def _end(child: _Child) -> None:
    process, child.process = child.process, None
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tls(installation: Installation, plane: str) -> bool:
    config = installation.config
    return (config.control if plane == "control" else config.gateway).tls is not None


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False


async def supervise(
    installation: Installation, config_path: Path, ready: Callable[[dict[str, str]], None]
) -> None:
    """Run an installation until SIGTERM or SIGINT; `ready` is told the URLs once all answer."""
    supervisor = Supervisor(installation, config_path)
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        supervisor.start()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(supervisor.watch)
                group.start_soon(_say_when_ready, supervisor, ready)
                async for _ in signals:
                    group.cancel_scope.cancel()
                    break
        finally:
            supervisor.stop()


async def _say_when_ready(
    supervisor: Supervisor, ready: Callable[[dict[str, str]], None]
) -> None:
    try:
        await supervisor.wait_until_ready()
    except TimeoutError:
        log.error("not everything answers after 30 s; still trying")  # noqa: TRY400
        return
    ready(supervisor.urls())
