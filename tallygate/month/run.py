"""Runs a month in a temporary folder with a Redis of its own."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from metering import embedded
from metering.embedded import EmbeddedValkey
from tallygate.month.outcome import Outcome
from tallygate.month.play import play
from tallygate.month.terms import Terms

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  (what is written here is thrown away)


def run(terms: Terms, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Play it. From the main thread, outside an event loop: it starts a server (see embedded)."""
    memory = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="tallygate-month-", dir=memory) as name, quiet():
        folder = Path(name)
        with EmbeddedValkey(folder):
            month = partial(play, terms, folder, embedded.url(folder), say=say)
            return anyio.run(month, backend_options={"use_uvloop": True})


@contextmanager
def quiet() -> Iterator[None]:
    """Nobody wants to read of every trouble that was ordered."""
    logs = [logging.getLogger(name) for name in ("tallygate", "billing_sync")]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)
