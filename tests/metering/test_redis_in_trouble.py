"""A real Redis in every kind of trouble: what it did not take is counted later, once."""

import shutil
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from redis.exceptions import RedisError
from sqlalchemy import Engine

from metering import deltas, entitlements
from metering.connection import Store, connect
from metering.counters import Counters
from metering.errors import MeteringError, MeteringUnavailable, WriteUnknown
from metering.partitions import live_key
from metering.protocol import Batch
from tests.counting import PARTITIONS, Counting
from tests.fakes import usage_record
from tests.redis_cluster import Server, server
from tests.servers import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    """A server that nobody else needs."""
    with server(tmp_path / "valkey") as running:
        yield running


@pytest.fixture
async def store(valkey: Server, anyio_backend: str) -> AsyncIterator[Store]:
    client = connect(valkey.url, timeout_s=0.5)
    yield client
    await client.aclose()


@pytest.fixture
async def counting(store: Store, engine: Engine, tmp_path: Path) -> AsyncIterator[Counting]:
    """Partitions that are set up, and some usage in them."""
    counting = Counting(store, engine, tmp_path / "journal")
    await counting.drain()
    counting.record(100)
    assert await counting.flush()
    yield counting
    counting.close()


def content(valkey: Server) -> list[dict[str, str]]:
    """Everything that is counted there."""
    return [valkey.ask("HGETALL", live_key(partition)) for partition in range(PARTITIONS)]


def next_batch(counted: list[dict[str, str]], partition: int = 0) -> Batch:
    """One more record of another lane."""
    more = deltas.merge([usage_record(tokens_in=7, tokens_out=3)])
    return Batch(partition, counted[partition]["epoch"], "lane-2", 0, 1, more)


@contextmanager
def read_only(valkey: Server) -> Iterator[None]:
    valkey.ask("REPLICAOF", "127.0.0.1", 1)
    yield
    valkey.ask("REPLICAOF", "NO", "ONE")


@contextmanager
def without_its_master(valkey: Server) -> Iterator[None]:
    valkey.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    with read_only(valkey):
        yield


@contextmanager
def out_of_memory(valkey: Server) -> Iterator[None]:
    valkey.ask("CONFIG", "SET", "maxmemory", 1)
    yield
    valkey.ask("CONFIG", "SET", "maxmemory", 0)


@contextmanager
def without_replicas(valkey: Server) -> Iterator[None]:
    valkey.ask("CONFIG", "SET", "min-replicas-to-write", 1)
    yield
    valkey.ask("CONFIG", "SET", "min-replicas-to-write", 0)


@contextmanager
def unable_to_save(valkey: Server) -> Iterator[None]:
    valkey.ask("CONFIG", "SET", "save", "3600 1000000")
    folder = valkey.ask("CONFIG", "GET", "dir")["dir"]
    shutil.rmtree(folder)
    valkey.ask("BGSAVE")
    eventually(lambda: valkey.ask("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
    yield
    valkey.ask("CONFIG", "SET", "save", "")


@contextmanager
def busy(valkey: Server) -> Iterator[None]:
    """Somebody else's script does not end."""

    def spin() -> None:
        with suppress(RedisError):  # it is killed
            valkey.ask("EVAL", "while true do end", 0)

    def is_busy() -> bool:
        try:
            valkey.ask("PING")
        except RedisError as refusal:
            return "BUSY" in str(refusal)
        return False

    valkey.ask("CONFIG", "SET", "busy-reply-threshold", 1)
    other = threading.Thread(target=spin)
    other.start()
    eventually(is_busy)
    yield
    valkey.ask("SCRIPT", "KILL")
    other.join()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (read_only, "read only replica"),
        (without_its_master, "Link with MASTER is down"),
        (out_of_memory, "maxmemory"),
        (without_replicas, "good replicas"),
        (unable_to_save, "unable to persist|MISCONF|RDB"),
        (busy, "busy"),
    ],
)
async def test_what_is_refused_is_refused_whole(
    trouble: Any, said: str, valkey: Server, store: Store, counting: Counting
) -> None:
    """Neither a delta nor a position has changed, and when the trouble is over all is counted."""
    before = content(valkey)
    with trouble(valkey):
        with pytest.raises(MeteringUnavailable, match=f"refused: .*({said})"):
            await Counters(store).apply(next_batch(before))
        counting.record(100)
        assert not await counting.flush()
    assert content(valkey) == before
    await counting.settle()


async def test_a_redis_without_memory_is_still_drained(valkey: Server, counting: Counting) -> None:
    """Which is what gives it room again."""
    with out_of_memory(valkey):
        counting.record(100)
        assert not await counting.flush()
        before = counting.recorded
        await counting.drain()
        assert 0 < counting.in_ledger() < before
    await counting.settle()


async def test_a_frozen_redis_does_late_what_it_was_told(
    valkey: Server, store: Store, counting: Counting
) -> None:
    """Calls are given up after their time; done afterwards all the same, they do no harm."""
    counters = Counters(store)
    batch = next_batch(content(valkey))
    await counters.head(0)  # knows the scripts, and has a connection
    valkey.tell(signal.SIGSTOP)
    try:
        with pytest.raises(WriteUnknown):
            await counters.apply(batch)
        counting.record(100)
        assert not await counting.flush()
        with pytest.raises(WriteUnknown):
            await counters.apply(batch)
    finally:
        valkey.tell(signal.SIGCONT)
    name = live_key(batch.partition)
    eventually(lambda: valkey.ask("HGET", name, "p:lane-2") == "1")
    assert (await counters.apply(batch)).status == "gap"
    counting.recorded += 7
    await counting.settle()


async def test_an_answer_nobody_waits_for_any_more_is_nobodys(
    valkey: Server, store: Store, counting: Counting
) -> None:
    """A call that is cancelled takes its connection with it: the next one reads its own answer."""
    counters = Counters(store)
    batch = next_batch(content(valkey))
    await counters.head(0)
    valkey.tell(signal.SIGSTOP)
    with anyio.move_on_after(0.1) as given_up:
        await counters.apply(batch)
    valkey.tell(signal.SIGCONT)
    assert given_up.cancelled_caught
    for _ in range(3):
        assert (await counters.head(0)).epoch == batch.epoch


async def test_a_redis_that_is_gone_is_refused_at_once(
    valkey: Server, store: Store, counting: Counting
) -> None:
    """Nobody listens: the text names the address."""
    batch = next_batch(content(valkey))
    valkey.kill()
    for _ in range(2):
        with pytest.raises(MeteringUnavailable):
            await Counters(store).apply(batch)
    with pytest.raises(MeteringUnavailable, match=f"cannot be reached.*{valkey.port}"):
        await Counters(store).apply(batch)


async def test_scripts_may_not_be_loaded(valkey: Server, engine: Engine, tmp_path: Path) -> None:
    """Managed services forbid SCRIPT: no command of it is ever sent."""
    valkey.ask("ACL", "SETUSER", "app", "on", "nopass", "~*", "&*", "+@all", "-script")
    store = connect(valkey.url.replace("127.0.0.1", "app:x@127.0.0.1"))
    counting = Counting(store, engine, tmp_path / "journal")
    try:
        await counting.load(3)
        await counting.settle()
        assert valkey.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"]
    finally:
        counting.close()
        await store.aclose()


async def test_who_listens_notices_a_frozen_redis(valkey: Server, store: Store) -> None:
    """Silence alone does no harm; a server that does not even answer is given up in seconds."""
    ended = anyio.Event()

    async def listen() -> None:
        async with aclosing(entitlements.changes(store)) as changes:
            with pytest.raises(MeteringError):
                await anext(changes)
        ended.set()

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        while not valkey.ask("PUBSUB", "NUMSUB", entitlements.CHANNEL)[1]:  # noqa: ASYNC110  (it tells nobody)
            await anyio.sleep(0.01)
        await anyio.sleep(1.5 * entitlements.QUIET_S)
        assert not ended.is_set()
        valkey.tell(signal.SIGSTOP)
        with anyio.fail_after(30):
            await ended.wait()
    valkey.tell(signal.SIGCONT)


@asynccontextmanager
async def refusing(refusal: str) -> AsyncIterator[str]:
    """The URL of a server that takes connections and says this to every script."""

    async def serve(link: SocketStream) -> None:
        async with link:
            lines = BufferedByteReceiveStream(link)
            with suppress(anyio.IncompleteRead, anyio.BrokenResourceError):
                while True:
                    header = await lines.receive_until(b"\r\n", 100)
                    words = [await word(lines) for _ in range(int(header[1:]))]
                    script = words[0].startswith(b"EVAL")
                    await link.send(f"-{refusal}\r\n".encode() if script else b"+OK\r\n")

    async def word(lines: BufferedByteReceiveStream) -> bytes:
        size = int((await lines.receive_until(b"\r\n", 100))[1:])
        return (await lines.receive_exactly(size + 2))[:-2]

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"redis://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    "refusal",
    [
        "LOADING Valkey is loading the dataset in memory",
        "BUSY Valkey is busy running a script",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "MASTERDOWN Link with MASTER is down",
        "MISCONF Errors writing to the AOF file",
        "NOREPLICAS Not enough good replicas to write.",
        "NOPERM this user has no permissions to run the command",
        "NOAUTH Authentication required.",
        "ERR max number of clients reached",
        "WHATEVER nobody has heard of this",
    ],
)
async def test_every_refusal_is_unavailable(refusal: str) -> None:
    """Whoever refuses has done nothing; the reason is told."""
    async with refusing(refusal) as url:
        store = connect(url)
        with pytest.raises(MeteringUnavailable, match=refusal.rsplit(maxsplit=1)[-1]):
            await Counters(store).head(0)
        await store.aclose()
