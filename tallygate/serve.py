"""One supervisor: the embedded Valkey, the control plane and the gateway workers, as processes.

It binds the sockets and passes them on, restarts what dies, and ends what it started in the order
of the pipeline: the gateway workers, which flush; the control plane; Valkey. Every child holds the
reading end of a pipe and stops by itself when the supervisor is gone.
"""

import contextlib
import fcntl
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
import httpx

from metering.embedded import EmbeddedValkey
from metering.errors import MeteringUnavailable, WriteUnknown
from tallygate.children import Child, Keeper, reap_orphans
from tallygate.handing_on import new_handle, put
from tallygate.installation import Installation
from tallygate.planes import CONTROL_DRAIN_S, Sockets, addresses, bind_all, somebody_announced
from tallygate.reloading import read_again
from tallygate.sharing import new_board
from tallygate.stopping import Stop, told_to_stop

log = logging.getLogger("tallygate.serve")

_TEND_S: Final = 0.05
_PROBE_S: Final = 0.05
_SLOW_S: Final = 30.0
_MARGIN_S: Final = 30.0  # the last flush takes ten at most, and machines are busy
_LET_GO_S: Final = 5.0


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
        self._board: int | None = None
        self._given = -1

    def start(self) -> None:
        """Start everything, from the main thread; `stop` is due however it ends.

        Raises InUse, OSError (an address is taken), SecretUnusable or MeteringUnavailable.
        """
        now = anyio.current_time()
        self._lock()
        self._installation.secret()
        self._installation.admin_token()
        self._sockets = bound(self._installation)
        if self._installation.embedded_redis:
            self._valkey = EmbeddedValkey(self._installation.data_dir)
            self._valkey.start()
            self._keepers.append(
                Keeper("Valkey", self._valkey.running, self._restart_valkey, started_at=now)
            )
        owner, writing_end = os.pipe()
        self._handles += [owner, writing_end]
        self._given = new_handle(self._installation.config)
        self._handles.append(self._given)
        workers = self._installation.config.gateway.workers
        if workers > 1:
            self._board = new_board(workers)
            self._handles.append(self._board)
        for name in self._sockets:
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
            if os.getpid() == 1:  # in a container
                reap_orphans(self._pids())
            await anyio.sleep(_TEND_S)

    async def reload(self, stop: Stop) -> None:
        """At each SIGHUP, for ever: read the configuration again, and have it taken over.

        Workers read it by themselves and cut nothing; the control plane is started anew on its
        sockets where it is concerned. A configuration with a fault is said to be so, once by each.
        """
        while True:
            await stop.hung_up()
            read = await read_again(self._installation.config, self._config_path)
            if read is not None:
                self._installation = Installation(read[0])
                put(self._given, read[0])
            for worker in self._of("gateway"):
                await self._hang_up(worker)
            if read is not None and read[1].renews_control:
                await self._renew("control", stop)

    async def _hang_up(self, child: Child) -> None:
        """Tell it once it can hear: before that SIGHUP would end it."""
        async with _client() as http:
            with anyio.move_on_after(_SLOW_S):
                while not await _answers(http, child.health_url):  # noqa: ASYNC110  (a process)
                    await anyio.sleep(_PROBE_S)
                child.tell(signal.SIGHUP)

    async def _renew(self, name: str, stop: Stop) -> None:
        """End a process and start it again; who connects meanwhile waits."""
        child = next(each for each in self._children if each.name == name)
        keeper = next(each for each in self._keepers if each.name == name)
        log.info("starting %s anew for its configuration", name)
        keeper.resting = True
        await child.end(CONTROL_DRAIN_S + _MARGIN_S, stop.hurried)
        child.start()
        keeper.resting = False

    async def stop(self, hurried: anyio.Event | None = None) -> None:
        """End everything in the order of the pipeline. May be called twice.

        Once `hurried` is set, open calls are cut off, recorded and counted as they stand.
        """
        self._wake()
        for sockets in self._sockets.values():
            sockets.public.close()  # or new connections would wait here while the planes drain
            sockets.admin.close()
        self._sockets.clear()
        hurried = hurried or anyio.Event()
        drain_s = self._installation.config.gateway.drain_timeout
        await _end(self._of("gateway"), drain_s + _MARGIN_S, hurried)
        await _end(self._of("control"), CONTROL_DRAIN_S + _MARGIN_S, hurried)
        if self._valkey is not None:
            self._valkey.close()
        while self._handles:
            os.close(self._handles.pop())
        self._children.clear()
        self._keepers.clear()

    def urls(self) -> dict[str, str]:
        """Where everything listens: `gateway`, `gateway_admin`, `control`, `control_admin`.

        Further workers have the same `gateway-1` and an own `gateway-1_admin`, and so on.
        """
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
        handles = [*(each.fileno() for each in sockets), self._given]
        plane = ["control"] if name == "control" else ["gateway", "--name", name]
        if plane[0] == "gateway" and self._board is not None:
            handles.append(self._board)
            plane += ["--worker", str(len(self._of("gateway")))]
        return Child(name, [*plane, "-c", str(self._config_path)], handles, owner, url)

    def _of(self, plane: str) -> list[Child]:
        return [child for child in self._children if child.plane == plane]

    def _pids(self) -> set[int | None]:
        valkey = None if self._valkey is None else self._valkey.pid
        return {valkey, *(child.pid for child in self._children)}

    def _restart_valkey(self) -> None:
        if self._valkey is not None:
            self._valkey.close()
            self._valkey.start()

    def _wake(self) -> None:
        """The last flush needs Valkey and the control plane, and who is stopped hears nothing."""
        for child in self._children:
            child.tell(signal.SIGCONT)
        if self._valkey is not None and self._valkey.pid is not None and self._valkey.running():
            os.kill(self._valkey.pid, signal.SIGCONT)


def bound(installation: Installation) -> dict[str, Sockets]:
    """The listeners of every process. Raises OSError naming an address that is taken.

    The children of a supervisor that was killed are given a moment to let go of theirs.
    """
    deadline = time.monotonic() + _LET_GO_S
    while True:
        try:
            return bind_all(installation.config)
        except OSError:
            if not somebody_announced(installation) or time.monotonic() > deadline:
                raise
            time.sleep(_PROBE_S)


async def _end(children: Sequence[Child], patience_s: float, hurried: anyio.Event) -> None:
    async with anyio.create_task_group() as group:
        for child in children:
            group.start_soon(child.end, patience_s, hurried)


def _tls(installation: Installation, name: str) -> bool:
    config = installation.config
    return (config.control if name == "control" else config.gateway).tls is not None


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
    async with told_to_stop(reloads=True) as stop:
        try:
            with contextlib.suppress(MeteringUnavailable, WriteUnknown):  # the planes wait for it
                await installation.check_redis()
            supervisor.start()
            async with anyio.create_task_group() as group:
                group.start_soon(_watch, supervisor, ready)
                group.start_soon(supervisor.reload, stop)
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
