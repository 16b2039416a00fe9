"""Makes the troubles of a month happen, and notes who noticed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from tallygate.month.agenda import Job
from tallygate.month.faulty import Mood
from tallygate.month.stage import Stage
from tallygate.month.trouble import Kind, Trouble

# Calls that a gateway still forwards before it is killed, and whose end it never sees.
_UNSEEN: Final = 5
_BUSY: Final = {"throttle": 0.2, "http_5xx": 0.2, "timeout_after_accept": 0.2, "mkt_0999": 0.2}


class Troubling:
    """Begins and ends troubles on the stage."""

    def __init__(self, stage: Stage, planned: Sequence[Trouble]) -> None:
        self._stage = stage
        self._planned = planned
        self._noticed: Counter[Kind] = Counter()
        self._before: dict[Trouble, int] = {}
        self._dying: Counter[int] = Counter()  # calls that are left to a gateway

    def jobs(self) -> Iterator[tuple[int, Job]]:
        """What is to be done when."""
        for trouble in self._planned:
            yield trouble.begin_ms, partial(self._begin, trouble)
            if trouble.kind is Kind.LANE_KILLED:
                yield (trouble.begin_ms + trouble.end_ms) // 2, partial(self._kill, trouble)
            yield trouble.end_ms, partial(self._end, trouble)

    def dies(self, gateway: int) -> bool:
        """Whether the gateway will be dead before this call of it ends."""
        if not self._dying[gateway]:
            return False
        self._dying[gateway] -= 1
        self._noticed[Kind.LANE_KILLED] += 1
        return True

    def noticed(self) -> Mapping[Kind, int]:
        """How often each kind was noticed by anybody."""
        resets = self._stage.plane.control.runner.drainer.resets
        return {kind: self._noticed[kind] for kind in Kind} | {Kind.REDIS_EMPTIED: resets}

    async def end_all(self) -> None:
        """Whatever was planned for later is called off."""
        for trouble in list(self._before):
            await self._end(trouble)

    async def _begin(self, trouble: Trouble) -> None:
        self._before[trouble] = self._signs(trouble)
        await self._switch(trouble, on=True)

    async def _end(self, trouble: Trouble) -> None:
        if trouble in self._before:
            await self._switch(trouble, on=False)
            self._noticed[trouble.kind] += self._signs(trouble) - self._before.pop(trouble)

    async def _kill(self, trouble: Trouble) -> None:
        self._dying[trouble.gateway] = 0
        self._stage.gateways[trouble.gateway].die()

    async def _switch(self, trouble: Trouble, *, on: bool) -> None:
        match trouble.kind:
            case Kind.REDIS_REFUSED | Kind.REDIS_UNSURE | Kind.REDIS_EMPTIED | Kind.LANE_CUT:
                await self._switch_redis(trouble, on=on)
            case Kind.SQL_REFUSED | Kind.SQL_LOCKED:
                self._switch_sql(trouble.kind, on=on)
            case Kind.LANE_KILLED | Kind.DEPLOY:
                await self._switch_gateway(trouble, on=on)
            case Kind.MARKET_REFUSED:
                self._stage.to_market.mood = "refused" if on else ""
            case Kind.MARKET_LOST:
                self._stage.to_market.mood = "lost" if on else ""
            case Kind.MARKET_BUSY:
                self._stage.market.spoil(_BUSY if on else {}, trouble.begin_ms)

    async def _switch_redis(self, trouble: Trouble, *, on: bool) -> None:
        if trouble.kind is Kind.REDIS_EMPTIED:
            if on:
                await self._stage.redis.flushall()
            return
        mood: Mood = "unsure" if trouble.kind is Kind.REDIS_UNSURE else "refused"
        cut = trouble.kind is Kind.LANE_CUT
        everybody = self._stage.every_redis()
        for client in [self._stage.gateways[trouble.gateway].redis] if cut else everybody:
            client.mood = mood if on else ""

    def _switch_sql(self, kind: Kind, *, on: bool) -> None:
        database = self._stage.database
        if not on:
            database.heal()
        elif kind is Kind.SQL_LOCKED:
            database.lock()
        else:
            database.refusing = True

    async def _switch_gateway(self, trouble: Trouble, *, on: bool) -> None:
        gateway = self._stage.gateways[trouble.gateway]
        if trouble.kind is Kind.LANE_KILLED:
            if on:
                self._dying[trouble.gateway] = _UNSEEN
            else:
                gateway.start()
        elif on and await gateway.leave():
            self._noticed[Kind.DEPLOY] += 1
            gateway.start()

    def _signs(self, trouble: Trouble) -> int:
        """A count that grows when somebody notices."""
        stage = self._stage
        match trouble.kind:
            case Kind.REDIS_REFUSED | Kind.REDIS_UNSURE:
                return sum(client.noticed for client in stage.every_redis())
            case Kind.LANE_CUT:
                return stage.gateways[trouble.gateway].redis.noticed
            case Kind.SQL_REFUSED | Kind.SQL_LOCKED:
                return stage.database.noticed
            case Kind.MARKET_REFUSED | Kind.MARKET_LOST:
                return stage.to_market.noticed
            case Kind.MARKET_BUSY:
                outcomes = stage.plane.control.runner.outbox.outcomes
                return sum(outcomes.values()) - outcomes.get("accepted", 0)
            case _:
                return 0
