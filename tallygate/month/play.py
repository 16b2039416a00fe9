"""Plays a month hour by hour: calls, customers' deeds, the loops of everybody, and the troubles.

At its end every trouble is over, gateways leave, and the loops go on until nothing waits any more.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Final

from metering.windows import HOUR_MS
from tallygate.month import books, sabotage
from tallygate.month.agenda import Agenda
from tallygate.month.balance import SENT, Books
from tallygate.month.calls import Call, Habits
from tallygate.month.outcome import Outcome
from tallygate.month.sabotage import Sabotage
from tallygate.month.scenario import Deed, deeds
from tallygate.month.stage import Stage, staged
from tallygate.month.terms import DAY_MS, START_MS, Terms
from tallygate.month.trouble import troubles
from tallygate.month.troubling import Troubling

_MINUTE_MS: Final = 60_000
# When the loops are turned in an hour: just after the grace of the last window, then in pushing
# time, then now and then. Their real pace is a second; what happens between two turns is the same.
_TURNS: Final = tuple(m * _MINUTE_MS + 10_000 for m in (2, 7, 13, 37))
_HEARD_MS: Final = 700  # until gateways hear of a change
_COMPARED: Final = 6 * HOUR_MS
_MOST_AFTER: Final = 30  # hours
_LEAST_AFTER: Final = 3


async def play(
    terms: Terms,
    folder: Path,
    redis_url: str,
    *,
    database: str | None = None,
    wrong: Collection[Sabotage] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """A whole month; see `staged` for the arguments. `wrong` are mistakes made on purpose."""
    async with staged(terms, folder, redis_url, database) as stage:
        player = _Player(stage, wrong, say)
        await player.play()
        return player.outcome()


class _Player:
    def __init__(
        self, stage: Stage, wrong: Collection[Sabotage], say: Callable[[str], None]
    ) -> None:
        self._stage = stage
        self._wrong = wrong
        self._say = say
        self._agenda = Agenda()
        self._habits = Habits(stage.terms)
        self._troubling = Troubling(stage, troubles(stage.terms))
        self._waiting: dict[str, deque[Deed]] = {}
        self._counts: Counter[str] = Counter()
        self._deeds: dict[int, list[Deed]] = {}  # by the begin of their hour
        for deed in deeds(stage.terms):
            self._deeds.setdefault(deed.at_ms // HOUR_MS * HOUR_MS, []).append(deed)

    async def play(self) -> None:
        for at_ms, job in self._troubling.jobs():
            self._agenda.note(at_ms, job)
        half = self._stage.terms.hours[len(self._stage.terms.hours) // 2]
        self._agenda.note(half, partial(sabotage.at_half, self._stage, self._wrong))
        for begin in self._stage.terms.hours:
            if (begin - START_MS) % DAY_MS == 0:
                self._say(f"day {(begin - START_MS) // DAY_MS + 1} of {self._stage.terms.days}")
            self._note_hour(begin)
            await self._until(begin + HOUR_MS)
        await self._settle()
        await sabotage.at_end(self._stage, self._wrong)
        self._stage.market.collect()

    def _note_hour(self, begin: int) -> None:
        theirs = self._deeds.get(begin, [])
        for deed in theirs:
            self._agenda.note(deed.at_ms, partial(self._ask, deed))
        for call in self._habits.hour(begin, theirs):
            self._agenda.note(call.at_ms, partial(self._call, call))
        self._note_turns(begin)

    def _note_turns(self, begin: int) -> None:
        for after in _TURNS:
            compare = after == _TURNS[0] and (begin - START_MS) % _COMPARED == 0
            self._agenda.note(begin + after, partial(self._turn, compare=compare))

    async def _until(self, end: int) -> None:
        while (due := self._agenda.next(end)) is not None:
            at_ms, job = due
            self._stage.clock.to(at_ms)
            await job()
        self._stage.clock.to(end)

    # Who does what...

    async def _call(self, call: Call) -> None:
        gateway = self._stage.gateways[call.gateway]
        key = self._stage.market.keys.get(call.customer)
        if not gateway.up:
            self._counts["not connected"] += 1
            return
        skip = Sabotage.DROP_RECORD in self._wrong and self._stage.tally.calls == 100
        gateway.call(call, key, dies=self._troubling.dies(call.gateway), skip=skip)

    async def _ask(self, deed: Deed) -> None:
        self._waiting.setdefault(deed.customer, deque()).append(deed)
        await self._do(deed.customer)

    async def _do(self, customer: str) -> None:
        """What a customer waits for, one thing after the other, as far as it can be done now."""
        queue = self._waiting[customer]
        done = 0
        while queue and await self._stage.market.do(queue[0]):
            self._counts[queue.popleft().what] += 1
            done += 1
        self._counts["deeds that were tried again"] += bool(queue)
        if done:
            await self._stage.plane.project()
            at_ms = self._stage.clock.now_ms() + _HEARD_MS
            for gateway in self._stage.gateways:
                self._agenda.note(at_ms, partial(gateway.hear, customer))

    async def _turn(self, *, compare: bool) -> None:
        self._stage.market.advance()
        for gateway in self._stage.gateways:
            await gateway.turn(check=compare)
        await self._stage.plane.turn(compare=compare)
        for customer, queue in self._waiting.items():
            if queue:
                await self._do(customer)

    # The end...

    async def _settle(self) -> None:
        """No more calls and no more trouble: everybody works until nothing is left to do."""
        await self._troubling.end_all()
        staying = list(self._stage.gateways)
        for hour in range(_MOST_AFTER):
            begin = self._stage.terms.end_ms + hour * HOUR_MS
            self._note_turns(begin)
            await self._until(begin + HOUR_MS)
            staying = [gateway for gateway in staying if not await gateway.leave()]
            if hour >= _LEAST_AFTER and not staying and not self._left():
                return

    def _left(self) -> bool:
        """Whether anything still moves: lanes, deeds, usage without a record, or records."""
        if any(self._waiting.values()) or any(g.lanes_left() for g in self._stage.gateways):
            return True
        return books.moving(self._stage.plane.parts.engine)

    def _books(self) -> Books:
        parts, market = self._stage.plane.parts, self._stage.market
        return books.read(parts.engine, parts.catalogue, self._stage.tally, market.records)

    def outcome(self) -> Outcome:
        stage = self._stage
        read, engine = self._books(), stage.plane.parts.engine
        runner = stage.plane.control.runner
        self._counts.update(
            {
                "calls served": stage.tally.calls,
                "calls refused": sum(gateway.refused for gateway in stage.gateways),
                "usage records": len(read.records),
                "records sent": sum(record.state in SENT for record in read.records),
                "lanes adopted": sum(gateway.adopted for gateway in stage.gateways),
                "resets": runner.drainer.resets,
                "late rows": books.late(engine),
                "deeds refused": stage.market.refused,
            }
        )
        return Outcome(
            terms=stage.terms,
            books=read,
            counts=dict(self._counts),
            noticed=self._troubling.noticed(),
            pushes=dict(runner.outbox.outcomes),
            findings=stage.market.findings,
            uncertain=books.named(engine, "uncertain"),
            unseen=sorted(stage.tally.unseen),
            lost=[*books.named(engine, "unexplained"), *books.named(engine, "lost_lane")],
            waiting=sum(len(queue) for queue in self._waiting.values()),
        )
