"""Rounds of samples, as a test wants them."""

from collections.abc import Mapping
from typing import Any

from tallygate.top.names import COUNTED
from tallygate.top.samples import Control, Round, Worker


def worker(name: str = "gateway", pid: int = 1, **counted: float) -> Worker:
    """One that answers, and wrote everything to Redis."""
    totals = {**dict.fromkeys(COUNTED, 0.0), **counted}
    return Worker(name, pid, True, totals, {"open": 2.0}, backlog=0, writable=True)


def silent(name: str = "gateway") -> Worker:
    """One that does not answer."""
    return Worker(name, 1, up=False)


def taken(at_s: float, *workers: Worker, control: Control | None = None) -> Round:
    """A round at this second."""
    return Round(at_s, int(at_s * 1000), workers, control or Control(up=True))


def control(usage: Mapping[tuple[str, str], int] | None = None, **by_label: Any) -> Control:
    """A control plane that answers."""
    return Control(True, {"ledger_up": 1.0}, by_label, usage or {})
