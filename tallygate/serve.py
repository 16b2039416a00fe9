"""One supervisor: the embedded Valkey, the control plane and a gateway worker, as processes.

It binds the sockets and passes them on, restarts what dies, and ends what it started in the order
of the pipeline: the gateway, which flushes; the control plane; Valkey. Every child holds the
reading end of a pipe and stops by itself when the supervisor is gone.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
import httpx

from metering.embedded import EmbeddedValkey
from metering.errors import MeteringUnavailable, WriteUnknown
from tallygate.children import Child, Keeper
from tallygate.installation import Installation
from tallygate.planes import CONTROL_DRAIN_S, Sockets, addresses, bind_plane
from tallygate.stopping import told_to_stop

log = logging.getLogger("tallygate.serve")

_TEND_S: Final = 0.1
_PROBE_S: Final = 0.05
_SLOW_S: Final = 30.0
_MARGIN_S: Final = 30.0  # the last flush takes ten at most, and machines are busy


class CouldNotStart(Exception):
    """A process ended before it answered for the first time; its own words say why."""


class InUse(Exception):
    """Another supervisor runs the same installation."""


class Supervisor:
    """Starts, watches and ends the processes of one installation."""

    def __init__(self, installation: Installation, config_path: Path) -> None:
        self._installation = installation
        self._config_path = config_path
        self._valkey: EmbeddedValkey | None = None
        self._sockets: dict[str, Sockets] = {}
        self._children: list[Child] = []
        self._keepers: list[Keeper] = []
        self._handles: list[int] = []

    def start(self) -> None:
        """Start everything, from the main thread; `stop` is due however it ends.

        Raises InUse, OSError (an address is taken), SecretUnusable or MeteringUnavailable.
        """
        config, now = self._installation.config, anyio.current_time()
        self._lock()
        self._installation.secret()
        self._installation.admin_token()
        for name, section in (("control", config.control), ("gateway", config.gateway)):
            self._sockets[name] = bind_plane(section.listen, section.admin_listen)
        if self._installation.embedded_redis:
            self._valkey = EmbeddedValkey(self._installation.data_dir)
            self._valkey.start()
            self._keepers.append(
                Keeper("Valkey", self._valkey.running, self._restart_valkey, started_at=now)
            )
        owner, writing_end = os.pipe()
        self._handles += [owner, writing_end]
        for name in ("control", "gateway"):
            child = self._child(name, owner)
            child.start()
            self._children.append(child)
            self._keepers.append(Keeper(name, child.alive, child.start, started_at=now))

    async def wait_until_up(self) -> None:
        """Return when every process answers. Raises CouldNotStart."""
        async with _client() as http:
            for child in self._children:
                while not await _answers(http, child.health_url):
                    for each in self._children:
                        if not each.alive():
                            raise CouldNotStart(f"{each.name} did not start; it says why above")
                    await anyio.sleep(_PROBE_S)

    async def wait_until_ready(self) -> None:
        """Return when customers may be sent here, which waits for Redis."""
        async with _client() as http:
            for child in self._children:
                while not await _answers(http, child.ready_url):  # noqa: ASYNC110  (a process)
                    await anyio.sleep(_PROBE_S)

    async def keep(self) -> None:
        """Restart what dies, for ever. Valkey has its data again after it."""
        while True:
            for keeper in self._keepers:
                keeper.tend(anyio.current_time())
            await anyio.sleep(_TEND_S)

    async def stop(self, hurried: anyio.Event | None = None) -> None:
        """End everything in the order of the pipeline. May be called twice.

        Once `hurried` is set, open calls are cut off, recorded and counted as they stand.
        """
        for sockets in self._sockets.values():
            for bound in sockets:  # or new connections would wait here while the planes drain
                bound.close()
        self._sockets.clear()
        drains = {"gateway": self._installation.config.gateway.drain_timeout}
        for child in reversed(self._children):
            patience = drains.get(child.name, CONTROL_DRAIN_S) + _MARGIN_S
            await child.end(patience, hurried or anyio.Event())
        if self._valkey is not None:
            self._valkey.close()
        while self._handles:
            os.close(self._handles.pop())
        self._children.clear()
        self._keepers.clear()

    def urls(self) -> dict[str, str]:
        """Where everything listens: `gateway`, `gateway_admin`, `control`, `control_admin`."""
        found: dict[str, str] = {}
        for name, sockets in self._sockets.items():
            said = addresses(sockets, tls=_tls(self._installation, name))
            found[name] = said["public"]
            found[f"{name}_admin"] = said["admin"]
        return found

    def _lock(self) -> None:
        folder = self._installation.data_dir
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._handles.append(handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(
                f"another `tallygate serve` is using {folder}; stop it or choose another data_dir"
            ) from None

    def _child(self, name: str, owner: int) -> Child:
        sockets = self._sockets[name]
        url = addresses(sockets, tls=False)["admin"]
        handles = [bound.fileno() for bound in sockets]
        return Child(name, str(self._config_path), handles, owner, url)

    def _restart_valkey(self) -> None:
        if self._valkey is not None:
            self._valkey.close()
            self._valkey.start()


def _tls(installation: Installation, plane: str) -> bool:
    config = installation.config
    return (config.control if plane == "control" else config.gateway).tls is not None


def _client() -> httpx.AsyncClient:
    """Impatient: a socket is open before anybody serves it."""
    return httpx.AsyncClient(trust_env=False, timeout=0.5)


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await http.get(url)).status_code == 200
    return False


async def supervise(
    installation: Installation, config_path: Path, ready: Callable[[dict[str, str]], None]
) -> None:
    """Run an installation until SIGTERM or SIGINT; `ready` is told the URLs once all are ready.

    Raises what `Supervisor.start` raises, CouldNotStart, or StoreUnsuitable; nothing is left
    running then.
    """
    supervisor = Supervisor(installation, config_path)
    async with told_to_stop() as stop:
        try:
            with contextlib.suppress(MeteringUnavailable, WriteUnknown):  # the planes wait for it
                await installation.check_redis()
            supervisor.start()
            async with anyio.create_task_group() as group:
                group.start_soon(_watch, supervisor, ready)
                await stop.told.wait()
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.stop(stop.hurried)


async def _watch(supervisor: Supervisor, ready: Callable[[dict[str, str]], None]) -> None:
    await supervisor.wait_until_up()
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.keep)
        with anyio.move_on_after(_SLOW_S) as patience:
            await supervisor.wait_until_ready()
        if patience.cancelled_caught:
            log.warning("not ready after %.0f s; still waiting for Redis", _SLOW_S)
            await supervisor.wait_until_ready()
        ready(supervisor.urls())
