"""What two rounds of samples amount to: rates, lags, what needs a person. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from tallygate.top.names import COUNTED
from tallygate.top.samples import Control, Round, Worker

MOST_CUSTOMERS: Final = 10
_HOUR_S: Final = 3600
_WAITS: Final = ("held", "rejected", "expired")
_COUNTED_WORDS: Final = {
    "stuck_partitions": "partitions cannot be drained",
    "silent_lanes": "lanes are silent; see `tallygate lanes list`",
    "alerts_given_up": "alerts could not be delivered; see `tallygate alerts list`",
}


@dataclass(frozen=True)
class WorkerView:
    """One worker; None for what it does not say."""

    name: str
    pid: int
    up: bool
    calls_s: float | None
    errors_s: float | None
    tokens_s: float | None
    open: int | None
    streams: int | None
    backlog: int | None
    journal_age_s: float | None
    redis_lag_s: float | None


@dataclass(frozen=True)
class CustomerView:
    """What a customer used in this hour, and how fast now."""

    customer_id: str
    requests: int
    tokens: int
    requests_s: float | None
    tokens_s: float | None


@dataclass(frozen=True)
class View:
    """Everything that is shown. Rates are per second, ages and lags in seconds; None is unknown."""

    at_ms: int
    seconds: float  # between the two rounds
    rates: Mapping[str, float]
    open: int
    streams: int | None
    workers: tuple[WorkerView, ...]
    ledger_lag_s: float | None
    windows_open: int | None
    oldest_unpushed_s: float | None
    next_deadline_s: float | None
    next_deadline: str
    records: Mapping[str, int]
    alerts: Mapping[str, int]
    customers: tuple[CustomerView, ...]
    attention: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)


def view(before: Round, now: Round) -> View:
    """What happened between two rounds, and how things stand at the second."""
    seconds = max(now.at_s - before.at_s, 1e-9)
    grown = _grown(before, now)
    workers = tuple(_worker(each, grown.get(each.name, {}), seconds) for each in now.workers)
    rates = {
        name: sum(each.get(name, 0.0) for each in grown.values()) / seconds for name in COUNTED
    }
    control = now.control or Control(up=False)
    ledger, labels = control.ledger, control.by_label
    due = min(labels.get("deadlines_s", {}).items(), key=lambda each: each[1], default=None)
    streams = [each.streams for each in workers if each.streams is not None]
    return View(
        at_ms=now.at_ms,
        seconds=seconds,
        rates=rates,
        open=sum(each.open or 0 for each in workers),
        streams=sum(streams) if streams else None,
        workers=workers,
        ledger_lag_s=ledger.get("ledger_lag_s"),
        windows_open=_windows_open(ledger),
        oldest_unpushed_s=ledger.get("oldest_unpushed_s"),
        next_deadline_s=None if due is None else due[1],
        next_deadline="" if due is None else due[0],
        records=_whole(labels.get("records", {})),
        alerts=_whole(labels.get("alerts", {})),
        customers=tuple(_customers(before.control, control, seconds)),
        attention=tuple(_attention(now, rates)),
    )


def growth(before: float, now: float) -> float:
    """Of a counter; one that went back began anew."""
    return now - before if now >= before else now


def _grown(before: Round, now: Round) -> dict[str, dict[str, float]]:
    """Of each worker that is up: what its counters grew by. One that is new grew from nothing."""
    earlier = {(each.name, each.pid): each.counted for each in before.workers}
    known = {each.name for each in before.workers if each.up}
    found = {}
    for each in now.workers:
        then = earlier.get((each.name, each.pid), {})
        if each.up and (then or each.name in known):
            found[each.name] = {k: growth(then.get(k, 0.0), v) for k, v in each.counted.items()}
    return found


def _worker(worker: Worker, grown: Mapping[str, float], seconds: float) -> WorkerView:
    def rate(name: str) -> float | None:
        return grown[name] / seconds if name in grown else None

    def count(name: str) -> int | None:
        return round(worker.now[name]) if name in worker.now else None

    return WorkerView(
        worker.name,
        worker.pid,
        worker.up,
        rate("calls"),
        rate("errors"),
        rate("tokens"),
        count("open"),
        count("streams"),
        worker.backlog,
        worker.now.get("journal_age_s"),
        worker.now.get("redis_lag_s"),
    )


def _windows_open(ledger: Mapping[str, float]) -> int | None:
    if "windows_open" in ledger:
        return round(ledger["windows_open"])
    closed_ago = ledger.get("closed_ago_s")  # 0 before the first window was closed
    return math.ceil(closed_ago / _HOUR_S) if closed_ago else None


def _customers(before: Control | None, now: Control, seconds: float) -> Iterator[CustomerView]:
    """The busiest first: by what they use now, then by what they used in this hour."""
    then = before.usage if before is not None and before.up and before.live else None
    shown = []
    for customer in {customer for customer, _ in now.usage}:
        used = [now.usage.get((customer, meter), 0) for meter in ("requests", "tokens_total")]
        rates: list[float | None] = [None, None]
        if then is not None and now.live:
            meters = enumerate(("requests", "tokens_total"))
            rates = [growth(then.get((customer, m), 0), used[at]) / seconds for at, m in meters]
        shown.append(CustomerView(customer, used[0], used[1], rates[0], rates[1]))
    shown.sort(key=lambda c: (-(c.tokens_s or 0), -(c.requests_s or 0), -c.tokens, -c.requests, c.customer_id))  # fmt: skip
    yield from shown[:MOST_CUSTOMERS]


def _attention(now: Round, rates: Mapping[str, float]) -> Iterator[str]:
    """What somebody should look at, the worst first."""
    control = now.control
    if control is None or not control.up:
        yield "the control plane does not answer"
    else:
        yield from _of_control(control)
    if rates.get("uncounted"):
        yield "replies are cut because they cannot be recorded"
    for worker in now.workers:
        if not worker.up:
            yield f"{worker.name} does not answer"
        if worker.writable is False:
            yield f"{worker.name}: the journal takes no more calls"
        if worker.now.get("redis_down"):
            yield f"{worker.name}: Redis is down; calls go on, the journal keeps them"
        if worker.now.get("replaying"):
            yield f"{worker.name}: partitions are replayed from disk"


def _of_control(control: Control) -> Iterator[str]:
    ledger, labels = control.ledger, control.by_label
    said = {
        f"billing is {control.billing}": bool(control.billing),
        "the ledger does not answer": ledger.get("ledger_up") == 0,
        "what Redis holds cannot be read": not control.live,
    }
    yield from (words for words, is_so in said.items() if is_so)
    for deadline, count in labels.get("missed", {}).items():
        yield from _many(count, f"usage records missed their {deadline} deadline")
    for state in _WAITS:
        see = f"see `tallygate records list --state {state}`"
        yield from _many(labels.get("records", {}).get(state), f"usage records are {state}; {see}")
    for name, words in _COUNTED_WORDS.items():
        yield from _many(ledger.get(name), words)


def _many(count: float | None, words: str) -> Iterator[str]:
    if count:
        yield f"{count:.0f} {words}"


def _whole(figures: Mapping[str, float]) -> dict[str, int]:
    return {name: round(value) for name, value in figures.items() if value}
