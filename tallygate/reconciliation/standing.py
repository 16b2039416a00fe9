"""Where Redis and the ledger stand with every lane, and what they hold there, while traffic runs.

Partitions share nothing, so each may be read at a moment of its own. For some partitions at a time:

1. both hashes of each are read from Redis    one script, so one instant per partition
2. one SQL snapshot: lineage, checkpoints and sums
3. where the lineage fits what Redis said, SQL has not moved since 1: both together are what they
   held at 1, and hold exactly the lanes' records up to the positions that Redis named
4. the others moved meanwhile and are read again from 1; where that does not help, or Redis is away,
   the ledger answers alone, and holds exactly the records up to its own checkpoints

The journals are read afterwards. A record is in its journal before it is applied, so all that is
counted is found there, and what is numbered above the position is on its way.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
from anyio import to_thread
from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync.live import Pair, pending_in_redis
from billing_sync.store import ledger, reconciling
from billing_sync.store.engine import reading
from billing_sync.suspense import ASSIGNED
from metering.counters import Counters
from metering.errors import MeteringError, NodeUnavailable
from metering.protocol import Content
from tallygate.reconciliation.terms import EVERYTHING, Held, Place, Span, Stood

_AT_ONCE: Final = 64  # partitions beside one snapshot
_ROUNDS: Final = 5
_PAUSE_S: Final = 0.1
_MOST_FAILURES: Final = 3  # each may be a whole time-out


@dataclass(frozen=True)
class Standings:
    """Reads where the partitions stand. Raises SQLAlchemyError when the ledger is away."""

    engine: Engine
    counters: Counters
    span: Span = EVERYTHING

    async def read(self, partitions: Sequence[int]) -> Stood:
        """All of them."""
        stood = Stood()
        for start in range(0, len(partitions), _AT_ONCE):
            await self._read_some(partitions[start : start + _AT_ONCE], stood)
        return stood

    async def _read_some(self, partitions: Sequence[int], stood: Stood) -> None:
        waiting, alone = set(partitions), set[int]()
        for _ in range(_ROUNDS):
            pairs = await self._from_redis(sorted(waiting))
            alone |= waiting - pairs.keys()  # a time-out more in every round would be long
            waiting = pairs.keys() - await to_thread.run_sync(self._beside, pairs, stood)
            if not waiting:
                break
            await anyio.sleep(_PAUSE_S)
        await to_thread.run_sync(self._alone, alone | waiting, stood)

    async def _from_redis(self, partitions: Sequence[int]) -> dict[int, Pair]:
        """Step 1, of those that answer."""
        pairs: dict[int, Pair] = {}
        failures = 0
        for partition in partitions:
            try:
                pairs[partition] = await self.counters.read(partition)
            except MeteringError as failure:
                failures += not isinstance(failure, NodeUnavailable)
                if failures == _MOST_FAILURES:
                    break
            except ValueError:  # something else wrote there
                pairs[partition] = (None, None)
        return pairs

    def _beside(self, pairs: Mapping[int, Pair], stood: Stood) -> set[int]:
        """Steps 2 and 3; the partitions that fit."""
        with reading(self.engine) as session:
            places = ledger.places(session)
            fitting: dict[int, list[Content]] = {}
            for partition, pair in pairs.items():
                epoch, last = places[partition]
                pending = pending_in_redis(pair, epoch=epoch, last=last)
                if pending is not None:
                    fitting[partition] = pending
            self._add_ledger(session, fitting.keys(), stood)
        for partition, contents in fitting.items():
            for content in contents:
                self._add_redis(partition, content, stood)
        return set(fitting)

    def _alone(self, partitions: Collection[int], stood: Stood) -> None:
        """Step 4."""
        with reading(self.engine) as session:
            self._add_ledger(session, partitions, stood)
        stood.ledger_alone |= set(partitions)

    def _add_ledger(self, session: Session, partitions: Collection[int], stood: Stood) -> None:
        for partition, lanes in reconciling.checkpoints(session, partitions).items():
            for lane, position in lanes.items():
                stood.checkpoints.setdefault(lane, {})[partition] = position
                stood.positions.setdefault(lane, {})[partition] = position
        found = reconciling.sums(
            session, partitions, from_window=self.span.first, to_window=self.span.end
        )
        for one in found:
            held = stood.held.setdefault(Place(*one[:4]), Held())
            if one.mark == ASSIGNED:  # a person's doing, of what is compared as the customer's
                held.assigned += one.quantity
                continue
            held.quantity += one.quantity
            held.late += one.quantity if one.mark == "late" else 0
            held.clock += one.quantity if one.mark == "clock" else 0

    def _add_redis(self, partition: int, content: Content, stood: Stood) -> None:
        for lane, position in content.positions.items():
            reached = stood.positions.setdefault(lane, {})
            reached[partition] = max(reached.get(partition, 0), position)
        for key, quantity in content.deltas.items():
            if self.span.holds(key.window):
                place = Place(key.window, key.customer_id, key.instance_id, key.meter)
                stood.held.setdefault(place, Held()).quantity += quantity
