import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from redis.asyncio import Redis

from gateway.admission import Directory
from gateway.app import served_by
from gateway.entitlement_file import EntitlementFile
from gateway.errors import GatewayError, NotCounted
from gateway.following import EVERYONE_S
from gateway.pacing import pause_s
from gateway.passage import RequestHead
from gateway.routing import RouteTable
from gateway.settings import Customer, GatewaySettings, Route
from gateway.worker import Worker
from metering import embedded, entitlements, heartbeats, key_uses
from metering.board import Open
from metering.connection import Store, connect
from metering.counters import Counters
from metering.embedded import EmbeddedValkey
from metering.entitlement import EntitlementSnapshot, to_json
from metering.journal import Journal
from tests.fakes import FakeClock, usage_record

pytestmark = pytest.mark.anyio

NOBODY = "redis://127.0.0.1:1"
NEVER_S = 3600.0


WorkerAt = Callable[..., Worker]


@dataclass
class Ended:
    """A helper process that has ended; `started` keeps the words of all of them."""

    started: list[list[str]]

    def __call__(self, words: list[str]) -> "Ended":
        self.started.append(words)
        return self

    def poll(self) -> int:
        return 0

    def terminate(self) -> None:
        pass

    def wait(self) -> int:
        return 0


@pytest.fixture
def worker_at(new_lane: Callable[..., Journal]) -> WorkerAt:
    """Makes a worker with a lane of its own and one partition; it closes its own client."""

    def made(url: str, **changes: Any) -> Worker:
        lane = new_lane("lane-1", clock=FakeClock(5000))
        settings = GatewaySettings()
        parts: dict[str, Any] = {
            "table": RouteTable([], []),
            "directory": Directory(b"pepper", [Customer(id="static", name="Static")]),
            "settings": settings,
            "redis": connect(url, timeout_s=0.5),
            "lane": lane,
            "journal_dir": lane.folder,
            "partitions": 1,
            "clock": FakeClock(5000),
            "start_helper": Ended([]),
            "file": EntitlementFile(lane.folder.parent, "here"),
        }
        return Worker(**{**parts, **changes})

    return made


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """The first true value of the condition."""
    with anyio.fail_after(10):
        while not (value := await condition()):  # noqa: ASYNC110  (Redis sends no event)
            await anyio.sleep(0.01)
    return value


async def counted(redis: Store) -> int:
    live, _ = await Counters(redis).read(0)
    return sum(live.deltas.values()) if live else 0


async def set_up_partition(redis: Store) -> None:
    await Counters(redis).reset(0, epoch="e", last="d", checkpoints={})


def known(worker: Worker, customer_id: str, name: str) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        found = worker.directory.get(customer_id)
        return found is not None and found.name == name

    return condition


async def test_a_worker_is_ready_once_it_knows_its_customers(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """Before the first full check it would refuse whom it should serve."""
    await entitlements.put(redis, [EntitlementSnapshot("cust-1", "One")])
    worker = worker_at(valkey_url)
    assert worker.not_ready() == "entitlements are not loaded yet"
    async with worker.running():
        await until(known(worker, "cust-1", "One"))
        assert worker.not_ready() is None


async def test_a_change_arrives_by_message(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """Nobody waits for the next full check."""
    worker = worker_at(valkey_url, check_s=NEVER_S)
    async with worker.running():
        await until(lambda: listening(redis))
        await entitlements.put(redis, [EntitlementSnapshot("cust-1", "One")])
        await until(known(worker, "cust-1", "One"))
        await entitlements.put(redis, [EntitlementSnapshot("cust-1", "Renamed")])
        await until(known(worker, "cust-1", "Renamed"))


async def listening(redis: Redis) -> bool:
    return bool((await redis.pubsub_numsub(entitlements.CHANNEL))[0][1])


async def test_a_lost_message_is_healed_by_the_full_check(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """What was written without a word is found all the same."""
    worker = worker_at(valkey_url, check_s=0.02)
    async with worker.running():
        await redis.hset(
            entitlements.KEY, "cust-1", to_json(EntitlementSnapshot("cust-1", "Quietly"))
        )
        await until(known(worker, "cust-1", "Quietly"))


async def test_everybody_is_looked_at_only_where_something_changed(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """The mark tells; and every minute nobody relies on it."""
    worker, looks = worker_at(valkey_url), 0

    class Counting(Redis):
        async def hscan(self, *asked: Any, **more: Any) -> Any:
            nonlocal looks
            looks += 1
            return await redis.hscan(*asked, **more)

        async def hget(self, name: Any, key: Any) -> Any:
            return await redis.hget(name, key)

    await worker.redis.aclose()
    worker.following.redis = Counting()
    for put, expected in ((True, 1), (False, 1), (True, 2)):
        if put:
            await entitlements.put(redis, [EntitlementSnapshot("cust-1", str(expected))])
        await worker.following.check()
        assert looks == expected
    worker.following._everyone_s -= EVERYONE_S
    await worker.following.check()
    assert looks == 3
    customer = worker.directory.get("cust-1")
    assert customer is not None
    assert customer.name == "2"


async def test_a_full_check_never_brings_back_what_a_message_replaced(
    valkey_url: str, worker_at: WorkerAt
) -> None:
    """A long answer that was begun before a change does not undo it."""
    worker = worker_at(valkey_url)
    old, new = EntitlementSnapshot("cust-1", "Old"), EntitlementSnapshot("cust-1", "New")

    class ChangedMeanwhile(Redis):
        async def hscan(self, *_: Any, **__: Any) -> Any:
            worker.following.heard(new)
            return 0, {b"cust-1": to_json(old).encode()}

        async def hget(self, name: Any, key: Any) -> Any:
            return b"mark"

    await worker.redis.aclose()
    worker.following.redis = ChangedMeanwhile()
    await worker.following.check()
    assert worker.directory.get("cust-1") == new


async def test_garbage_in_redis_stops_nobody(
    redis: Redis, valkey_url: str, caplog: pytest.LogCaptureFixture, worker_at: WorkerAt
) -> None:
    """It is counted and said once; everybody else is known, and changes still arrive."""
    await redis.hset(entitlements.KEY, "cust-0", "{garbage")
    await entitlements.put(redis, [EntitlementSnapshot("cust-1", "One")])
    worker = worker_at(valkey_url, check_s=0.02)
    async with worker.running():
        await until(known(worker, "cust-1", "One"))
        await until(lambda: listening(redis))
        await redis.publish(entitlements.CHANNEL, b"\xff")
        await redis.publish(entitlements.CHANNEL, "cust-0")
        await entitlements.put(redis, [EntitlementSnapshot("cust-2", "Two")])
        await until(known(worker, "cust-2", "Two"))
        assert worker.journal()["entitlements_unreadable"] == 1
    assert [r.getMessage() for r in caplog.records] == ["1 entitlements in Redis cannot be read"]


async def test_an_emptied_redis_takes_nobodys_rights(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """A Redis that lost everything says nothing about anybody."""
    await entitlements.put(redis, [EntitlementSnapshot("cust-1", "One")])
    worker = worker_at(valkey_url, check_s=0.02)
    async with worker.running():
        await until(known(worker, "cust-1", "One"))
        await redis.flushall()
        await entitlements.put(redis, [EntitlementSnapshot("cust-2", "Two")])
        await until(known(worker, "cust-2", "Two"))
        assert await known(worker, "cust-1", "One")()


async def test_a_worker_starts_without_redis_from_what_another_one_left(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """It is ready, and knows who everybody was."""
    await entitlements.put(redis, [EntitlementSnapshot("cust-1", "One")])
    first = worker_at(valkey_url)
    async with first.running():
        await until(known(first, "cust-1", "One"))
    shutil.rmtree(first.lane.folder)
    second = worker_at(NOBODY, last_flush_s=0.1)
    assert not second.directory.complete
    async with second.running():
        await until(known(second, "cust-1", "One"))
        assert second.not_ready() is None
        assert second.directory.complete


async def test_configured_customers_are_known_without_redis(worker_at: WorkerAt) -> None:
    """They stand in the configuration, whatever Redis does."""
    worker = worker_at(NOBODY, last_flush_s=0.1)
    async with worker.running():
        assert await known(worker, "static", "Static")()
        assert worker.not_ready()


async def test_a_lane_beats_while_it_runs_and_signs_off(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """The control plane waits for whoever beats, and for nobody who said farewell."""
    worker = worker_at(valkey_url)
    async with worker.running():
        beats = await until(lambda: heartbeats.read(redis))
        assert beats == {"lane-1": heartbeats.Heartbeat(5000, 5000)}
    assert await heartbeats.read(redis) == {}


async def test_the_last_records_are_counted_before_the_farewell(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """What was recorded in the last moment is in Redis when the worker has gone."""
    await set_up_partition(redis)
    worker = worker_at(valkey_url)
    async with worker.running():
        await until(lambda: heartbeats.read(redis))
        for _ in range(3):
            worker.recorder.record(usage_record(tokens_in=2))
    assert await counted(redis) == 6
    assert await heartbeats.read(redis) == {}


async def test_a_worker_that_fails_counts_what_it_has_recorded(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """However its block ends, the last flush comes."""
    await set_up_partition(redis)
    worker = worker_at(valkey_url)
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with worker.running():
            await until(lambda: heartbeats.read(redis))
            worker.recorder.record(usage_record(tokens_in=2))
            raise ZeroDivisionError
    assert await counted(redis) == 2
    assert await heartbeats.read(redis) == {}


async def test_the_last_flush_waits_for_calls_that_are_being_cut_off(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """Their records come a moment after the listeners have stopped."""
    await set_up_partition(redis)
    worker = worker_at(valkey_url)

    async def cut_off() -> None:
        await anyio.sleep(0.1)
        worker.recorder.record(usage_record(tokens_in=2))
        worker.telemetry.open_exchanges -= 1

    async with anyio.create_task_group() as group, worker.running():
        worker.telemetry.open_exchanges += 1
        group.start_soon(cut_off)
    assert await counted(redis) == 2


async def test_a_lane_that_could_not_flush_does_not_sign_off(
    caplog: pytest.LogCaptureFixture, worker_at: WorkerAt
) -> None:
    """A Redis that hangs has not said how much it took: the hour must not close over that."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        worker = worker_at(f"redis://127.0.0.1:{mute.getsockname()[1]}", last_flush_s=0.2)
        async with worker.running():
            worker.recorder.record(usage_record(tokens_in=2))
    assert caplog.messages[-1].startswith("stopped before Redis had taken every record")
    assert not any("signed off" in message for message in caplog.messages)


async def test_a_redis_that_comes_late_and_goes_again_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, worker_at: WorkerAt
) -> None:
    """Calls are counted when it is there; each absence is one line in the log, and its end another."""
    worker = worker_at(embedded.url(tmp_path), check_s=0.05)
    valkey, redis = EmbeddedValkey(tmp_path), connect(embedded.url(tmp_path))

    async def total() -> bool:
        return await counted(redis) == 2

    async with worker.running():
        worker.recorder.record(usage_record(tokens_in=1))
        await until(lambda: messages(caplog, 1))
        with valkey:
            await set_up_partition(redis)
            await until(lambda: messages(caplog, 2))
            assert worker.not_ready() is None
        await until(lambda: messages(caplog, 3))
        assert worker.not_ready() is None
        worker.recorder.record(usage_record(tokens_in=1))
        with valkey:
            await redis.aclose()
            await until(total)
            await until(lambda: messages(caplog, 4))
            await redis.aclose()
    away, back = "Redis cannot be reached", "Redis is back"
    starts = [message[: len(back)] for message in caplog.messages[:4]]
    assert starts == [away[: len(back)], back, away[: len(back)], back]


async def messages(caplog: pytest.LogCaptureFixture, number: int) -> bool:
    return len(caplog.messages) >= number


@asynccontextmanager
async def admin_of(worker: Worker) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(worker.admin())
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as http:
        yield http


async def test_the_operator_sees_what_the_lane_was_given(
    valkey_url: str, worker_at: WorkerAt
) -> None:
    """/-/journal tells records, quantities and what is not in Redis yet; /-/readyz why it waits."""
    worker = worker_at(valkey_url)
    worker.recorder.record(usage_record(tokens_in=2, tokens_out=3))
    async with admin_of(worker) as http:
        journal = (await http.get("/-/journal")).json()
        ready = await http.get("/-/readyz")
    await worker.redis.aclose()
    assert (journal["lane"], journal["records"]) == ("lane-1", 1)
    assert journal["quantities"] == {"tokens_in": 2, "tokens_out": 3}
    assert (ready.status_code, ready.json()["reason"]) == (503, "entitlements are not loaded yet")


async def test_prometheus_sees_the_journal(valkey_url: str, worker_at: WorkerAt) -> None:
    """How much was written, what is open, and whether calls are let in."""
    worker = worker_at(valkey_url)
    worker.recorder.record(usage_record(tokens_in=2))
    worker.recorder.begin(Open("r", "cust-1", "chat", 5))
    async with admin_of(worker) as http:
        shown = (await http.get("/-/metrics")).text
    await worker.redis.aclose()
    lines = {line for line in shown.splitlines() if not line.startswith("#")}
    assert {
        "gateway_journal_records_total 1.0",
        "gateway_journal_open_requests 1.0",
        "gateway_journal_writable 1.0",
        "gateway_store_down 0.0",
    } <= lines


async def test_calls_are_refused_while_redis_is_down_where_that_is_the_policy(
    worker_at: WorkerAt,
) -> None:
    """`on_store_down: deny`: from the third failure in a row."""
    worker = worker_at(NOBODY, settings=GatewaySettings(on_store_down="deny"), last_flush_s=0.1)
    call = Open("r", "cust-1", "chat", 5)
    worker.recorder.forget(worker.recorder.begin(call))
    worker.recorder.record(usage_record(requests=1))
    async with worker.running():
        await until(lambda: down(worker))
        with pytest.raises(NotCounted):
            worker.recorder.begin(call)


async def down(worker: Worker) -> bool:
    return worker.recorder.breaker.open


async def test_a_lane_without_an_owner_is_looked_after(
    redis: Redis, valkey_url: str, worker_at: WorkerAt, new_lane: Callable[..., Journal]
) -> None:
    """Within seconds of its owner's death a helper is started; never for one that lives."""
    await set_up_partition(redis)
    dead, alive = new_lane("dead"), new_lane("alive")
    helper = Ended([])
    worker = worker_at(valkey_url, start_helper=helper)
    async with worker.running():
        await until(lambda: heartbeats.read(redis))
        dead.close()
        await until(lambda: started(helper, ["adopt"]))
    assert alive.lane_id not in str(helper.started)


async def started(helper: Ended, words: list[str]) -> bool:
    return words in helper.started


def test_many_calls_make_flushes_rarer() -> None:
    """Up to a bound: what limits and alarms look at is never older."""
    assert [pause_s(calls) for calls in (0, 1, 12, 25, 64, 1024)] == [
        0.05,
        0.05,
        0.096,
        0.2,
        0.5,
        0.5,
    ]


async def test_projected_customers_stay_when_the_configured_ones_change(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """What came between the reading and the taking over is not forgotten either."""
    await entitlements.put(redis, [EntitlementSnapshot("cust-1", "One")])
    worker = worker_at(valkey_url)
    async with worker.running():
        await until(known(worker, "cust-1", "One"))
        since = worker.projected()
        await entitlements.put(redis, [EntitlementSnapshot("cust-1", "Two")])
        await until(known(worker, "cust-1", "Two"))
        fresh = Directory(b"pepper", [Customer(id="other", name="Other")])
        for snapshot in since.values():
            fresh.put(snapshot)
        worker.serve(served_by(RouteTable([], []), fresh, worker.settings), since)
        names = {
            each: found.name
            for each in ("cust-1", "other", "static")
            if (found := worker.directory.get(each))
        }
        assert names == {"cust-1": "Two", "other": "Other"}
        await entitlements.put(redis, [EntitlementSnapshot("cust-1", "Three")])
        await until(known(worker, "cust-1", "Three"))


@pytest.mark.parametrize("policy", ["allow", "deny"])
async def test_who_hears_nothing_for_too_long_follows_the_policy(
    policy: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, worker_at: WorkerAt
) -> None:
    """Calls go on by what is known, or are refused; either way that is over when Redis is back."""
    settings = {"entitlements_stale_after": 1.0, "on_entitlements_stale": policy}
    path = {"name": "chat", "path": "/v1", "upstream": ["http://up"]}
    worker = worker_at(
        embedded.url(tmp_path),
        table=RouteTable([Route.model_validate(path)], []),
        settings=GatewaySettings.model_validate(settings),
        last_flush_s=0.1,
    )
    heads = [(b"host", b"gw"), (b"x-api-key", b"nobody's")]
    head = RequestHead("GET", b"/v1/x", heads, "192.0.2.1", "http")
    gate = worker.public()._gate

    def answer() -> str:
        with pytest.raises(GatewayError) as refusal:
            gate.open(head, "id")
        return refusal.value.code

    async def answers(code: str) -> bool:
        return answer() == code

    valkey = EmbeddedValkey(tmp_path)
    async with worker.running():
        assert answer() == "entitlements_stale"  # nobody is known yet, so nobody is unknown
        with valkey:
            await until(lambda: answers("invalid_api_key"))
        if policy == "deny":
            await until(lambda: answers("entitlements_stale"))
        else:
            await until(lambda: said(caplog, "calls go on by it"))
            assert answer() == "invalid_api_key"
        with valkey:
            await until(lambda: said(caplog, "up to date again"))
            assert answer() == "invalid_api_key"


async def said(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return any(words in message for message in caplog.messages)


async def test_used_keys_are_told_whatever_configuration_they_were_used_under(
    redis: Redis, valkey_url: str, worker_at: WorkerAt
) -> None:
    """What was noted before a reload is not forgotten with the old customers."""
    worker = worker_at(valkey_url)
    worker.directory.used = {"1", "2"}
    fresh = Directory(b"pepper")
    worker.serve(served_by(RouteTable([], []), fresh, worker.settings), {})
    fresh.used.add("3")
    async with worker.running():
        pass
    assert (await key_uses.read(redis)).uses.keys() == {"1", "2", "3"}
