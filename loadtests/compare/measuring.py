"""One measurement: origin and peer started, warmed, loaded, read, ended.

Figures: `rate` units/s, `replies`, `cpu` seconds per 1000 replies, `busy` `idle` `others`
shares of the proxy's core, `anonymous` bytes, `p50_ms` `p99_ms`; of Tallygate `replied` to clients, `answered` by the origin and
`counted` in the journal, and `records` there of whatever kind, since its start; idle: `per_stream` bytes; half: `offered` calls/s, `added_p50_ms` `added_p99_ms`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from loadtests.compare import exactness, load, origins
from loadtests.compare.accounting import anonymous_bytes, cpu_seconds, idle_seconds
from loadtests.compare.machine import Cores
from loadtests.compare.peers.peer import Peer, Running, Site
from loadtests.compare.processes import DidNotStart, free_port, standing_still
from loadtests.compare.results import Sample
from loadtests.compare.scenarios import Scenario, customers
from loadtests.compare.streams import open_streams
from loadtests.compare.wrk import Flood

_WARM_S: Final = 1
_WARMED: Final = 2000  # customers in a second more: each has called before what is measured
_FIRST_STREAMS: Final = 20  # what the first of them cost once is no cost per stream
_CALM_S: Final = 1.0
_ROUTES_S: Final = 20.0
_SLOW_S: Final = 20  # for those that answer nothing within the warming

Figures = dict[str, float]


@dataclass(frozen=True)
class Terms:
    """How all of a comparison's measurements are made."""

    seconds: int
    cores: Cores
    cache: Path
    origin: origins.Kind = "auto"


@dataclass(frozen=True)
class _Stage:
    """Origin and peer, both answering."""

    folder: Path
    origin: origins.Origin
    running: Running


def measure(peer: Peer, scenario: Scenario, turn: int, terms: Terms) -> Sample:
    """A sample, of a failure too: one peer's trouble is no reason to stop."""
    by_kind = {"flood": _flood, "idle": _idle, "half": _half}
    try:
        with _stage(peer, scenario, terms) as stage:
            figures = by_kind[scenario.kind](stage, scenario, terms)
    except (DidNotStart, load.Wrong, OSError, httpx.HTTPError) as problem:
        return Sample(scenario.name, peer.name, turn, failure=str(problem) or repr(problem))
    failure = _wrong(figures)
    return Sample(scenario.name, peer.name, turn, figures, failure)


def _wrong(figures: Figures) -> str:
    if figures.get("errors"):
        return f"{figures['errors']:.0f} errors beside {figures.get('replies', 0):.0f} replies"
    books = [int(figures.get(name, 0)) for name in ("replied", "counted", "answered")]
    return exactness.wrong(*books)


@contextmanager
def _stage(peer: Peer, scenario: Scenario, terms: Terms) -> Iterator[_Stage]:
    with TemporaryDirectory(prefix="compare-") as name:
        folder = Path(name)
        (folder / "peer").mkdir()
        with origins.origin(
            terms.origin, scenario.answering, folder / "origin", terms.cores
        ) as origin:
            site = Site(
                folder / "peer",
                free_port(),
                origin.port,
                terms.cores,
                customers(scenario.customers),
                terms.cache,
            )
            with peer.running(site) as running:
                yield _Stage(folder, origin, running)


def _flood(stage: _Stage, scenario: Scenario, terms: Terms) -> Figures:
    port, load_cores = stage.running.port, terms.cores.load
    length = load.probe(scenario, port)
    warm_s = _WARM_S + scenario.customers // _WARMED
    warm = load.flood(scenario, port, warm_s, stage.folder, load_cores)
    seconds = terms.seconds if warm.replies else max(terms.seconds, _SLOW_S)
    spent = _Spent(stage.running.pids, terms.cores.proxy)
    with standing_still(stage.running.beside):
        seen = load.flood(scenario, port, seconds, stage.folder, load_cores)
    figures: Figures = _rate(scenario, seen, length) | {
        "replies": seen.replies,
        "errors": sum(seen.errors.values()),
        "p50_ms": seen.p50_s * 1000,
        "p99_ms": seen.p99_s * 1000,
    }
    figures |= spent.figures(figures["rate"] / scenario.per_reply * seen.seconds)
    return figures | _books(stage, 1 + warm.replies + seen.replies)


class _Spent:
    """What the proxy and others use of its core from here on."""

    def __init__(self, pids: Sequence[int], cores: frozenset[int]) -> None:
        self._pids = pids
        self._cores = cores
        self._begun = self._now()

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), cpu_seconds(self._pids), idle_seconds(self._cores)

    def figures(self, replies: float) -> Figures:
        """Since then, over so many replies; nothing without a proxy."""
        if not self._pids:
            return {}
        pairs = zip(self._now(), self._begun, strict=True)
        took, used, idle = (now - before for now, before in pairs)
        return {
            "cpu": used / max(replies, 1.0) * 1000,
            "busy": used / took,
            "idle": idle / took,
            "others": max(0.0, 1 - (used + idle) / took),
            "anonymous": anonymous_bytes(self._pids),
        }


def _rate(scenario: Scenario, seen: Flood, length: int) -> Figures:
    """Units a second. Streams too slow to end within the run are estimated by their bytes."""
    if scenario.per_reply == 1 or seen.replies >= 2 * scenario.connections:
        return {"rate": seen.rate * scenario.per_reply}
    return {"rate": seen.received / length * scenario.per_reply / seen.seconds, "estimated": 1}


def _books(stage: _Stage, replied: int) -> Figures:
    if not stage.running.admin:
        return {}
    counted, records = exactness.counted(stage.running.admin)
    answered = stage.origin.calls() - stage.origin.own  # asked once
    return {"replied": replied, "counted": counted, "answered": answered, "records": records}


def _idle(stage: _Stage, scenario: Scenario, _: Terms) -> Figures:
    port, pids = stage.running.port, stage.running.pids
    _until_it_streams(scenario, port)
    with open_streams(scenario, port, _FIRST_STREAMS):
        time.sleep(_CALM_S)
        before = anonymous_bytes(pids)
        with open_streams(scenario, port, scenario.connections):
            time.sleep(_CALM_S)
            after = anonymous_bytes(pids)
    return {"anonymous": after, "per_stream": (after - before) / scenario.connections}


def _until_it_streams(scenario: Scenario, port: int) -> None:
    """Some listen before they know their routes."""
    limit = time.monotonic() + _ROUTES_S
    while True:
        try:
            with open_streams(scenario, port, 1):
                return
        except load.Wrong:
            if time.monotonic() > limit:
                raise
            time.sleep(0.1)


def _half(stage: _Stage, scenario: Scenario, terms: Terms) -> Figures:
    """Its own maximum first; then the same calls at half of it, past the proxy and through it."""
    port, cores = stage.running.port, terms.cores.load
    load.probe(scenario, port)
    load.flood(scenario, port, _WARM_S, stage.folder, cores)
    with standing_still(stage.running.beside):
        offered = load.flood(scenario, port, terms.seconds, stage.folder, cores).rate / 2
    if not offered:
        raise load.Wrong("no replies at full load")
    with standing_still(stage.running.beside):
        said = [
            load.pace(scenario, to, offered, terms.seconds, stage.folder, cores)
            for to in (stage.origin.port, port)
        ]
    direct, through = said
    return {
        "offered": offered,
        "rate": through["rate"],
        "errors": direct["errors"] + through["errors"],
        "replies": through["replies"],
        "direct_p50_ms": direct["p50"] * 1000,
        "direct_p99_ms": direct["p99"] * 1000,
        "added_p50_ms": (through["p50"] - direct["p50"]) * 1000,
        "added_p99_ms": (through["p99"] - direct["p99"]) * 1000,
        "late_ms": max(direct["late_p99"], through["late_p99"]) * 1000,
    }
