"""Everything of a month in one process, on one clock: marketplace, control plane, gateways."""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from billing_sync.sites import public_site
from billing_sync.store.engine import open_engine, sqlite_url
from metering import keys
from tallygate.month import goods
from tallygate.month.clock import MonthClock
from tallygate.month.faulty import FaultyDatabase, FaultyRedis, FaultyTransport
from tallygate.month.gateways import Gateway, Given
from tallygate.month.market import Market
from tallygate.month.plane import SECRET, Plane, parts_of
from tallygate.month.tally import Tally
from tallygate.month.terms import START_MS, Terms

_CLIENT: Final = "control"


class Door:
    """An application that is not there yet."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.app is None:
            raise RuntimeError("nobody is at home")
        await self.app(scope, receive, send)


@dataclass
class Stage:
    """What plays, and what can be taken away from it."""

    terms: Terms
    clock: MonthClock
    tally: Tally
    market: Market
    plane: Plane
    gateways: list[Gateway]
    redis: FaultyRedis  # of the control plane
    database: FaultyDatabase
    to_market: FaultyTransport

    def every_redis(self) -> list[FaultyRedis]:
        """All clients of the one server."""
        return [self.redis, *(gateway.redis for gateway in self.gateways)]


@asynccontextmanager
async def staged(
    terms: Terms, folder: Path, redis_url: str, database: str | None
) -> AsyncIterator[Stage]:
    """For as long as the block lasts; `redis_url` is a server of ours alone, which is emptied.

    `database` is the URL of an empty ledger; without one it is an SQLite file in the folder.
    """
    async with AsyncExitStack() as stack:
        clock, door, tally = MonthClock(START_MS), Door(), Tally()
        market = Market(clock, httpx.ASGITransport(door), terms.features)
        stack.push_async_callback(market.close)
        to_market = FaultyTransport(market.transport)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=to_market))
        path = None if database else folder / "ledger.db"
        engine = open_engine(database or sqlite_url(folder / "ledger.db"))
        stack.callback(engine.dispose)
        redis = _redis(redis_url, terms, _CLIENT)
        stack.push_async_callback(redis.aclose)
        await redis.flushall()
        plane = Plane(parts_of(engine, redis, http, terms=terms, folder=folder, clock=clock))
        plane.set_up()
        door.app = public_site(plane.control)
        market.open(goods.products(terms.features))
        gateways: list[Gateway] = []
        for number in range(terms.gateways):
            gateway = _gateway(number, terms, folder, redis_url, clock, tally)
            stack.push_async_callback(gateway.close)
            gateways.append(gateway)
        database_switch = FaultyDatabase(engine, path)
        stack.callback(database_switch.heal)
        yield Stage(terms, clock, tally, market, plane, gateways, redis, database_switch, to_market)


def _gateway(
    number: int, terms: Terms, folder: Path, redis_url: str, clock: MonthClock, tally: Tally
) -> Gateway:
    name = f"gateway-{number}"
    return Gateway(
        _disks(folder, name),
        _redis(redis_url, terms, name),
        clock,
        Given(
            terms.partitions,
            goods.routes(goods.products(terms.features)),
            keys.pepper(SECRET),
        ),
        tally,
    )


def _redis(url: str, terms: Terms, name: str) -> FaultyRedis:
    return FaultyRedis.over(url, random.Random(f"{terms.seed} network of {name}"))


def _disks(folder: Path, name: str) -> Iterator[Path]:
    number = 0
    while True:
        number += 1
        yield folder / f"{name}-{number}"
