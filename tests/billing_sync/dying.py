"""Where a control plane dies: at a script of Redis, or at a statement that writes to its ledger."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import Engine, event

from metering.counters import Counters
from metering.errors import MeteringUnavailable


class Stopping(Counters):
    """Dies when it wants to run the script of that name."""

    def __init__(self, redis: Redis, at: str) -> None:
        super().__init__(redis)
        self.at = at

    async def _run(self, name: str, keys: list[str], arguments: Sequence[str | bytes]) -> Any:
        if name == self.at:
            raise MeteringUnavailable("killed")
        return await super()._run(name, keys, arguments)


class FailingWrites:
    """Of all statements that write, the one after so many others fails; `left` are those until then,
    itself among them: above 0 it did not come to it."""

    def __init__(self, engine: Engine) -> None:
        self.left = 0
        event.listen(engine, "before_cursor_execute", self._write)

    def _write(self, _c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.upper().startswith(("INSERT", "UPDATE", "DELETE")):
            self.left -= 1
            if self.left == 0:
                raise RuntimeError


def killed_at(module: str, engine: Engine, step: str, url: str) -> None:
    """A process of tests.billing_sync works on the ledger, and is killed there."""
    ledger = engine.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-m", f"tests.billing_sync.{module}", step, ledger, url],
        cwd=Path(__file__).parents[2],
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
