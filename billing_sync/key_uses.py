"""Takes over when API keys were last used, from Redis into the ledger. The order, and what a crash
after each step leaves:

1. read what waits          nothing changed
2. SQL transactions         the later time counts, so the next run changes nothing
3. take it out of Redis     done; what was used again meanwhile stays for the next run
"""

from dataclasses import dataclass, field
from typing import Final

from anyio import to_thread
from sqlalchemy import Engine

from billing_sync.store import keys
from billing_sync.store.engine import in_parts, writing
from metering import key_uses
from metering.clock import Clock
from metering.connection import Store
from metering.key_uses import Waiting

_AT_ONCE: Final = 1000  # uses in one transaction


@dataclass
class KeyUses:
    """Keeps the ledger's last uses up to date."""

    engine: Engine
    redis: Store = field(repr=False)
    clock: Clock

    async def run(self) -> None:
        """One run. Raises MeteringError or SQLAlchemyError."""
        waiting = await key_uses.read(self.redis)
        if waiting.uses:
            await to_thread.run_sync(self._take_in, waiting)
        await key_uses.taken(self.redis, waiting)

    def _take_in(self, waiting: Waiting) -> None:
        now_ms = self.clock.now_ms()
        for some in in_parts(sorted(waiting.uses), _AT_ONCE):  # others want to write too
            with writing(self.engine) as session:
                keys.take_in(session, {each: waiting.uses[each] for each in some}, now_ms)
