"""No fault but a forgery: one request is taken out of the ledger by hand, so that a drill must fail."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from tallygate.drills.stage import Stage
from tallygate.drills.terms import DidNotBite

_PATIENCE_S: Final = 20.0
_POLL_S: Final = 0.1
_TAKE_ONE: Final = """
update usage_window set quantity = quantity - 1 where rowid = (
    select rowid from usage_window
    where meter = 'requests' and instance_id = '' and quantity > recorded limit 1)
"""


async def sabotage(stage: Stage) -> None:
    """As soon as the ledger holds a request, it holds one less."""
    with anyio.move_on_after(_PATIENCE_S):
        ledger = stage.data_dir / "ledger.db"
        while not await to_thread.run_sync(_take_one, ledger):  # noqa: ASYNC110  (a process)
            await anyio.sleep(_POLL_S)
        stage.notes.append("one request was taken out of the ledger by hand")
        return
    raise DidNotBite("the ledger holds no request")


def _take_one(path: Path) -> bool:
    with closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as link, link:
        return link.execute(_TAKE_ONE).rowcount == 1
