"""Turns: in each, every peer once, one after the other. Says what it does as it goes."""

import time
from collections.abc import Callable, Iterator, Sequence

from loadtests.compare.fetching import NotFetched
from loadtests.compare.measuring import Terms, measure
from loadtests.compare.peers.peer import Peer
from loadtests.compare.results import Sample
from loadtests.compare.scenarios import ONE_CUSTOMER, Scenario

Say = Callable[[str], None]


def ready(peers: Sequence[Peer], terms: Terms, say: Say, *, fetch: bool) -> dict[str, str]:
    """Install what may be; what is still missing, by peer: the command that would install it."""
    missing: dict[str, str] = {}
    for peer in peers:
        try:
            if fetch and peer.fetched is not None and peer.missing(terms.cache):
                say(f"installing {peer.fetched.requirement} for {peer.name}")
                peer.fetched.fetch(terms.cache)
        except (NotFetched, OSError) as problem:
            say(f"{peer.name}: {problem}")
        if command := peer.missing(terms.cache):
            missing[peer.name] = command
            say(f"SKIPPED {peer.name}: {command}")
    return missing


def samples(
    peers: Sequence[Peer], scenario: Scenario, runs: int, terms: Terms, say: Say
) -> Iterator[Sample]:
    """Of `runs` turns. Where a scenario is compared with another, both are in each turn."""
    pair = (ONE_CUSTOMER, scenario) if scenario.against else (scenario,)
    for turn in range(runs):
        for peer in peers:
            for one in pair if peer.plays(scenario) else ():
                begun = time.monotonic()
                sample = measure(peer, one, turn, terms)
                took = time.monotonic() - begun
                say(f"{one.name} {turn + 1}/{runs} {peer.name}: {_said(sample)} ({took:.0f} s)")
                yield sample


def _said(sample: Sample) -> str:
    if sample.failure:
        return f"FAILED: {sample.failure}"
    return ", ".join(f"{name} {value:.4g}" for name, value in sample.figures.items())
