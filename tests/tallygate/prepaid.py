"""A package, four gateways of their own processes, and two hundred clients that want all of it."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import anyio
import httpx

from metering import entitlements
from metering.bank import Bank
from metering.connection import connect
from metering.counters import Counters
from metering.entitlement import EntitledInstance, EntitlementSnapshot, InstanceStatus
from metering.lending import Balance, Part, account_of
from metering.partitions import partition_of
from tests.installations import (
    CHAT,
    KEY,
    configuration,
    eventually,
    set_up_ledger,
    tallygate,
    valkey_on_tcp,
    write,
)

ACCOUNT = account_of("cust-1", "T")
PARTITION = partition_of("cust-1", 64)
PRODUCTS = [
    {"product_id": "T", "routes": ["chat"], "meter": "tokens_out"},
    {
        "product_id": "PACK",
        "package": {"items": [{"of": "T", "quota": 1}], "stop_before_excess": True},
    },
]


@dataclass
class Model:
    """An upstream whose answers have a length of their own; `used` is the sum of them."""

    random: Random
    most: int
    used: int = 0
    largest: int = 0
    open: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r")[0])
                asked = json.loads(await reader.readexactly(length))
                made = asked.get("max_tokens") or self.random.randint(1, self.most)
                await asyncio.sleep(self.random.random() * 0.02)
                self.used += made
                self.largest = max(self.largest, made)
                body = json.dumps({"usage": {"prompt_tokens": 1, "completion_tokens": made}})
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(body), body.encode())
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@contextmanager
def modelled(model: Model) -> Iterator[str]:
    """Its URL, while it answers in a thread of its own."""
    started, ports = threading.Event(), []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(model.answer, "127.0.0.1", 0, backlog=1024)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()
        async with server:
            await server.serve_forever()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with suppress(asyncio.CancelledError, RuntimeError):
            loop.run_until_complete(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(10)
        loop.close()


@dataclass
class Shop:
    """Gateways with one customer and his package."""

    redis_url: str
    gateways: list[str] = field(default_factory=list)
    admins: list[str] = field(default_factory=list)
    commands: list[Any] = field(default_factory=list)

    def tell(self, quota: int, version: int = 1) -> None:
        """The ledger says so much is left."""
        anyio.run(self._tell, quota, version)

    async def _tell(self, quota: int, version: int) -> None:
        store = connect(self.redis_url)
        try:
            epoch = (await Counters(store).head(PARTITION)).epoch
            part = Part("pk", quota, quota, 0)
            balance = Balance(ACCOUNT, version, int(time.time_ns() // 1_000_000), (part,))
            assert await Bank(store).tell(PARTITION, epoch, [balance])
        finally:
            await store.aclose()

    def entitle(self) -> None:
        """The customer has bought the package."""
        anyio.run(self._entitle)

    async def _entitle(self) -> None:
        store = connect(self.redis_url)
        try:
            bought = (EntitledInstance("pk", "PACK", InstanceStatus.ACTIVE),)
            await entitlements.put(store, [EntitlementSnapshot("cust-1", "", (), bought)])
        finally:
            await store.aclose()


@contextmanager
def shop(folder: Path, upstream: str, workers: int = 4, **more: Any) -> Iterator[Shop]:
    """So many gateways before the upstream, with a Redis of their own and no control plane."""
    with ExitStack() as stack:
        redis = stack.enter_context(valkey_on_tcp(folder))
        running = Shop(redis)
        for number in range(workers):
            config = configuration(upstream, redis=redis, products=PRODUCTS, **more)
            here = folder / str(number)
            path = write(here, config)
            if not number:
                set_up_ledger(path)
            running.entitle()
            command = stack.enter_context(tallygate("gateway", "-c", str(path), folder=here))
            running.commands.append(command)
            said = eventually(partial(_said, here))
            running.gateways.append(said["public"])
            running.admins.append(said["admin"])
        with httpx.Client(trust_env=False) as http:
            for admin in running.admins:
                eventually(partial(_ready, http, admin))
        yield running


def _ready(http: httpx.Client, admin: str) -> bool:
    return http.get(f"{admin}/-/readyz").status_code == 200


def _said(folder: Path) -> Any:
    path = folder / "var" / "run" / "gateway.json"
    return json.loads(path.read_text()) if path.exists() else None


def use_up(shop: Shop, clients: int, body_of: Callable[[Random], dict[str, Any]]) -> Counter[str]:
    """Call until everybody is told that nothing is left; the answers by code."""
    answers: Counter[str] = Counter()

    async def one(http: httpx.AsyncClient, number: int) -> None:
        url, random = shop.gateways[number % len(shop.gateways)] + CHAT, Random(number)
        while True:
            try:
                reply = await http.post(url, json=body_of(random))
            except httpx.TransportError as error:
                answers[repr(error)] += 1
                return
            code = "ok" if reply.status_code == 200 else reply.json()["error"]["code"]
            answers[code] += 1
            if code == "package_used_up":
                return
            if code != "ok":
                await anyio.sleep(0.1)

    async def everybody() -> None:
        limits = httpx.Limits(max_connections=clients)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with (
            httpx.AsyncClient(trust_env=False, limits=limits, headers=headers, timeout=30) as http,
            anyio.create_task_group() as group,
        ):
            for number in range(clients):
                group.start_soon(one, http, number)
            with anyio.move_on_after(2.0):
                await anyio.sleep_forever()

    anyio.run(everybody)
    return answers
